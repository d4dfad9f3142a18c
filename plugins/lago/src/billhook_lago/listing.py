"""Lago's lists as what its webhooks would have said, for finding out what never arrived.

Lago lists nothing by "changed since": invoices by issuing date and whether they are overdue, the rest as a whole; most
rows carry the time of their last change, and what did not change in the window is left out. Lists by creation
(payments, credit notes) are newest first and read until they are older than the window. Not listed, so not found:
drafts (they mean nothing yet), invoices of gated activations, and a change of an invoice of more than a month ago that
is neither overdue nor paid through Lago's payments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from billhook.errors import Permanent
from billhook.events import (
    Event,
    InvoiceFinalized,
    InvoiceObserved,
    Refetch,
    SubscriptionEnded,
    SubscriptionStarted,
    SubscriptionSuperseded,
)
from billhook.model import InvoiceStatus, PaymentStatus, Ref
from billhook.provider import ReconcilePage, ReconcileWindow, Sighting
from billhook_lago import agreements, mapping
from billhook_lago.agreements import RowStatus
from billhook_lago.client import LagoClient, readable
from billhook_lago.reading import Json, cents, instant, text, text_or_none

A_DAY: Final = timedelta(days=1)
"""Issuing dates are days in the customer's time zone, and a payment may be dated by the day it was made."""
A_MONTH: Final = timedelta(days=31)
"""How long after its issuing date an invoice is looked at again: it is paid, or fails, weeks later."""

Params = Mapping[str, str | int | Sequence[str]]
Told = Sequence[Event | Refetch]


@dataclass(frozen=True, slots=True)
class _Section:
    """One list: how it is asked for, what a row means (None: nothing), and whether older rows end it."""

    root: str
    params: Callable[[ReconcileWindow], Params | None]  # None: not this time
    read: Callable[[str, Json], Sequence[Sighting]]
    newest_first: bool = False


def pages_of(connection: str, client: LagoClient, window: ReconcileWindow) -> Iterator[ReconcilePage]:
    """Yield one page for each call; the cursor is ``<list>:<page>``.

    :raises Permanent: the cursor is none of ours.
    """
    names = list(SECTIONS)
    name, number = _place(window.cursor)
    for at in range(names.index(name), len(names)):
        section, params = SECTIONS[names[at]], SECTIONS[names[at]].params(window)
        while number is not None and params is not None:
            page = client.page(section.root, section.root, params=params, number=number)
            with readable():
                sightings = [each for row in page.rows for each in section.read(connection, row)]
                ended = section.newest_first and _all_older(page.rows, window.since)
            number = None if ended else page.following
            yield ReconcilePage(
                sightings=[each for each in sightings if _within(each, window)],
                cursor=_cursor(names, at, number),
                pause=page.pause,
            )
        number = 1


def _place(cursor: str | None) -> tuple[str, int | None]:
    name, _, number = (cursor or f"{next(iter(SECTIONS))}:1").partition(":")
    if name not in SECTIONS or not number.isdecimal():
        raise Permanent("the place to go on from is none of Lago's; begin the reconciliation anew")
    return name, int(number)


def _cursor(names: Sequence[str], at: int, number: int | None) -> str | None:
    if number is not None:
        return f"{names[at]}:{number}"
    return f"{names[at + 1]}:1" if at + 1 < len(names) else None


def _within(sighting: Sighting, window: ReconcileWindow) -> bool:
    """Leave out what Lago dates before the window."""
    if window.since is None or sighting.changed_at is None:
        return True
    return sighting.changed_at >= window.since - A_DAY


def _all_older(rows: Sequence[Json], since: datetime | None) -> bool:
    if since is None or not rows:
        return False
    return all((at := instant(row, "created_at")) is not None and at < since - A_DAY for row in rows)


# --- what rows mean ------------------------------------------------------------------------------------------------


def _customer(connection: str, row: Json) -> list[Sighting]:
    fact = mapping.customer(connection, row)
    return [Sighting(kind="customer", ref=fact.ref, changed_at=fact.at, news=lambda _known: [fact])]


