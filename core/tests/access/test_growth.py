"""Ten times the facts cost at most ten times as much: counted in calls, which no busy machine changes."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billhook.access import Account, decide, parse_policy
from billhook.access.facts import AccessFact, Disputed, Finalized, PaymentChanged, Span, Started

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FEW, MANY = 50, 200
MOST_GROWTH = 1.4
"""How much dearer a fact may be in the longer account: sorted lists are searched, and limits are reached."""

RULES: list[dict[str, Any]] = [
    {"state": "a", "when": {"overdue_days": 3000}},
    {"state": "b", "when": {"unpaid_balance": {"EUR": 50_000}}},
    {"state": "c", "when": {"overdue_balance": {"EUR": 60_000}}},
    {"state": "d", "when": {"unpaid_invoices": 5}},
    {"state": "e", "when": {"payment_failed_days": 3}},
    {"state": "f", "when": {"last_failure": ["soft", "hard"]}},
    {"state": "g", "when": {"dispute": "lost"}},
]
LENIENT = [{"state": "f", "when": {"last_failure": ["authentication"], "unpaid_invoices": 9_999}}]


def facts(invoices: int, paying: str, subscriptions: int) -> Iterator[AccessFact]:
    """Bill monthly; every payment goes the same way."""
    for number in range(subscriptions):
        yield Started(at=BEGIN - DAY, subscription=f"S{number}", plan="p")
    for number in range(invoices):
        at = BEGIN + number * 30 * DAY
        yield Finalized(
            at=at,
            invoice=f"I{number}",
            amount=4_900,
            currency="EUR",
            issue_date=at.date(),
            due_date=at.date(),
            subscriptions=(f"S{number % subscriptions}",) if subscriptions else (),
            period=Span(start=at, end=at + 30 * DAY),
        )
        yield from paid(number, at + 2 * DAY, paying)


def paid(number: int, at: datetime, paying: str) -> Iterator[AccessFact]:
    kind: Any = {"late": "succeeded", "disputed": "succeeded"}.get(paying, paying)
    if paying != "never":
        yield PaymentChanged(
            type=f"payment.{kind}",  # type: ignore[arg-type]  # one of the four that are asked for below
            at=at,
            payment=f"P{number}",
            invoice=f"I{number}",
            amount=4_900,
            currency="EUR",
            decline="expired_card" if paying == "failed" else None,
        )
    if paying == "disputed":
        yield Disputed(type="dispute.lost", at=at + 7 * DAY, payment=f"P{number}", amount=4_900)


def calls_for_a_fact(account: Account, document: dict[str, Any]) -> float:
    """Decide at the end of an account; return the calls this took, for each fact."""
    policy, at = parse_policy(document), max(fact.at for fact in account.facts) + 15 * DAY
    profile = cProfile.Profile()
    profile.runcall(decide, account, policy, at)
    calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]  # typeshed does not know it
    return calls / len(account.facts)


@pytest.mark.parametrize("rules", [RULES, LENIENT], ids=["reached", "never reached"])
@pytest.mark.parametrize("paying", ["late", "never", "failed", "pending", "disputed"])
@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"rollup": "per_subscription"},
        {
            "prepaid_survives": True,
            "activate_on": "payment_confirmed",
            "debit_in_flight": {"counts_as_paid_for": "P7D"},
        },
    ],
    ids=["plain", "each for itself", "prepaid"],
)
def test_a_fact_is_not_dearer_in_a_longer_account(
    rules: list[dict[str, Any]], paying: str, terms: dict[str, Any]
) -> None:
    subscriptions = 2 if terms else 0
    few, many = (
        calls_for_a_fact(
            Account(id="A", facts=tuple(facts(count, paying, subscriptions))), {"rules": rules} | terms
        )
        for count in (FEW, MANY)
    )
    assert many <= MOST_GROWTH * few
