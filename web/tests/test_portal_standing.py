"""How an account stands, in the customer's words: the most urgent thing first, and what it comes to."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from billhook.model import Invoice, InvoiceStatus, PaymentStatus, Ref
from billhook_web.pages.words import words_for
from billhook_web.portal.standing import Owed, banner, in_order, owed, sentence
from billhook_web.stores.access import Stored

NOW = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
WORDS = words_for("en-GB")


def debt(name: str = "1", **fields: Any) -> Owed:
    given: dict[str, Any] = {
        "ref": Ref("acme", name), "customer_id": "ada", "number": f"INV-{name}", "kind": "subscription",
        "status": InvoiceStatus.FINALIZED, "currency": "EUR", "total": 4900, "taxes": 0, "due": 4900, "paid": 0,
        "balance": 4900, "payment_status": PaymentStatus.PENDING, "engine_status": PaymentStatus.PENDING,
        "due_on": date(2026, 8, 20), **fields,
    }  # fmt: skip
    return owed(Invoice(**given), now=NOW)


def decided(
    access: str, *, after: str | None = None, since: datetime | None = NOW - timedelta(days=2)
) -> Stored:
    later = NOW + timedelta(days=5)
    body = {
        "access": access,
        "since": since.isoformat() if since else None,
        "next": {"state": after, "access": after} if after else None,
        "next_change_at": later.isoformat() if after else None,
    }
    return Stored(
        customer_id="ada", version=1, body=body, policy=0, changed_at=NOW, settled_at=NOW, next_change_at=None,
        fresh_until=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "past_due"),
        ({"due_on": date(2026, 9, 1)}, "open"),  # all of that day is left
        ({"due_on": None}, "open"),
        ({"payment_status": PaymentStatus.FAILED}, "failed"),
        ({"payment_status": PaymentStatus.PROCESSING}, "processing"),
    ],
)
def test_an_unpaid_invoice_has_one_status(fields: dict[str, Any], status: str) -> None:
    assert debt(**fields).status == status


def test_what_asks_for_something_comes_first_and_the_longest_due_before_the_rest() -> None:
    mixed = [
        debt("going", payment_status=PaymentStatus.PROCESSING),
        debt("open", due_on=date(2026, 10, 1)),
        debt("late", due_on=date(2026, 8, 25)),
        debt("later", due_on=date(2026, 8, 1)),
        debt("failed", payment_status=PaymentStatus.FAILED, due_on=None),
    ]
    assert [each.invoice.ref.id for each in in_order(mixed)] == ["failed", "later", "late", "open", "going"]


def test_nothing_urgent_has_no_banner() -> None:
    assert banner([], None, WORDS) is None
    assert banner([debt(due_on=date(2026, 10, 1))], decided("full"), WORDS) is None
    assert banner([debt(payment_status=PaymentStatus.PROCESSING)], decided("none"), WORDS) is None


@pytest.mark.parametrize(
    ("access", "title", "text"),
    [
        (None, "€49.00 is past due", "Invoice INV-1 was due on 20 Aug 2026."),
        (
            decided("full", after="none"),
            "€49.00 is past due",
            "Invoice INV-1 was due on 20 Aug 2026. If nothing is paid, access pauses on 6 Sept 2026.",
        ),
        (
            decided("limited", after="none"),
            "Your account is limited since 30 Aug 2026",
            "Invoice INV-1 was due on 20 Aug 2026. Everything works again within a minute of paying. "
            "If nothing is paid, access pauses on 6 Sept 2026.",
        ),
        (
            decided("none"),
            "Access is paused since 30 Aug 2026",
            "Invoice INV-1 was due on 20 Aug 2026. Pay what is open, and everything is back within a minute, just as you left it.",
        ),
        (decided("none", since=None), "€49.00 is past due", "Invoice INV-1 was due on 20 Aug 2026."),
        (decided("limited", after="full"), "Your account is limited since 30 Aug 2026", None),
    ],
)
def test_the_banner_says_what_is_lost_then_what_is_owed_then_what_comes(
    access: Stored | None, title: str, text: str | None
) -> None:
    found = banner([debt()], access, WORDS)
    assert found is not None
    assert found.title == title
    assert text is None or found.text == text
    assert found.pays is not None


def test_a_declined_payment_is_no_ones_fault() -> None:
    found = banner([debt(payment_status=PaymentStatus.FAILED), debt("2")], None, WORDS)
    assert found is not None
    assert found.title == "We couldn’t collect €49.00"
    assert found.text == "2 invoices are unpaid."


def test_the_access_is_said_in_a_sentence() -> None:
    told = banner([debt()], decided("full", after="limited"), WORDS)
    assert sentence(None, WORDS, told=None) is None
    assert sentence(decided("full", since=None), WORDS, told=None) is None
    full = decided("full", after="limited")
    assert sentence(full, WORDS, told=told) == "Everything in your plan works."
    assert sentence(full, WORDS, told=None) == (
        "Everything in your plan works. If nothing is paid, your account is limited from 6 Sept 2026."
    )
    assert sentence(decided("limited"), WORDS, told=None) == "Parts of your plan don’t work at the moment."
    assert sentence(decided("none"), WORDS, told=None) == "Your access is off since 30 Aug 2026."
