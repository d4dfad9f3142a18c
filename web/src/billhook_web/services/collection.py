"""What the facts about an invoice call for: collect it, try again, keep the billing engine's books, give money back.

These rules are a plugin like any other: they answer ``effects_for``. They look at the whole snapshot, never at the
order in which it came about, and only ever ask for more, so every order of the same facts asks for the same; an effect
that is no longer needed when its time comes is closed as superseded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from billhook.dunning import RetrySchedule
from billhook.effects import (
    CloseRefund,
    CollectInvoice,
    Effect,
    IssueCreditNote,
    RecordFailure,
    RecordPayment,
    RefundPayment,
)
from billhook.events import CollectionRequested, Event
from billhook.hookspecs import hookimpl
from billhook.model import (
    AttemptStatus,
    CreditNote,
    Invoice,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
    Snapshot,
)
from billhook.money import Money

_UNDER_WAY = (AttemptStatus.PLANNED, AttemptStatus.OPEN, AttemptStatus.PROCESSING, AttemptStatus.UNKNOWN)


class CollectionRules:
    """Plans the effects of collecting by a retry schedule."""

    def __init__(self, schedule: RetrySchedule) -> None:
        self._schedule = schedule

    @hookimpl
    def effects_for(self, event: Event, snapshot: Snapshot) -> Iterable[Effect]:
        """Say what the invoice that was touched calls for."""
        invoice = snapshot.invoice
        if invoice is None:
            return ()
        return (
            *_first_collection(invoice),
            *self._retries(invoice, snapshot),
            *_requested(event, snapshot),
            *_books(invoice, snapshot),
            *_credit_notes(invoice, snapshot),
            *_refunds_to_make(invoice, snapshot),
        )

    def _retries(self, invoice: Invoice, snapshot: Snapshot) -> Iterator[Effect]:
        if invoice.collected_by_engine:
            return
        for number, payment in _failures(snapshot):
            if payment.decline is None:
                continue
            at = self._schedule.next_attempt_at(payment.at, attempt=number, decline=payment.decline.kind)
            if at is not None:
                yield CollectInvoice(invoice=invoice.ref, attempt=number + 1, not_before=at)


def _first_collection(invoice: Invoice) -> Iterator[Effect]:
    if invoice.finalized_at is not None and invoice.due > 0 and not invoice.collected_by_engine:
        yield CollectInvoice(invoice=invoice.ref, attempt=1)


def _failures(snapshot: Snapshot) -> Iterator[tuple[int, Payment]]:
    """Each failed payment with the number of the attempt it ended: its own, or its place among the failures."""
    numbers = {attempt.key: attempt.number for attempt in snapshot.attempts}
    failed = [payment for payment in snapshot.payments if payment.status is PaymentStatus.FAILED]
    for place, payment in enumerate(sorted(failed, key=lambda payment: (payment.at, payment.ref)), start=1):
        yield numbers.get(payment.key or "", place), payment


def _requested(event: Event, snapshot: Snapshot) -> Iterator[Effect]:
    """Somebody asked to try again: the next attempt, unless one is under way."""
    if not isinstance(event, CollectionRequested):
        return
    if any(attempt.status in _UNDER_WAY for attempt in snapshot.attempts):
        return
    last = max((attempt.number for attempt in snapshot.attempts), default=0)
    yield CollectInvoice(invoice=event.ref, attempt=last + 1)


def _books(invoice: Invoice, snapshot: Snapshot) -> Iterator[Effect]:
    """What the billing engine must know about each payment. One that does not add up waits for a person."""
    for payment in snapshot.payments:
        match payment.status:
            case PaymentStatus.SUCCEEDED if payment.applied.minor > 0 and not payment.flags:
                yield RecordPayment(
                    invoice=invoice.ref, payment=payment.ref, amount=payment.applied, paid_at=payment.at
                )
            case PaymentStatus.FAILED:
                yield RecordFailure(invoice=invoice.ref, payment=payment.ref)
            case _:
                pass


def _credit_notes(invoice: Invoice, snapshot: Snapshot) -> Iterator[Effect]:
    """A refund is documented: by a new credit note, or on the one that asked for it."""
    payments = {payment.ref: payment for payment in snapshot.payments}
    for refund in snapshot.refunds:
        if refund.credit_note is not None and refund.status is not RefundStatus.PENDING:
            yield CloseRefund(
                invoice=invoice.ref,
                credit_note=refund.credit_note,
                refund=refund.ref,
                succeeded=refund.status is RefundStatus.SUCCEEDED,
            )
        elif refund.status is RefundStatus.SUCCEEDED:
            yield IssueCreditNote(
                invoice=invoice.ref,
                payment=refund.payment,
                refund=refund.ref,
                amount=refund.amount or _rest(payments[refund.payment], snapshot.refunds),
                reason=refund.reason,
            )


def _rest(payment: Payment, refunds: Iterable[Refund]) -> Money:
    """What a refund without an amount gives back: all that other refunds left."""
    others = sum(
        refund.amount.minor
        for refund in refunds
        if refund.payment == payment.ref and refund.status is RefundStatus.SUCCEEDED and refund.amount
    )
    return Money(max(0, payment.amount.minor - others), payment.amount.currency)


def _refunds_to_make(invoice: Invoice, snapshot: Snapshot) -> Iterator[Effect]:
    """A credit note made in the billing engine asks for money back that we collected."""
    paid = [payment for payment in snapshot.payments if payment.status is PaymentStatus.SUCCEEDED]
    for note in snapshot.credit_notes:
        if _asks_for_refund(note) and not invoice.collected_by_engine:
            yield from _split(note, sorted(paid, key=lambda payment: (payment.at, payment.ref)))


def _asks_for_refund(note: CreditNote) -> bool:
    return note.refund > 0 and note.for_refund is None and note.refund_status is RefundStatus.PENDING


def _split(note: CreditNote, payments: Iterable[Payment]) -> Iterator[Effect]:
    left = note.refund
    for payment in payments:
        part = min(left, payment.applied.minor)
        if part > 0:
            yield RefundPayment(
                invoice=note.invoice,
                credit_note=note.ref,
                payment=payment.ref,
                amount=Money(part, payment.applied.currency),
                reason=note.reason,
            )
        left -= part
