"""What the pay page says of an invoice, as text ready to show in the reader's words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from billhook.model import Invoice, InvoiceStatus
from billhook.money import Money
from billhook_web.pages.method_words import decline_reason
from billhook_web.pages.words import N_, Words
from billhook_web.services.paying import PayState, PayView

_KINDS: Final = {
    "one_off": N_("One-off charge"),
    "add_on": N_("Add-on"),
    "credit": N_("Prepaid credit"),
    "advance_charges": N_("Usage charges"),
    "progressive_billing": N_("Usage so far"),
    "unknown": "",
}
"""Words for the kinds of invoice billing engines have; any other is shown as it is written."""


class Look(StrEnum):
    """Which face the page has. The first two can be paid."""

    OPEN = "open"
    FAILED = "failed"
    WAITING = "waiting"  # the customer is back from the checkout, and nothing is confirmed
    PROCESSING = "processing"
    PAID = "paid"
    VOID = "void"
    DRAFT = "draft"
    SETTLED = "settled"  # nothing was ever due


PAYABLE: Final = frozenset({Look.OPEN, Look.FAILED})
LOOKS_AGAIN: Final = frozenset({Look.WAITING, Look.PROCESSING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All the page says. ``sums`` are the steps from the total to what is due, as ``lines`` of ``portal/parts.html``;
    none when equal. ``reason``: why the last try failed, in words; empty: nobody may know, or it did not fail."""

    look: Look
    amount: Money
    number: str | None
    facts: tuple[tuple[str, str], ...]
    sums: tuple[tuple[str, str, Money, str], ...]
    reason: str
    paid_on: datetime | None
    overdue: bool
    reopened: bool
    looked_at: datetime


def look_of(view: PayView, *, returned: bool) -> Look:
    """Return the face of the page. ``returned``: the provider's checkout sent the customer back here, paid or not."""
    match view.state:
        case PayState.OPEN if view.invoice.status is InvoiceStatus.DRAFT:
            return Look.DRAFT
        case PayState.OPEN:
            return Look.WAITING if returned else Look.OPEN
        case PayState.FAILED:  # an earlier failure says nothing about the try the customer comes back from
            return Look.WAITING if returned and view.awaits else Look.FAILED
        case PayState.PAID if view.invoice.due == 0:
            return Look.SETTLED
        case _:
            return Look(view.state.value)


def describe(view: PayView, words: Words, *, now: datetime, returned: bool) -> Page:
    """Say what the page shows; ``returned`` as for :func:`look_of`."""
    invoice = view.invoice
    look = look_of(view, returned=returned)
    owed = invoice.paid or invoice.due if look is Look.PAID else invoice.balance or invoice.due
    overdue = invoice.balance > 0 and invoice.due_on is not None and invoice.due_on < now.date()
    return Page(
        look=look,
        amount=Money(owed, invoice.currency),
        number=invoice.number,
        facts=tuple(_facts(invoice, words, overdue=overdue)),
        sums=tuple(_sums(invoice, words)) if look in PAYABLE else (),
        reason=decline_reason(view.decline, words),
        paid_on=view.paid_at,
        overdue=overdue,
        reopened=invoice.disputed and invoice.balance > 0,
        looked_at=now.astimezone(UTC),
    )


def _facts(invoice: Invoice, words: Words, *, overdue: bool) -> list[tuple[str, str]]:
    due = words.say("Due since") if overdue else words.say("Due")
    rows = [
        (words.say("Invoice"), invoice.number),
        (words.say("For"), _purpose(invoice, words)),
        (words.say("Period"), words.days(invoice.period) if invoice.period else None),
        (words.say("Issued"), words.day(invoice.issued_on) if invoice.issued_on else None),
        (due, words.day(invoice.due_on) if invoice.due_on else None),
    ]
    return [(label, value) for label, value in rows if value]


def _purpose(invoice: Invoice, words: Words) -> str:
    """Say what the invoice is for. Subscriptions are counted: their ids are for machines."""
    if invoice.kind == "subscription":
        count = len(invoice.subscriptions)
        return words.say("Subscription") if count < 2 else words.say("%(number)s subscriptions", number=count)
    known = _KINDS.get(invoice.kind)
    if known is None:
        return invoice.kind.replace("_", " ").capitalize()
    return words.say(known) if known else ""


def _sums(invoice: Invoice, words: Words) -> list[tuple[str, str, Money, str]]:
    """Lead from the document's total to what is open."""
    if invoice.total == invoice.balance:
        return []
    steps = [
        (words.say("Invoice total"), invoice.total, ""),
        (words.say("Credit"), invoice.due - invoice.total, ""),
        (words.say("Paid so far"), -invoice.paid, ""),
        (words.say("Still open"), invoice.balance, "total"),
    ]
    return [(label, "", Money(minor, invoice.currency), kind) for label, minor, kind in steps if minor]
