"""Each sentence of the access contract, as a story of a few facts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billhook.access import Account, Decision, Policy, decide, parse_facts, parse_policy
from billhook.access.calendar import day_of, midnight


def at(text: str) -> datetime:
    """``05-11`` or ``05-11 12:00``, of 2024 in UTC; a full instant as it is."""
    day, _, time = text.partition(" ")
    return datetime.fromisoformat(f"2024-{day}T{time or '00:00'}").replace(tzinfo=UTC)


def fact(type: str, when: str, **keys: Any) -> dict[str, Any]:
    return {"type": type, "at": at(when).isoformat(), **keys}


def invoice(name: str, when: str, amount: int = 1000, **keys: Any) -> dict[str, Any]:
    day = at(when).date().isoformat()
    given = {"currency": "EUR", "issue_date": day, "due_date": day, **keys}
    return fact("invoice.finalized", when, invoice=name, amount=amount, **given)


def payment(kind: str, name: str, of: str, when: str, amount: int = 1000, **keys: Any) -> dict[str, Any]:
    given = {"currency": "EUR", **keys}
    return fact(f"payment.{kind}", when, payment=name, invoice=of, amount=amount, **given)


def started(name: str, when: str, **keys: Any) -> dict[str, Any]:
    return fact("subscription.started", when, subscription=name, plan="basic", **keys)


def month(number: int) -> dict[str, str]:
    return {"start": f"2024-{number:02}-01", "end": f"2024-{number + 1:02}-01"}


def account(*facts: dict[str, Any], id: str = "A", zone: str = "UTC") -> Account:
    return Account(id=id, facts=parse_facts(facts), timezone=ZoneInfo(zone))


def rule(access: str = "none", state: str = "bad", **when: Any) -> dict[str, Any]:
    return {"state": state, "when": when, "access": access}


def policy(*rules: dict[str, Any], **settings: Any) -> Policy:
    return parse_policy({"rules": list(rules), **settings})


def ask(who: Account, by: Policy, when: str, *payers: Account) -> Decision:
    return decide(who, by, at(when), payers={each.id: each for each in payers})


OVERDUE = policy(rule(overdue_days=10))


def standing(who: Account, by: Policy, when: str, *payers: Account) -> str:
    return ask(who, by, when, *payers).standing


# Balances


def test_an_invoice_is_unpaid_until_what_came_in_covers_it() -> None:
    who = account(
        invoice("I", "05-01"),
        payment("succeeded", "P1", "I", "05-02", 400),
        payment("succeeded", "P2", "I", "05-03", 600),
    )

    assert ask(who, OVERDUE, "05-02").unpaid == {"EUR": 600}
    assert ask(who, OVERDUE, "05-03").unpaid == {}


def test_a_draft_never_counts() -> None:
    who = account(
        payment("failed", "P", "I", "05-01"), fact("invoice.adjusted", "05-01", invoice="I", amount=500)
    )

    assert ask(who, policy(rule(payment_failed_days=0)), "06-01").unpaid == {}
    assert standing(who, policy(rule(payment_failed_days=0)), "06-01") == "clear"


def test_a_voided_invoice_never_counts_again() -> None:
    who = account(
        invoice("I", "05-01"),
        fact("invoice.voided", "05-05", invoice="I"),
        fact("invoice.reinstated", "05-06", invoice="I"),
    )

    assert ask(who, OVERDUE, "05-06").unpaid == {}


def test_a_payment_in_another_currency_pays_nothing() -> None:
    who = account(invoice("I", "05-01"), payment("succeeded", "P", "I", "05-02", currency="USD"))

    assert ask(who, OVERDUE, "05-03").unpaid == {"EUR": 1000}


def test_more_cannot_be_taken_back_than_a_payment_brought() -> None:
    who = account(
        invoice("I", "05-01"),
        payment("succeeded", "P", "I", "05-02"),
        fact("payment.reversed", "05-03", payment="P", amount=1000, cause="correction"),
        fact("dispute.lost", "05-04", payment="P", amount=1000),
    )

    assert ask(who, OVERDUE, "05-05").unpaid == {"EUR": 1000}


def test_a_payment_for_two_invoices_is_taken_back_from_the_later_first() -> None:
    who = account(
        invoice("I", "05-01"),
        invoice("J", "05-02", 500),
        payment("succeeded", "P", "I", "05-03"),
        payment("succeeded", "P", "J", "05-03", 500),
        fact("payment.reversed", "05-04", payment="P", amount=700, cause="correction"),
    )

    decision = ask(who, OVERDUE, "05-05")
    assert decision.unpaid == {"EUR": 700}
    assert decision.unpaid_invoices == 2


def test_a_failure_told_after_the_success_takes_nothing_back() -> None:
    who = account(
        invoice("I", "05-01"), payment("succeeded", "P", "I", "05-02"), payment("failed", "P", "I", "05-03")
    )

    assert ask(who, OVERDUE, "05-04").unpaid == {}


def test_an_opened_dispute_counts_as_unpaid_where_the_policy_says_so() -> None:
    who = account(
        invoice("I", "05-01"),
        payment("succeeded", "P", "I", "05-02"),
        fact("dispute.opened", "05-20", payment="P", amount=1000),
        fact("dispute.won", "05-25", payment="P", amount=1000),
    )

    assert standing(who, policy(rule(overdue_days=10), dispute_opened="unpaid"), "05-20") == "bad"
    assert standing(who, policy(rule(overdue_days=10), dispute_opened="unpaid"), "05-25") == "clear"
    assert standing(who, OVERDUE, "05-20") == "clear"


def test_a_lost_dispute_is_forgiven_where_the_policy_says_so() -> None:
    who = account(
        invoice("I", "05-01"),
        payment("succeeded", "P", "I", "05-02"),
        fact("dispute.lost", "05-20", payment="P", amount=1000),
    )

    assert standing(who, policy(rule(overdue_days=10), dispute_lost="ignore"), "05-20") == "clear"


def test_the_same_refund_told_twice_is_one_and_two_refunds_are_two() -> None:
    refund = fact("refund.succeeded", "05-03", payment="P", amount=300, credited=False)
    again = fact("refund.succeeded", "05-04", payment="P", amount=300, credited=False)
    who = account(invoice("I", "05-01"), payment("succeeded", "P", "I", "05-02"), refund, refund, again)

    assert ask(who, OVERDUE, "05-03").unpaid == {"EUR": 300}
    assert ask(who, OVERDUE, "05-04").unpaid == {"EUR": 600}


# Conditions


def test_a_day_overdue_begins_at_the_midnight_after_the_due_date() -> None:
    who = account(invoice("I", "05-01", due_date="2024-05-10"))

    for days in (0, 1):
        assert standing(who, policy(rule(overdue_days=days)), "05-10 23:59") == "clear"
        assert standing(who, policy(rule(overdue_days=days)), "05-11") == "bad"


def test_the_age_runs_from_the_date_the_policy_names() -> None:
    who = account(invoice("I", "05-01", due_date="2024-05-15"))

    assert standing(who, policy(rule(unpaid_days=10), age_from="issue_date"), "05-11") == "bad"
    assert standing(who, policy(rule(unpaid_days=10)), "05-24 23:59") == "clear"
    assert standing(who, policy(rule(unpaid_days=10)), "05-25") == "bad"


def test_fields_of_one_rule_must_all_hold() -> None:
    both = policy(rule(overdue_days=5, unpaid_balance={"EUR": 1001}))
    who = account(invoice("I", "05-01"), invoice("J", "05-20", 1))

    assert standing(who, both, "05-19") == "clear"
    assert standing(who, both, "05-20") == "bad"


def test_an_overdue_balance_grows_as_due_dates_pass() -> None:
    who = account(invoice("I", "05-01"), invoice("J", "05-03", due_date="2024-05-08"))
    limit = policy(rule(overdue_balance={"EUR": 2000, "USD": 1}))

    decision = ask(who, limit, "05-03")
    assert decision.standing == "clear"
    assert decision.next_change_at == at("05-09")


def test_a_limit_in_one_currency_says_nothing_about_another() -> None:
    who = account(invoice("I", "05-01", 10**9, currency="USD"))

    assert standing(who, policy(rule(unpaid_balance={"EUR": 1})), "06-01") == "clear"


def test_a_failed_payment_counts_at_once_or_by_whole_days() -> None:
    who = account(
        invoice("I", "05-01", due_date="2024-06-30"),
        payment("failed", "P", "I", "05-02 18:00"),
        payment("failed", "Q", "I", "05-09 18:00"),
    )

    assert standing(who, policy(rule(payment_failed_days=0)), "05-02 17:59") == "clear"
    assert standing(who, policy(rule(payment_failed_days=0)), "05-02 18:00") == "bad"
    assert ask(who, policy(rule(payment_failed_days=3)), "05-03").next_change_at == at("05-05")


def test_a_late_failure_is_a_failed_attempt() -> None:
    who = account(
        invoice("I", "05-01", due_date="2024-06-30"),
        payment("succeeded", "P", "I", "05-02"),
        fact("payment.reversed", "05-09 12:00", payment="P", amount=1000, cause="late_failure"),
    )

    assert ask(who, policy(rule(payment_failed_days=0)), "05-10").since == at("05-09 12:00")


@pytest.mark.parametrize(
    ("decline", "asked", "expected"),
    [
        ("insufficient_funds", "insufficient_funds", "bad"),
        ("insufficient_funds", "soft", "bad"),
        ("stolen_card", "hard", "bad"),
        ("hard", "hard", "bad"),
        ({"code": "R02", "class": "hard"}, "hard", "bad"),
        ("R02", "R02", "bad"),
        ("R02", "hard", "clear"),
        ("stolen_card", "soft", "clear"),
    ],
)
def test_the_last_failure_is_known_by_code_or_class(decline: object, asked: str, expected: str) -> None:
    who = account(invoice("I", "05-01"), payment("failed", "P", "I", "05-01", decline=decline))

    assert standing(who, policy(rule(last_failure=[asked])), "05-01") == expected


def test_a_new_attempt_takes_the_last_failure_away() -> None:
    who = account(
        invoice("I", "05-01"),
        payment("failed", "P", "I", "05-01", decline="stolen_card"),
        payment("pending", "Q", "I", "05-03"),
    )

    assert standing(who, policy(rule(last_failure=["hard"])), "05-02") == "bad"
    assert standing(who, policy(rule(last_failure=["hard"])), "05-03") == "clear"


def test_a_dispute_is_open_until_it_is_decided() -> None:
    who = account(
        invoice("I", "05-01"),
        payment("succeeded", "P", "I", "05-01"),
        fact("dispute.opened", "05-05", payment="P", amount=1),
        fact("dispute.lost", "05-09", payment="P", amount=1),
    )

    assert standing(who, policy(rule(dispute="opened")), "05-05") == "bad"
    assert standing(who, policy(rule(dispute="opened")), "05-09") == "clear"
    assert standing(who, policy(rule(dispute="lost")), "05-09") == "bad"


def test_a_debit_in_flight_is_not_trusted_unless_the_policy_says_so() -> None:
    who = account(invoice("I", "05-01"), payment("pending", "P", "I", "05-01"))

    assert standing(who, OVERDUE, "05-11") == "bad"


def test_trust_in_a_debit_runs_from_its_start_however_often_it_is_told() -> None:
    trusting = policy(rule(overdue_days=3), debit_in_flight={"counts_as_paid_for": "P7D"})
    who = account(
        invoice("I", "05-01"), payment("pending", "P", "I", "05-02"), payment("pending", "P", "I", "05-06")
    )

    assert ask(who, trusting, "05-07").next_change_at == at("05-09")


# Delegation


def test_the_payers_standing_is_followed_to_the_end() -> None:
    child = account(fact("customer.delegated", "05-01", pays="B"), started("S", "05-01"))
    middle = account(fact("customer.delegated", "05-01", pays="C"), invoice("I", "05-01"), id="B")
    payer = account(invoice("I", "05-05"), id="C")

    decision = ask(child, OVERDUE, "05-14 12:00", middle, payer)
    assert (decision.standing, decision.next_change_at) == ("clear", at("05-15"))
    assert ask(child, OVERDUE, "05-15", middle, payer).subscriptions["S"].access == "none"
    assert ask(child, OVERDUE, "05-20", middle, payer).since == at("05-15")


def test_a_circle_or_an_unknown_payer_leaves_everyone_to_their_own_debts() -> None:
    one = account(fact("customer.delegated", "05-01", pays="B"), invoice("I", "05-01"))
    other = account(fact("customer.delegated", "05-01", pays="A"), id="B")

    assert standing(one, OVERDUE, "05-11", one, other) == "bad"
    assert standing(other, OVERDUE, "05-11", one, other) == "clear"
    assert standing(one, OVERDUE, "05-11") == "bad"


def test_delegation_ends() -> None:
    child = account(
        fact("customer.delegated", "05-01", pays="B"), fact("customer.delegated", "05-20", pays=None)
    )
    payer = account(invoice("I", "05-01"), id="B")

    assert standing(child, OVERDUE, "05-19", payer) == "bad"
    assert standing(child, OVERDUE, "05-20", payer) == "clear"


# Lifecycle


def test_a_paused_subscription_gives_nothing_until_it_is_resumed() -> None:
    who = account(
        started("S", "05-01"),
        fact("subscription.paused", "05-02", subscription="S"),
        fact("subscription.resumed", "05-03", subscription="S"),
    )

    assert (ask(who, OVERDUE, "05-02").state, ask(who, OVERDUE, "05-02").access) == ("paused", "none")
    assert ask(who, OVERDUE, "05-03").state == "active"


def test_a_pause_is_no_gap_in_what_was_prepaid() -> None:
    facts = [
        started("S", "01-01"),
        invoice("Jan", "01-01", subscriptions=["S"], period=month(1)),
        payment("succeeded", "P", "Jan", "01-01"),
        invoice("May", "05-01", subscriptions=["S"], period=month(5)),
        payment("succeeded", "Q", "May", "05-01"),
    ]
    paused = [
        fact("subscription.paused", "01-20", subscription="S"),
        fact("subscription.resumed", "05-01", subscription="S"),
    ]

    assert ask(account(*facts), OVERDUE, "05-02").subscriptions["S"].paid_through == at("02-01")
    assert ask(account(*facts, *paused), OVERDUE, "05-02").subscriptions["S"].paid_through == at("06-01")


def test_a_reversal_moves_paid_through_back() -> None:
    who = account(
        started("S", "03-01"),
        *(invoice(f"I{m}", f"0{m}-01", subscriptions=["S"], period=month(m)) for m in (3, 4, 5)),
        *(payment("succeeded", f"P{m}", f"I{m}", f"0{m}-01") for m in (3, 4, 5)),
        fact("payment.reversed", "05-10", payment="P4", amount=1, cause="late_failure"),
    )

    assert ask(who, OVERDUE, "05-09").subscriptions["S"].paid_through == at("06-01")
    assert ask(who, OVERDUE, "05-10").subscriptions["S"].paid_through == at("04-01")


def test_a_trial_counts_as_paid() -> None:
    who = account(
        started("S", "05-01", trial_ends_at="2024-05-15"),
        fact("subscription.canceled", "05-03", subscription="S"),
    )

    decision = ask(who, OVERDUE, "05-03")
    assert (decision.state, decision.next_change_at) == ("canceling", at("05-15"))


def test_the_policy_may_end_canceled_subscriptions_at_once() -> None:
    who = account(
        started("S", "05-01", trial_ends_at="2024-05-15"),
        fact("subscription.canceled", "05-03", subscription="S"),
    )

    assert ask(who, policy(on_cancel="immediate"), "05-03").state == "ended"


def test_what_is_over_keeps_its_own_state_while_the_customer_owes() -> None:
    who = account(
        started("S", "05-01"),
        invoice("I", "05-01", subscriptions=["S"]),
        fact("subscription.ended", "05-05", subscription="S"),
    )

    decision = ask(who, OVERDUE, "05-20")
    assert (decision.state, decision.access) == ("bad", "none")
    assert decision.subscriptions["S"].state == "ended"


def test_a_trial_before_the_first_payment_is_usable() -> None:
    who = account(started("S", "05-01", trial_ends_at="2024-05-15"))
    careful = policy(activate_on="payment_confirmed", activation_timeout="P2D")

    decision = ask(who, careful, "05-02")
    assert (decision.state, decision.next_change_at) == ("trialing", at("05-15"))
    assert ask(who, careful, "05-15").state == "pending"
    assert ask(who, careful, "05-17").state == "expired"


def test_an_activated_subscription_stays_activated_when_its_first_payment_comes_back() -> None:
    who = account(
        started("S", "05-01"),
        invoice("I", "05-01", subscriptions=["S"]),
        payment("succeeded", "P", "I", "05-02"),
        fact("payment.reversed", "05-20", payment="P", amount=1000, cause="late_failure"),
    )

    decision = ask(who, policy(rule(overdue_days=10), activate_on="payment_confirmed"), "05-20")
    assert (decision.state, decision.access) == ("bad", "none")


def test_an_invoice_of_zero_activates_at_once() -> None:
    who = account(started("S", "05-01"), invoice("I", "05-01", 0, subscriptions=["S"]))

    assert ask(who, policy(activate_on="payment_confirmed"), "05-01").state == "active"


# The customer as a whole


def test_a_customer_without_anything_is_clear() -> None:
    decision = ask(account(), OVERDUE, "05-01").to_json()

    assert decision["state"] == decision["standing"] == "clear"
    assert decision["access"] == "full"
    assert decision["since"] is decision["next_change_at"] is decision["next"] is None


def test_only_live_subscriptions_speak_for_the_customer() -> None:
    who = account(
        started("S", "05-01"), started("T", "05-01"), fact("subscription.ended", "05-05", subscription="S")
    )

    assert (ask(who, OVERDUE, "05-06").state, ask(who, OVERDUE, "05-06").access) == ("active", "full")


def test_the_json_has_exactly_the_keys_of_the_contract() -> None:
    who = account(started("S", "05-01"), invoice("I", "05-01", subscriptions=["S"]))

    decision = ask(who, OVERDUE, "05-11").to_json()
    assert set(decision) == set(
        "customer at standing state access block_changes since unpaid overdue unpaid_invoices oldest_unpaid_on"
        " reasons next_change_at next prevented_by subscriptions".split()
    )
    assert set(decision["subscriptions"]["S"]) == {"state", "access", "paid_through", "reasons"}
    assert decision["reasons"] == [
        {
            "rule": "bad",
            "because": "overdue_days",
            "invoice": "I",
            "days": 10,
            "threshold": 10,
            "amount": 1000,
            "currency": "EUR",
            "text": "Invoice I (10.00 EUR) is 10 days overdue; the limit is 10.",
        }
    ]


def test_the_effects_of_the_rule_come_with_the_decision() -> None:
    hard = policy({**rule(overdue_days=1), "block_changes": True, "cancel": "end_of_term"})

    decision = ask(account(invoice("I", "05-01")), hard, "05-02")
    assert (decision.block_changes, decision.cancel) == (True, "end_of_term")


def test_an_instant_needs_an_offset() -> None:
    with pytest.raises(ValueError, match="offset"):
        decide(account(), OVERDUE, datetime(2024, 5, 1))


# Days


@pytest.mark.parametrize(
    ("zone", "due", "begins"),
    [
        ("Pacific/Auckland", "2024-05-01", "2024-05-01T12:00:00+00:00"),
        ("America/Los_Angeles", "2024-05-01", "2024-05-02T07:00:00+00:00"),
        ("Europe/Berlin", "2024-03-31", "2024-03-31T22:00:00+00:00"),  # a day of 23 hours
        ("Europe/Berlin", "2024-10-27", "2024-10-27T23:00:00+00:00"),  # a day of 25 hours
        ("America/Sao_Paulo", "2018-11-03", "2018-11-04T03:00:00+00:00"),  # a day without midnight
        ("Pacific/Apia", "2011-12-29", "2011-12-30T10:00:00+00:00"),  # the next day never was
        ("UTC", "2024-02-28", "2024-02-29T00:00:00+00:00"),
        ("UTC", "2023-02-28", "2023-03-01T00:00:00+00:00"),
    ],
)
def test_a_day_begins_at_local_midnight_whatever_the_clocks_do(zone: str, due: str, begins: str) -> None:
    long_ago = {"type": "invoice.finalized", "at": "2011-01-01T00:00:00Z", "invoice": "I", "amount": 1}
    who = account({**long_ago, "currency": "EUR", "issue_date": "2011-01-01", "due_date": due}, zone=zone)
    first = datetime.fromisoformat(begins)

    assert decide(who, policy(rule(overdue_days=1)), first - timedelta(microseconds=1)).standing == "clear"
    assert decide(who, policy(rule(overdue_days=1)), first).standing == "bad"


def test_a_day_that_began_stays_when_clocks_go_back_over_midnight() -> None:
    zone = ZoneInfo("America/St_Johns")  # 2010-11-07 00:01 became 2010-11-06 23:01
    begins = midnight(date(2010, 11, 7), zone)

    days = {day_of(begins + timedelta(minutes=minutes), zone) for minutes in range(180)}

    assert days == {date(2010, 11, 7)}
    assert day_of(begins - timedelta(microseconds=1), zone) == date(2010, 11, 6)
