"""Invoices and credit notes: the engine's document, and what the money really did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from billhook.events import (
    CreditNoteIssued,
    EngineCollectionFailed,
    InvoiceEvent,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceReinstated,
    InvoiceVoided,
    InvoiceWrittenOff,
)
from billhook.model import CreditNote, Invoice, InvoiceStatus, Payment, PaymentStatus
from billhook.projections.order import earliest, latest, latest_known, order, time_of

OVERPAID = "overpaid"
"""More came in, and stayed, than was due."""
PAID_AFTER_VOID = "paid_after_void"
"""Money came in for a document that asks for none."""
FOREIGN_CURRENCY = "foreign_currency"
"""A payment in another currency is not counted: nobody said what it settled to."""
WRITTEN_OFF = "written_off"
"""An operator gave the debt up: it is not collected."""


def project_invoice(facts: Sequence[InvoiceEvent], payments: Sequence[Payment] = ()) -> Invoice | None:
    """Compute an invoice from the facts about it and its payments; None while nothing says what it amounts to."""
    finalized = [fact for fact in facts if isinstance(fact, InvoiceFinalized)]
    final = _fullest(finalized) if finalized else None
    now = _newest_view(facts, final)
    if now is None and final is None:
        return None
    invoice = _document(final, now)
    if any(isinstance(fact, InvoiceVoided) or _says_void(fact) for fact in facts):
        invoice = replace(invoice, status=InvoiceStatus.VOIDED)
    invoice = _settled(invoice, now, payments, engine_failed=_engine_failed(facts, now))
    return (
        replace(invoice, flags=tuple(sorted({*invoice.flags, WRITTEN_OFF}))) if _given_up(facts) else invoice
    )


def _given_up(facts: Sequence[InvoiceEvent]) -> bool:
    said = [fact for fact in facts if isinstance(fact, InvoiceWrittenOff | InvoiceReinstated)]
    return bool(said) and isinstance(latest(said), InvoiceWrittenOff)


def _says_void(fact: InvoiceEvent) -> bool:
    """Void is final: engines write a new document instead of reviving one."""
    return isinstance(fact, InvoiceObserved) and fact.status is InvoiceStatus.VOIDED


def _newest_view(facts: Sequence[InvoiceEvent], final: InvoiceFinalized | None) -> InvoiceObserved | None:
    """Return how the engine sees it. The amounts of a draft say nothing about the document that followed it."""
    seen = [fact for fact in facts if isinstance(fact, InvoiceObserved)]
    if final is not None or any(fact.status is not InvoiceStatus.DRAFT for fact in seen):
        seen = [fact for fact in seen if fact.status is not InvoiceStatus.DRAFT]
    return latest(seen) if seen else None


def _engine_failed(facts: Sequence[InvoiceEvent], now: InvoiceObserved | None) -> bool:
    """Tell whether the engine's own last try failed: a newer view of the invoice has the last word."""
    failed = [time_of(fact) for fact in facts if isinstance(fact, EngineCollectionFailed)]
    return bool(failed) and (now is None or max(failed) >= time_of(now))


def _fullest(finalized: Sequence[InvoiceFinalized]) -> InvoiceFinalized:
    """Some bodies leave the subscriptions out: take the first statement, completed from the others.

    Said again after a payment, ``due`` is lower: the highest is what was to be paid before any.
    """
    ordered = sorted(finalized, key=order)
    return replace(
        ordered[0],
        number=latest_known(ordered, lambda fact: fact.number),
        due=max(fact.due for fact in ordered),
        subscriptions=next((fact.subscriptions for fact in ordered if fact.subscriptions), ()),
        period=next((fact.period for fact in ordered if fact.period), None),
        collected_by_engine=any(fact.collected_by_engine for fact in ordered),
    )


