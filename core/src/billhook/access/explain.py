"""Why: the matching rule and the lifecycle as reasons, each as data and as a sentence; and what would prevent a change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from typing import Any, Final

from billhook.access.calendar import day_of
from billhook.access.debts import Debts
from billhook.access.decision import Reason
from billhook.access.facts import Finalized, PaymentChanged, written
from billhook.access.ledger import InvoiceState, decline_matches
from billhook.access.lifecycle import LIVE, SubscriptionState, state_at
from billhook.access.outlook import Outlook, Prospect
from billhook.access.rules import CONDITIONS, Rule
from billhook.money import Money


def reasons_of_rule(outlook: Outlook, at: datetime, subscription: str | None = None) -> tuple[Reason, ...]:
    """Return why the standing at ``at`` is what it is: a reason for every condition of the rule that matches.

    :param subscription: ask why this one is lowered, which may be judged by its own debts only.
    """
    rule, debts = judged(outlook, at, subscription)
    if rule is None:
        return ()
    reasons = [
        _EXPLAIN[name](_Case(outlook, rule, debts, at))
        for name in CONDITIONS
        if getattr(rule.when, name) is not None
    ]
    if outlook.payer is not outlook.own:
        reasons.append(
            Reason(
                rule=rule.state,
                because="delegated",
                text=f"Customer {outlook.payer.id} pays for {outlook.own.id}, who takes that customer's standing.",
            )
        )
    return tuple(reasons)


def reasons_of_lifecycle(outlook: Outlook, subscription: str | None, at: datetime) -> tuple[Reason, ...]:
    """Return why a subscription is not simply active; nothing when it is active or in its trial."""
    prospect = _find(outlook, subscription)
    if prospect is None:
        return ()
    return tuple(_lifecycle(outlook, prospect, at))


def _find(outlook: Outlook, name: str | None) -> Prospect | None:
    return next((each for each in outlook.prospects if each.subscription.id == name), None)


def judged(outlook: Outlook, at: datetime, subscription: str | None) -> tuple[Rule | None, Debts]:
    """Return the rule that lowers a subscription (or the customer) at ``at``, and the debts it was held against."""
    prospect = _find(outlook, subscription)
    if prospect is None:
        return outlook.rule_at(at), outlook.payer.debts
    rule, debts = outlook.rule_for(prospect, at)
    return (rule if state_at(prospect.life, at) in LIVE else None), debts


class _Case:
    """One matching rule, the debts it was held against, and when."""

    def __init__(self, outlook: Outlook, rule: Rule, debts: Debts, at: datetime) -> None:
        self.outlook = outlook
        self.rule = rule
        self.debts = debts
        self.at = at

    def reason(self, because: str, text: str, **facts: Any) -> Reason:
        return Reason(rule=self.rule.state, because=because, text=text, **facts)

    def unpaid(self, names: Iterable[str]) -> Iterator[InvoiceState]:
        return (self.debts.open[name] for name in names if self.debts.open[name].unpaid_at(self.at))

    def days_since(self, day: date) -> int:
        return (day_of(self.at, self.debts.zone) - day).days

    def total(self, currency: str, *, overdue: bool) -> int:
        begin = self.debts.overdue_from if overdue else self.debts.unpaid_from
        counted = (name for name in self.debts.open if begin(name) <= self.at)
        return sum(amount for code, amount in map(self.debts.balance, counted) if code == currency)


def _overdue_days(case: _Case) -> Reason:
    invoice = next(case.unpaid(name for _, name in case.debts.by_due))
    due = _document(invoice).due_date
    return _days(case, "overdue_days", invoice, case.days_since(due), "overdue")


def _unpaid_days(case: _Case) -> Reason:
    invoice = next(case.unpaid(name for _, name in case.debts.by_age))
    document = _document(invoice)
    start = document.due_date if case.debts.policy.age_from == "due_date" else document.issue_date
    said = "past its due date" if case.debts.policy.age_from == "due_date" else "old and unpaid"
    return _days(case, "unpaid_days", invoice, case.days_since(start), said)


def _failed_days(case: _Case) -> Reason:
    invoice = next(case.unpaid(name for _, name in case.debts.by_failure))
    failed = invoice.first_failed_at or case.at
    days, limit = case.days_since(day_of(failed, case.debts.zone)), case.rule.when.payment_failed_days
    return case.reason(
        "payment_failed_days",
        f"A payment of invoice {invoice.id} ({money_of(invoice)}) first failed {_count(days, 'day')} ago;"
        f" the limit is {limit}.",
        days=days,
        threshold=limit,
        **_of(invoice),
    )


def _days(case: _Case, because: str, invoice: InvoiceState, days: int, said: str) -> Reason:
    limit = getattr(case.rule.when, because)
    return case.reason(
        because,
        f"Invoice {invoice.id} ({money_of(invoice)}) is {_count(days, 'day')} {said}; the limit is {limit}.",
        days=days,
        threshold=limit,
        **_of(invoice),
    )


def _balance(because: str) -> Callable[[_Case], Reason]:
    overdue = because == "overdue_balance"

    def explain(case: _Case) -> Reason:
        limits = dict(getattr(case.rule.when, because))
        totals = {code: case.total(code, overdue=overdue) for code in limits}
        code = next(code for code, limit in limits.items() if totals[code] >= limit)
        said = "overdue" if overdue else "unpaid"
        return case.reason(
            because,
            f"{Money(totals[code], code)} {'is' if totals[code] else 'are'} {said};"
            f" the limit is {Money(limits[code], code)}.",
            threshold=limits[code],
            amount=totals[code],
            currency=code,
        )

    return explain


def _unpaid_invoices(case: _Case) -> Reason:
    number = sum(1 for _ in case.unpaid(case.debts.open))
    limit = case.rule.when.unpaid_invoices
    verb = "is" if number == 1 else "are"
    return case.reason(
        "unpaid_invoices",
        f"{_count(number, 'invoice')} {verb} unpaid; the limit is {limit}.",
        amount=None,
        threshold=limit,
    )


def _last_failure(case: _Case) -> Reason:
    wanted = case.rule.when.last_failure or ()
    names = (name for _, name in case.debts.by_due)
    invoice, word = next(
        (each, word) for each in case.unpaid(names) if (word := decline_matches(each.failure, wanted))
    )
    code = each.decline if isinstance(each := invoice.failure, PaymentChanged) else None
    return case.reason(
        "last_failure",
        f"The latest payment of invoice {invoice.id} ({money_of(invoice)}) failed with {code or word}.",
        threshold=word,
        **_of(invoice),
    )


def _dispute(case: _Case) -> Reason:
    stage = case.rule.when.dispute or "lost"
    payment = case.outlook.payer.ledger.disputed(stage, case.debts.subscription)
    said = "is disputed" if stage == "opened" else "was lost in a dispute"
    return case.reason("dispute", f"Payment {payment} {said}.", threshold=stage)


def _has_tag(case: _Case) -> Reason:
    tag = case.rule.when.has_tag
    return case.reason("has_tag", f"The customer has the tag {tag}.", threshold=tag)


def _lacks_tag(case: _Case) -> Reason:
    tag = case.rule.when.lacks_tag
    return case.reason("lacks_tag", f"The customer does not have the tag {tag}.", threshold=tag)


_EXPLAIN: Final[dict[str, Callable[[_Case], Reason]]] = {
    "overdue_days": _overdue_days,
    "unpaid_days": _unpaid_days,
    "overdue_balance": _balance("overdue_balance"),
    "unpaid_balance": _balance("unpaid_balance"),
    "unpaid_invoices": _unpaid_invoices,
    "payment_failed_days": _failed_days,
    "last_failure": _last_failure,
    "dispute": _dispute,
    "has_tag": _has_tag,
    "lacks_tag": _lacks_tag,
}


def _lifecycle(outlook: Outlook, prospect: Prospect, at: datetime) -> Iterator[Reason]:
    subscription = prospect.subscription
    match state_at(prospect.life, at):
        case "pending":
            yield _plain("pending", _why_pending(subscription), subscription.first_invoice())
        case "expired":
            yield _plain(
                "expired",
                f"Subscription {subscription.id} was not paid within the activation time.",
                subscription.first_invoice(),
            )
            if subscription.late_at is not None:
                yield _plain(
                    "paid_after_expiry",
                    f"Its first invoice was paid at {written(subscription.late_at)}, after it had expired;"
                    " reactivate it or give the money back.",
                    subscription.first_invoice(),
                )
        case "paused":
            yield _plain("paused", f"Subscription {subscription.id} is paused.")
        case "canceling":
            end = next(begins for begins, state in prospect.life if state == "ended")
            yield _plain(
                "canceled", f"Subscription {subscription.id} is canceled and ends at {written(end)}."
            )
        case "ended":
            yield _plain("ended", f"Subscription {subscription.id} has ended.")
        case _:
            return


def _why_pending(subscription: SubscriptionState) -> str:
    if subscription.started_at is None:
        return f"Subscription {subscription.id} has not started."
    first = subscription.first_invoice()
    if first is None:
        return f"Subscription {subscription.id} waits for its first invoice."
    return f"Subscription {subscription.id} waits for invoice {first.id} ({money_of(first)}) to be paid."


def _plain(because: str, text: str, invoice: InvoiceState | None = None) -> Reason:
    if invoice is None or invoice.document is None:
        return Reason(rule=None, because=because, text=text)
    return Reason(rule=None, because=because, text=text, **_of(invoice))


def _of(invoice: InvoiceState) -> dict[str, Any]:
    return {"invoice": invoice.id, "amount": invoice.balance, "currency": _document(invoice).currency}


def _document(invoice: InvoiceState) -> Finalized:
    if invoice.document is None:
        raise ValueError(f"invoice {invoice.id} was not issued")
    return invoice.document


def money_of(invoice: InvoiceState) -> Money:
    """Return what is left to pay on an issued invoice."""
    return Money(invoice.balance, _document(invoice).currency)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
