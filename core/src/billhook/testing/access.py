"""Hypothesis strategies for access: accounts, policies and instants, for properties that hold whatever happened.

Everything falls into half a year around a leap day and a change of the clocks, and the same few invoices, payments and
subscriptions come up again and again, so that facts really meet.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from billhook.access import facts as f
from billhook.access.facts import AccessFact, Account
from billhook.access.rules import Access, CancelEffect, Policy, Rule, When

FIRST = datetime(2024, 2, 1, tzinfo=UTC)
DAYS = 180
CURRENCIES = ("USD", "EUR")
INVOICES = ("I1", "I2", "I3", "I4")
PAYMENTS = ("P1", "P2", "P3", "P4", "P5")
SUBSCRIPTIONS = ("S1", "S2")
TAGS = ("vip", "test")
CODES = ("insufficient_funds", "stolen_card", "authentication_required", "odd_code")
ZONES = ("UTC", "America/Los_Angeles", "Pacific/Auckland", "Europe/Berlin", "America/Sao_Paulo")
AMOUNTS = (0, 1, 999, 1000, 1001, 2000, 5000)


def instants() -> st.SearchStrategy[datetime]:
    """Instants of the half year: often a whole hour, sometimes one microsecond beside it."""
    hours = st.integers(0, DAYS * 24).map(lambda count: timedelta(hours=count))
    beside = st.sampled_from((0, 0, 0, 1, -1)).map(lambda count: timedelta(microseconds=count))
    return st.builds(lambda hour, side: FIRST + hour + side, hours, beside)


def days() -> st.SearchStrategy[date]:
    """Dates of the half year."""
    return st.integers(0, DAYS).map(lambda count: (FIRST + timedelta(days=count)).date())


def facts() -> st.SearchStrategy[AccessFact]:
    """One fact of any type; invoices more often than the rest."""
    return st.one_of(finalized(), finalized(), payments(), payments(), _lifecycle(), _takebacks(), _others())


def finalized(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[f.Finalized]:
    """An invoice; ``fixed`` replaces single fields."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        "at": instants(),
        "invoice": st.sampled_from(INVOICES),
        "amount": st.sampled_from(AMOUNTS),
        "currency": st.sampled_from(CURRENCIES),
        "issue_date": days(),
        "due_date": days(),
        "subscriptions": st.lists(st.sampled_from(SUBSCRIPTIONS), max_size=2, unique=True).map(tuple),
        "period": st.none() | _periods(),
    }
    return st.builds(f.Finalized, **{**fields, **fixed})


