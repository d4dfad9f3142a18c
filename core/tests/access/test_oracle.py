"""The contract written down once more, slowly and plainly, and compared: standing and balances at random instants."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hypothesis import HealthCheck, given, settings

from billhook.access import Account, Policy, When, decide
from billhook.access import facts as f
from billhook.testing.access import accounts, facts, instants, policies


class Plain:
    """An account at an instant, everything computed anew from the list of facts."""

    def __init__(self, account: Account, policy: Policy, at: datetime) -> None:
        self.policy, self.zone, self.at = policy, account.timezone, at
        self.facts = sorted({each: None for each in account.facts if each.at <= at}, key=lambda each: each.at)
        issued = {each.invoice: each for each in self.facts if isinstance(each, f.Finalized)}
        self.unpaid = {name: each for name, each in issued.items() if self.is_unpaid(each)}

    def is_unpaid(self, invoice: f.Finalized) -> bool:
        marks = [
            each.type for each in self.facts if isinstance(each, f.Marked) and each.invoice == invoice.invoice
        ]
        lasting = [each for each in marks if each != "invoice.voided"]
        if "invoice.voided" in marks or lasting[-1:] == ["invoice.written_off"] or self.balance(invoice) <= 0:
            return False
        return not any(self.covers(name, invoice) for name in self.attempts(invoice.invoice))

    def attempts(self, invoice: str) -> dict[str, list[f.PaymentChanged]]:
        found: dict[str, list[f.PaymentChanged]] = {}
        for each in self.facts:
            if isinstance(each, f.PaymentChanged) and each.invoice == invoice:
                found.setdefault(each.payment, []).append(each)
        return found

    def balance(self, invoice: f.Finalized) -> int:
        due = invoice.amount
        for each in self.facts:
            if isinstance(each, f.Amended) and each.invoice == invoice.invoice:
                due += each.amount if each.type == "invoice.adjusted" else -each.amount
        for name, history in self.attempts(invoice.invoice).items():
            brought = [each for each in history if each.type == "payment.succeeded" and each.amount]
            if brought and brought[-1].currency == invoice.currency:
                gone, credited = self.gone(name)
                came = brought[-1].amount
                due -= min(credited, came) + max(0, came - gone - credited)
        return due

    def gone(self, payment: str) -> tuple[int, int]:
        gone = credited = opened = lost = 0
        for each in self.facts:
            match each:
                case f.Reversed() if each.payment == payment:
                    gone += each.amount
                case f.Refunded() if each.payment == payment:
                    gone, credited = (
                        gone + each.amount * (not each.credited),
                        credited + each.amount * each.credited,
                    )
                case f.Disputed(type="dispute.opened") if each.payment == payment:
                    opened = each.amount
                case f.Disputed() if each.payment == payment:
                    opened, lost = 0, each.amount if each.type == "dispute.lost" else 0
                case _:
                    pass
        gone += opened if self.policy.dispute_opened == "unpaid" else 0
        return gone + (lost if self.policy.dispute_lost == "unpaid" else 0), credited

    def covers(self, payment: str, invoice: f.Finalized) -> bool:
        trusted = self.policy.debit_counts_as_paid_for
        since: datetime | None = None
        last = None
        for each in self.facts:
            if isinstance(each, f.Reversed) and each.payment == payment:
                since = None
            if not isinstance(each, f.PaymentChanged) or (each.payment, each.invoice) != (
                payment,
                invoice.invoice,
            ):
                continue
            if each.type == "payment.succeeded" and each.amount:
                return False
            last = each
            since = (since or each.at) if each.type == "payment.pending" else since
            since = since if each.type in ("payment.pending", "payment.unknown") else None
        if trusted is None or since is None or last is None or last.currency != invoice.currency:
            return False
        return last.amount >= self.balance(invoice) and self.at < since + trusted

    def ages(self, which: str) -> list[int]:
        today = self.at.astimezone(self.zone).date()
        return [(today - getattr(each, which)).days for each in self.unpaid.values()]

    def total(self, currency: str, *, overdue: bool) -> int:
        today = self.at.astimezone(self.zone).date()
        counted = [each for each in self.unpaid.values() if each.due_date < today or not overdue]
        return sum(self.balance(each) for each in counted if each.currency == currency)

    def holds(self, when: When) -> bool:
        tags = {each.tag: each.type for each in self.facts if isinstance(each, f.TagChanged)}
        tagged = {name for name, kind in tags.items() if kind == "customer.tagged"}
        dues = [age for age in self.ages("due_date") if age >= 1]
        disputes = {each.payment: each.type for each in self.facts if isinstance(each, f.Disputed)}
        return all(
            (
                when.overdue_days is None or any(age >= when.overdue_days for age in dues),
                when.unpaid_days is None
                or any(age >= when.unpaid_days for age in self.ages(self.policy.age_from)),
                when.overdue_balance is None
                or any(self.total(code, overdue=True) >= limit for code, limit in when.overdue_balance),
                when.unpaid_balance is None
                or any(self.total(code, overdue=False) >= limit for code, limit in when.unpaid_balance),
                when.unpaid_invoices is None or len(self.unpaid) >= when.unpaid_invoices,
                when.has_tag is None or when.has_tag in tagged,
                when.lacks_tag is None or when.lacks_tag not in tagged,
                when.dispute != "opened" or "dispute.opened" in disputes.values(),
            )
        )


def simple(policy: Policy) -> Policy:
    """Without the conditions that need a second telling of attempts and disputes."""
    kept = [
        each
        for each in policy.rules
        if each.when.payment_failed_days is None
        and each.when.last_failure is None
        and each.when.dispute != "lost"
    ]
    return replace(policy, rules=tuple(kept))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    accounts(of=facts().filter(lambda fact: not isinstance(fact, f.Delegated))),
    policies().map(simple),
    instants(),
)
def test_standing_and_balances_are_those_of_the_plain_telling(
    account: Account, policy: Policy, at: datetime
) -> None:
    one_each = {(each.payment, each.invoice) for each in account.facts if isinstance(each, f.PaymentChanged)}
    single = {payment for payment, _ in one_each if sum(name == payment for name, _ in one_each) == 1}
    known = tuple(
        each for each in account.facts if not isinstance(each, f.PaymentChanged) or each.payment in single
    )
    account = replace(account, facts=known)

    plain, decision = Plain(account, policy, at), decide(account, policy, at)

    assert decision.unpaid_invoices == len(plain.unpaid)
    for currency in ("EUR", "USD"):
        assert decision.unpaid.get(currency, 0) == plain.total(currency, overdue=False)
        assert decision.overdue.get(currency, 0) == plain.total(currency, overdue=True)
    rule = next((each for each in policy.rules if plain.holds(each.when)), None)
    assert decision.standing == (rule.state if rule else "clear")
