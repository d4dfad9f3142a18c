"""One payment of ours: on its way, there, failed, and what was taken back from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from billhook.access import facts as access
from billhook.accounting.document import Document, counts
from billhook.events import (
    DisputeChanged,
    PaymentCanceled,
    PaymentEvent,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    RefundChanged,
)
from billhook.model import DeclineClass, DisputeStatus, Payment, PaymentStatus, Ref, RefundStatus
from billhook.projections.order import time_of

Move = PaymentEvent | RefundChanged | DisputeChanged

_DISPUTES: dict[DisputeStatus, access.DisputeType] = {
    DisputeStatus.OPEN: "dispute.opened",
    DisputeStatus.WON: "dispute.won",
    DisputeStatus.LOST: "dispute.lost",
}


def payment_facts(payment: Payment, moves: Sequence[Move], document: Document) -> Iterator[access.AccessFact]:
    """Translate a payment of an invoice from everything said about it, in order.

    Success is final: a failure that is told later never undoes it. One that does not add up settles nothing.
    """
    settles = counts(payment, document)
    succeeded = payment.status is PaymentStatus.SUCCEEDED
    for event in moves:
        if isinstance(event, PaymentSucceeded) or not isinstance(event, PaymentEvent):
            continue
        if not succeeded or time_of(event) < payment.at:
            yield _step(event, document)
    if not settles:
        return
    yield _changed("payment.succeeded", payment.ref, payment.applied.minor, document, at=payment)
    yield from _refunds(payment, [event for event in moves if isinstance(event, RefundChanged)])
    yield from _disputes(payment, [event for event in moves if isinstance(event, DisputeChanged)])


def _step(event: PaymentEvent, document: Document) -> access.AccessFact:
    match event:
        case PaymentFailed():
            return _changed(
                "payment.failed",
                event.ref,
                event.applied.minor,
                document,
                at=event,
                code=event.decline.code,
                klass=event.decline.kind,
            )
        case PaymentCanceled():
            kind: access.PaymentType = "payment.canceled"
        case PaymentProcessing(requires_action=True):
            kind = "payment.requires_action"
        case _:
            kind = "payment.pending"
    return _changed(kind, event.ref, event.applied.minor, document, at=event)


def _changed(
    kind: access.PaymentType,
    payment: Ref,
    amount: int,
    document: Document,
    *,
    at: PaymentEvent | Payment,
    code: str | None = None,
    klass: DeclineClass | None = None,
) -> access.AccessFact:
    return access.PaymentChanged(
        type=kind,
        at=at.at if isinstance(at, Payment) else time_of(at),
        payment=str(payment),
        invoice=str(document.ref),
        amount=amount,
        currency=document.currency,
        decline=code,
        decline_class=klass,
    )


def _refunds(payment: Payment, changes: Sequence[RefundChanged]) -> Iterator[access.AccessFact]:
    """What was given back, by instant: equal refunds of one instant would be one fact.

    A refund is documented by a credit note, so what is due falls with it.
    """
    left = payment.applied.minor
    given: dict[datetime, int] = {}
    for ref in dict.fromkeys(change.ref for change in changes):
        mine = [change for change in changes if change.ref == ref]
        done = [change for change in mine if change.status is RefundStatus.SUCCEEDED]
        if not done or mine[-1].status is not RefundStatus.SUCCEEDED:
            continue
        named = next((change.amount for change in reversed(mine) if change.amount is not None), None)
        same = named is not None and named.currency == payment.applied.currency
        amount = min(left, named.minor) if named is not None and same else left
        left -= amount
        given[time_of(done[0])] = given.get(time_of(done[0]), 0) + amount
    for at, amount in given.items():
        if amount > 0:
            yield access.Refunded(at=at, payment=str(payment.ref), amount=amount, credited=True)


def _disputes(payment: Payment, changes: Sequence[DisputeChanged]) -> Iterator[access.AccessFact]:
    """Each step of a dispute. One settled by a refund (Visa RDR) is money given back, not a lost case."""
    for change in changes:
        same = change.amount.currency == payment.applied.currency
        amount = min(change.amount.minor, payment.applied.minor) if same else payment.applied.minor
        if change.resolved_by_refund and change.status is DisputeStatus.LOST:
            yield access.Refunded(at=time_of(change), payment=str(payment.ref), amount=amount, credited=True)
        else:
            yield access.Disputed(
                type=_DISPUTES[change.status], at=time_of(change), payment=str(payment.ref), amount=amount
            )