def payments(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[f.PaymentChanged]:
    """How far a payment has come; ``fixed`` replaces single fields."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from(get_args(f.PaymentType)),
        "at": instants(),
        "payment": st.sampled_from(PAYMENTS),
        "invoice": st.sampled_from(INVOICES),
        "amount": st.sampled_from(AMOUNTS),
        "currency": st.sampled_from(CURRENCIES),
        "decline": st.none() | st.sampled_from(CODES),
    }
    return st.builds(f.PaymentChanged, **{**fields, **fixed})


def accounts(
    id: str = "A", *, zones: tuple[str, ...] = ZONES, of: st.SearchStrategy[AccessFact] | None = None
) -> st.SearchStrategy[Account]:
    """An account with up to two dozen facts, in any order."""
    listed = st.lists(facts() if of is None else of, max_size=24).map(tuple)
    return st.builds(Account, id=st.just(id), facts=listed, timezone=st.sampled_from(zones).map(ZoneInfo))


def policies(*, prepaid_survives: st.SearchStrategy[bool] | None = None) -> st.SearchStrategy[Policy]:
    """A policy whose rules give no less access than those before them, as a policy should."""
    return st.builds(
        Policy,
        rules=_rules(),
        age_from=st.sampled_from(("due_date", "issue_date")),
        activate_on=st.sampled_from(("subscription_started", "payment_confirmed")),
        activation_timeout=st.none() | st.sampled_from((timedelta(hours=36), timedelta(days=7))),
        debit_counts_as_paid_for=st.none() | st.sampled_from((timedelta(days=7), timedelta(hours=30))),
        on_cancel=st.sampled_from(("paid_through", "immediate")),
        rollup=st.sampled_from(("worst", "per_subscription")),
        prepaid_survives=st.booleans() if prepaid_survives is None else prepaid_survives,
        dispute_opened=st.sampled_from(("ignore", "unpaid")),
        dispute_lost=st.sampled_from(("ignore", "unpaid")),
    )


def _rules() -> st.SearchStrategy[tuple[Rule, ...]]:
    drafts = st.lists(
        st.tuples(
            _conditions(), st.sampled_from(Access), st.booleans(), st.sampled_from(get_args(CancelEffect))
        ),
        max_size=4,
    )
    return drafts.map(_ordered)


def _ordered(drafts: list[tuple[When, Access, bool, CancelEffect]]) -> tuple[Rule, ...]:
    severe_first = sorted(drafts, key=lambda draft: draft[1].rank)
    return tuple(
        Rule(state=f"stage_{place}", when=when, access=access, block_changes=blocks, cancel=cancel)
        for place, (when, access, blocks, cancel) in enumerate(severe_first)
    )


def _conditions() -> st.SearchStrategy[When]:
    limits = st.dictionaries(st.sampled_from(CURRENCIES), st.sampled_from((1, 1000, 1001, 3000)), min_size=1)
    each: dict[str, st.SearchStrategy[Any]] = {
        "overdue_days": st.sampled_from((0, 1, 5, 30)),
        "unpaid_days": st.sampled_from((0, 1, 7, 40)),
        "overdue_balance": limits.map(lambda found: tuple(sorted(found.items()))),
        "unpaid_balance": limits.map(lambda found: tuple(sorted(found.items()))),
        "unpaid_invoices": st.sampled_from((1, 2, 3)),
        "payment_failed_days": st.sampled_from((0, 1, 10)),
        "last_failure": st.sampled_from((("hard",), ("soft", "odd_code"), ("authentication",))),
        "dispute": st.sampled_from(("opened", "lost")),
        "has_tag": st.sampled_from(TAGS),
        "lacks_tag": st.sampled_from(TAGS),
    }
    names = st.lists(st.sampled_from(sorted(each)), min_size=1, max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.builds(When, **{name: each[name] for name in chosen}))


def _periods() -> st.SearchStrategy[f.Span]:
    months = st.integers(0, 5).map(lambda month: (date(2024, 2 + month, 1), date(2024, 3 + month, 1)))
    return months.map(lambda month: f.Span(start=month[0], end=month[1]))


def _lifecycle() -> st.SearchStrategy[AccessFact]:
    name, moments = st.sampled_from(SUBSCRIPTIONS), st.none() | instants() | days()
    modes = st.sampled_from(("paid_through", "immediate"))
    changed = st.builds(
        f.LifecycleChanged,
        type=st.sampled_from(get_args(f.LifecycleType)),
        at=instants(),
        subscription=name,
    )
    started = st.builds(
        f.Started, at=instants(), subscription=name, plan=st.just("basic"), trial_ends_at=moments
    )
    at_once = st.builds(f.Canceled, at=instants(), subscription=name, mode=modes)
    later = st.builds(f.Canceled, at=instants(), subscription=name, mode=st.just("at"), ends_at=instants())
    return st.one_of(started, started, changed, at_once, later)


def _takebacks() -> st.SearchStrategy[AccessFact]:
    shared: dict[str, st.SearchStrategy[Any]] = {
        "at": instants(),
        "payment": st.sampled_from(PAYMENTS),
        "amount": st.sampled_from(AMOUNTS),
    }
    build: Callable[..., st.SearchStrategy[AccessFact]] = st.builds
    return st.one_of(
        build(f.Reversed, cause=st.sampled_from(get_args(f.ReversalCause)), **shared),
        build(f.Refunded, credited=st.booleans(), **shared),
        build(f.Disputed, type=st.sampled_from(get_args(f.DisputeType)), **shared),
    )


def _others() -> st.SearchStrategy[AccessFact]:
    invoice = st.sampled_from(INVOICES)
    return st.one_of(
        st.builds(
            f.TagChanged, type=st.sampled_from(get_args(f.TagType)), at=instants(), tag=st.sampled_from(TAGS)
        ),
        st.builds(
            f.Amended,
            type=st.sampled_from(get_args(f.AmendType)),
            at=instants(),
            invoice=invoice,
            amount=st.sampled_from(AMOUNTS),
        ),
        st.builds(f.Marked, type=st.sampled_from(get_args(f.MarkType)), at=instants(), invoice=invoice),
        st.builds(f.Delegated, at=instants(), pays=st.sampled_from(("A", "B", "C", None))),
    )