def _document(final: InvoiceFinalized | None, now: InvoiceObserved | None) -> Invoice:
    latest_view = now or final
    assert latest_view is not None  # noqa: S101 - project_invoice returns before when both are None
    due = now.due + now.paid if now is not None else final.due if final is not None else 0
    return Invoice(
        ref=latest_view.ref,
        customer_id=(final.customer_id if final else None) or latest_view.customer_id,
        number=latest_view.number or (final.number if final else None),
        kind=final.kind if final else "unknown",
        status=now.status if now else InvoiceStatus.FINALIZED,
        currency=latest_view.currency,
        total=latest_view.total,
        taxes=final.taxes if final else 0,
        due=due,
        paid=0,
        balance=due,
        payment_status=PaymentStatus.PENDING,
        engine_status=now.payment_status if now else PaymentStatus.PENDING,
        issued_on=final.issued_on if final else None,
        due_on=final.due_on if final else None,
        overdue=now.overdue if now else False,
        collected_by_engine=final.collected_by_engine if final else False,
        subscriptions=final.subscriptions if final else (),
        period=final.period if final else None,
        finalized_at=final.at if final else None,
        observed_at=latest_view.at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ours:
    """What our payments brought and what of it is gone again, in minor units of the invoice's currency."""

    counted: tuple[Payment, ...]
    brought: int
    lost: int
    refunded: int

    @classmethod
    def of(cls, payments: Sequence[Payment], currency: str) -> _Ours:
        """Count what succeeded. A flagged payment, or one in another currency, does not count, nor does its loss."""
        counted = tuple(
            payment
            for payment in payments
            if payment.status is PaymentStatus.SUCCEEDED
            and not payment.flags
            and payment.applied.currency == currency
        )
        return cls(
            counted=counted,
            brought=sum(payment.applied.minor for payment in counted),
            lost=sum(_of_applied(payment, payment.disputed) for payment in counted),
            refunded=sum(_of_applied(payment, payment.refunded) for payment in counted),
        )

    @property
    def kept(self) -> int:
        """What came in and stayed."""
        return self.brought - self.lost - self.refunded


def _of_applied(payment: Payment, taken: int) -> int:
    """Return what a take-back costs the invoice. Of a payment made in another currency it costs all."""
    if taken and payment.amount.currency != payment.applied.currency:
        return payment.applied.minor
    return min(taken, payment.applied.minor)


def _settled(
    invoice: Invoice, now: InvoiceObserved | None, payments: Sequence[Payment], *, engine_failed: bool
) -> Invoice:
    """Follow the money: what was paid, what was taken back, what is open."""
    ours = _Ours.of(payments, invoice.currency)
    paid = _paid(invoice, now, ours)
    voided = invoice.status is InvoiceStatus.VOIDED
    balance = 0 if voided else max(0, invoice.due - paid)
    engine_lost = now is not None and now.dispute_lost_at is not None
    invoice = replace(
        invoice,
        paid=paid,
        balance=balance,
        disputed=ours.lost > 0 or engine_lost,
        overdue=invoice.overdue and balance > 0,
    )
    return replace(
        invoice,
        payment_status=_payment_status(invoice, payments, engine_failed=engine_failed),
        flags=_flags(invoice, payments, ours),
    )


def _paid(invoice: Invoice, now: InvoiceObserved | None, ours: _Ours) -> int:
    """Return what the customer has paid and not taken back by a dispute. A refund does not open an invoice again.

    The engine's count holds ours once it was told, so the two are never added. An engine may call an invoice paid
    without counting anything.
    """
    if now is None:
        return ours.brought - ours.lost
    if now.dispute_lost_at is not None and not ours.lost:
        # Its own provider lost it: what was paid before is gone, what came after counts.
        return sum(payment.applied.minor for payment in ours.counted if payment.at > now.dispute_lost_at)
    by_engine = invoice.due if now.payment_status is PaymentStatus.SUCCEEDED else now.paid
    return max(0, max(ours.brought, by_engine) - ours.lost)


def _payment_status(invoice: Invoice, payments: Sequence[Payment], *, engine_failed: bool) -> PaymentStatus:
    if invoice.status is InvoiceStatus.VOIDED:
        return PaymentStatus.CANCELED
    if invoice.balance == 0:
        return PaymentStatus.SUCCEEDED
    if any(payment.status is PaymentStatus.PROCESSING for payment in payments):
        return PaymentStatus.PROCESSING
    newest = max(payments, key=lambda payment: (payment.at, payment.ref), default=None)
    if newest is None:
        failed = engine_failed or invoice.engine_status is PaymentStatus.FAILED
        return PaymentStatus.FAILED if failed else PaymentStatus.PENDING
    if newest.status in (PaymentStatus.FAILED, PaymentStatus.REQUIRES_ACTION):
        return newest.status
    return PaymentStatus.PENDING


def _flags(invoice: Invoice, payments: Sequence[Payment], ours: _Ours) -> tuple[str, ...]:
    flags = {flag for payment in payments for flag in payment.flags}
    if any(_foreign(payment, invoice.currency) for payment in payments):
        flags.add(FOREIGN_CURRENCY)
    if ours.kept > invoice.due:
        flags.add(OVERPAID)
    if invoice.status is InvoiceStatus.VOIDED and ours.kept > 0:
        flags.add(PAID_AFTER_VOID)
    return tuple(sorted(flags))


def _foreign(payment: Payment, currency: str) -> bool:
    return (
        payment.status is PaymentStatus.SUCCEEDED
        and payment.applied.currency != currency
        and not payment.applied.is_zero
    )


def project_credit_note(facts: Sequence[CreditNoteIssued]) -> CreditNote:
    """Compute a credit note from at least one fact about it."""
    last = latest(facts)
    return CreditNote(
        ref=last.ref,
        invoice=last.invoice,
        number=latest_known(facts, lambda fact: fact.number),
        amount=last.amount,
        refund=last.refund,
        refund_status=latest_known(facts, lambda fact: fact.refund_status),
        at=time_of(earliest(facts)),
        reason=latest_known(facts, lambda fact: fact.reason),
        for_refund=latest_known(facts, lambda fact: fact.for_refund),
    )