def _subscription(connection: str, row: Json) -> list[Sighting]:
    ref, status = Ref(connection, text(row, "lago_id")), agreements.row_status(row)
    if status is RowStatus.PENDING:
        return []
    over = status in (RowStatus.TERMINATED, RowStatus.CANCELED)
    ended_at = instant(row, "terminated_at") or instant(row, "canceled_at")
    stands = _standing(connection, row)

    def news(known: Sequence[Event]) -> Told:
        # Once known, a start is not told again: a row whose trial is over says less about it than it did then.
        begun = any(isinstance(fact, SubscriptionStarted) for fact in known)
        ended = any(isinstance(fact, SubscriptionEnded | SubscriptionSuperseded) for fact in known)
        return [
            told
            for told in stands
            if not (begun and isinstance(told, SubscriptionStarted))
            and not (ended and isinstance(told, Refetch))
        ]

    return [Sighting(kind="subscription", ref=ref, changed_at=ended_at if over else None, news=news)]


def _standing(connection: str, row: Json) -> list[Event | Refetch]:
    """Return all that webhooks would have said of a row until now."""
    began = agreements.row_status(row) in (RowStatus.ACTIVE, RowStatus.TERMINATED)
    told: list[Event | Refetch] = [agreements.start(connection, row)] if began else []
    told += agreements.standing(connection, row)
    if began and text_or_none(row, "trial_ended_at"):
        told.append(agreements.trial_ended(connection, row))
    return told


def _invoice(connection: str, row: Json) -> list[Sighting]:
    """Read an invoice. Rows of a list have neither fees nor subscriptions, so one that is new is fetched whole."""
    status = mapping.invoice_status(row)
    if status is InvoiceStatus.DRAFT:
        return []
    seen: list[Event] = [*mapping.invoice_observed(connection, row), *mapping.payer(connection, row)]
    ref = Ref(connection, text(row, "lago_id"))

    def news(known: Sequence[Event]) -> Told:
        whole = status is not InvoiceStatus.FINALIZED or any(
            isinstance(fact, InvoiceFinalized) for fact in known
        )
        return seen if whole else [Refetch(kind="invoice", id=ref.id)]

    return [Sighting(kind="invoice", ref=ref, changed_at=seen[0].at, news=news)]


def _payment(connection: str, row: Json) -> list[Sighting]:
    """Read a payment in Lago's books: it changed its invoices, which may be older than the window."""
    paid_at, amount = instant(row, "created_at"), cents(row, "amount_cents")
    listed = row.get("invoice_ids")
    invoices = [each for each in listed if isinstance(each, str) and each] if isinstance(listed, list) else []

    def of(invoice: str) -> Sighting:
        def news(known: Sequence[Event]) -> Told:
            views = [fact for fact in known if isinstance(fact, InvoiceObserved)]
            told = any(
                view.payment_status is PaymentStatus.SUCCEEDED or 0 < amount <= view.paid for view in views
            )
            return [] if told else [Refetch(kind="invoice", id=invoice)]

        return Sighting(kind="invoice", ref=Ref(connection, invoice), changed_at=paid_at, news=news)

    return [of(invoice) for invoice in invoices if row.get("payment_status") == "succeeded"]


def _credit_note(connection: str, row: Json) -> list[Sighting]:
    fact = mapping.credit_note(connection, row)
    return [Sighting(kind="credit_note", ref=fact.ref, changed_at=fact.at, news=lambda _known: [fact])]


# --- how lists are asked for ---------------------------------------------------------------------------------------


def _everything(_window: ReconcileWindow) -> Params:
    return {}


def _all_statuses(_window: ReconcileWindow) -> Params:
    return {"status[]": [status.value for status in RowStatus]}  # without asking: only the active ones


def _issued(window: ReconcileWindow) -> Params:
    params = {"issuing_date_to": _day(window.until + A_DAY)}
    return params if window.since is None else {**params, "issuing_date_from": _day(window.since - A_MONTH)}


def _overdue(window: ReconcileWindow) -> Params | None:
    return None if window.since is None else {"payment_overdue": "true"}  # else all are listed already


def _paid(window: ReconcileWindow) -> Params | None:
    return None if window.since is None else {}  # else every invoice was listed with what was paid


def _day(at: datetime) -> str:
    day: date = at.date()
    return day.isoformat()


SECTIONS: Final[Mapping[str, _Section]] = {
    "customers": _Section("customers", _everything, _customer),
    "subscriptions": _Section("subscriptions", _all_statuses, _subscription),
    "invoices": _Section("invoices", _issued, _invoice),
    "overdue": _Section("invoices", _overdue, _invoice),
    "payments": _Section("payments", _paid, _payment, newest_first=True),
    "credit_notes": _Section("credit_notes", _everything, _credit_note, newest_first=True),
}
