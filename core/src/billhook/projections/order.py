"""The one order of facts about a thing, whatever order they came in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from billhook.events import (
    CreditNoteIssued,
    DisputeChanged,
    Event,
    InvoiceObserved,
    MandateChanged,
    RefundChanged,
    to_json,
)
from billhook.model import DisputeStatus, InvoiceStatus, MandateStatus, PaymentStatus, RefundStatus

F = TypeVar("F", bound=Event)
T = TypeVar("T")

_TYPES = {
    "subscription.incomplete": 0,
    "subscription.started": 1,
    "subscription.updated": 2,
    "subscription.trial_ended": 3,
    "subscription.superseded": 4,
    "subscription.canceled": 5,
    "subscription.ended": 6,
    "customer.untagged": 0,
    "customer.tagged": 1,
    "invoice.reinstated": 0,
    "invoice.written_off": 1,
    "payment.processing": 0,
    "payment.canceled": 1,
    "payment.failed": 2,
    "payment.succeeded": 3,
}
_REFUNDS = {RefundStatus.PENDING: 0, RefundStatus.FAILED: 1, RefundStatus.SUCCEEDED: 2}
_DISPUTES = {DisputeStatus.OPEN: 0, DisputeStatus.LOST: 1, DisputeStatus.WON: 2}
_MANDATES = {MandateStatus.ON_HOLD: 0, MandateStatus.ACTIVE: 1, MandateStatus.ENDED: 2}
_DOCUMENTS = {InvoiceStatus.DRAFT: 0, InvoiceStatus.FINALIZED: 1, InvoiceStatus.VOIDED: 2}


def time_of(event: Event) -> datetime:
    """Return when the fact became true; ValueError when it was not dated."""
    if event.at is None:
        raise ValueError(f"{event.type} has no time; facts are dated before they are applied")
    return event.at


def order(event: Event) -> tuple[datetime, tuple[int, ...], str]:
    """Return the sort key: time, rank among facts of the same instant, content."""
    return time_of(event), _rank(event), to_json(event)


def earliest(facts: Iterable[F]) -> F:
    """Return the first of at least one fact."""
    return min(facts, key=order)


def latest(facts: Iterable[F]) -> F:
    """Return the last of at least one fact."""
    return max(facts, key=order)


def latest_known(facts: Iterable[F], ask: Callable[[F], T | None]) -> T | None:
    """Return the newest answer that is known: a later fact that leaves a thing out does not take it back."""
    answers = (ask(fact) for fact in sorted(facts, key=order, reverse=True))
    return next((answer for answer in answers if answer is not None), None)


def _rank(event: Event) -> tuple[int, ...]:
    match event:
        case InvoiceObserved():
            # Providers' clocks tick in seconds: what was paid or lost within one is the later news of it.
            document = _DOCUMENTS[event.status]
            settled = event.payment_status is PaymentStatus.SUCCEEDED
            return document, event.dispute_lost_at is not None, settled, event.paid
        case RefundChanged():
            return (_REFUNDS[event.status],)
        case DisputeChanged():
            return (_DISPUTES[event.status],)
        case MandateChanged():
            return (_MANDATES[event.status],)
        case CreditNoteIssued():
            return (-1 if event.refund_status is None else _REFUNDS[event.refund_status],)
        case _:
            return (_TYPES.get(event.type, 0),)
