"""State computed from facts: pure, and blind to the order and repetition in which the facts came in.

Every function takes all facts known about one thing and puts them in one order itself: by the time they became true,
then by rank (what supersedes what at the same instant), then by content. So any shuffle of the same facts gives the
same state, and applying a fact is: add it to the set, compute again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from billhook.events import (
    CollectionRequested,
    CreditNoteIssued,
    CustomerObserved,
    DisputeChanged,
    EngineCollectionFailed,
    Event,
    InvoiceEvent,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceVoided,
    MandateChanged,
    PaymentCanceled,
    PaymentEvent,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    RefundChanged,
    SubscriptionCanceled,
    SubscriptionEnded,
    SubscriptionEvent,
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionSuperseded,
    SubscriptionTrialEnded,
    SubscriptionUpdated,
    to_json,
)
from billhook.model import (
    CreditNote,
    Dispute,
    DisputeStatus,
    Invoice,
    InvoiceStatus,
    Mandate,
    MandateStatus,
    Payment,
    PaymentStatus,
    Ref,
    Refund,
    RefundStatus,
    Subscription,
    SubscriptionStatus,
)
from billhook.money import Money

_RANK = {
    "subscription.incomplete": 0,
    "subscription.started": 1,
    "subscription.updated": 2,
    "subscription.trial_ended": 3,
    "subscription.superseded": 4,
    "subscription.canceled": 5,
    "subscription.ended": 6,
    "payment.processing": 0,
    "payment.canceled": 1,
    "payment.failed": 2,
    "payment.succeeded": 3,
}
_STATUS_RANK = {
    RefundStatus.PENDING: 0,
    RefundStatus.FAILED: 1,
    RefundStatus.SUCCEEDED: 2,
    DisputeStatus.OPEN: 0,
    DisputeStatus.LOST: 1,
    DisputeStatus.WON: 2,
    MandateStatus.ON_HOLD: 0,
    MandateStatus.ACTIVE: 1,
    MandateStatus.ENDED: 2,
}

F = TypeVar("F", bound=Event)

OVERPAID = "overpaid"
PAID_AFTER_VOID = "paid_after_void"


def _time(event: Event) -> datetime:
    if event.at is None:
        raise ValueError(f"{event.type} has no time; facts are dated before they are applied")
    return event.at


def _order(event: Event) -> tuple[datetime, int, str]:
    status = getattr(event, "status", None)
    rank = _RANK.get(event.type, _STATUS_RANK.get(status, 0) if status is not None else 0)
    return _time(event), rank, to_json(event)


def _latest(facts: Iterable[F]) -> F:
    return max(facts, key=_order)


def project_subscription(facts: Sequence[SubscriptionEvent]) -> Subscription:
    """Compute one row of an agreement from at least one fact about it."""
    last = _latest(facts)
    started = [fact for fact in facts if isinstance(fact, SubscriptionStarted)]
    updated = [fact for fact in facts if isinstance(fact, SubscriptionUpdated)]
    start = _latest(started) if started else None
    now = _latest(updated) if updated else None
    status = _subscription_status(facts, start)
    ended = [_time(fact) for fact in facts if isinstance(fact, SubscriptionEnded | SubscriptionSuperseded)]
    return Subscription(
        ref=last.ref,
        external_id=last.external_id,
        customer_id=last.customer_id,
        plan=last.plan,
        status=status,
        started_at=_time(start) if start else None,
        trial_ends_at=start.trial_ends_at if start else None,
        previous_plan=start.previous_plan if start else None,
        current_period=now.current_period if now else None,
        next_plan=now.next_plan if now else None,
        next_plan_on=now.next_plan_on if now else None,
        ends_at=now.ends_at if now else None,
        ended_at=min(ended) if ended else None,
    )


def _subscription_status(
    facts: Sequence[SubscriptionEvent], start: SubscriptionStarted | None
) -> SubscriptionStatus:
    kinds = {type(fact) for fact in facts}
    if SubscriptionEnded in kinds:
        return SubscriptionStatus.ENDED
    if SubscriptionSuperseded in kinds:
        return SubscriptionStatus.SUPERSEDED
    if SubscriptionCanceled in kinds:
        return SubscriptionStatus.CANCELED
    if start is not None and start.trial_ends_at is not None and SubscriptionTrialEnded not in kinds:
        return SubscriptionStatus.TRIALING
    if start is None and SubscriptionIncomplete in kinds:
        return SubscriptionStatus.INCOMPLETE
    return SubscriptionStatus.ACTIVE


def project_payment(
    facts: Sequence[PaymentEvent],
    *,
    invoice: Ref | None,
    customer_id: str | None,
    key: str | None,
    refunds: Sequence[Refund] = (),
    disputes: Sequence[Dispute] = (),
) -> Payment:
    """Compute a payment from at least one fact about it and what was taken back from it.

    Success is final: a failure that is told later (deliveries overtake each other) never undoes it.
    """
    succeeded = [fact for fact in facts if isinstance(fact, PaymentSucceeded)]
    last: PaymentEvent = _latest(succeeded) if succeeded else _latest(facts)
    payment = Payment(
        ref=last.ref,
        status=_payment_status(last),
        amount=last.amount,
        applied=Money(0, last.applied.currency) if last.saves_method else last.applied,
        at=_time(min(succeeded, key=_order)) if succeeded else _time(last),
        invoice=invoice,
        customer_id=customer_id,
        key=key,
        session=last.session,
        method=last.method,
        decline=last.decline if isinstance(last, PaymentFailed) else None,
    )
    return _with_takebacks(payment, refunds, disputes)


def _payment_status(fact: PaymentEvent) -> PaymentStatus:
    match fact:
        case PaymentSucceeded():
            return PaymentStatus.SUCCEEDED
        case PaymentFailed():
            return PaymentStatus.FAILED
        case PaymentCanceled():
            return PaymentStatus.CANCELED
        case PaymentProcessing(requires_action=True):
            return PaymentStatus.REQUIRES_ACTION
        case PaymentProcessing():
            return PaymentStatus.PROCESSING


def _with_takebacks(payment: Payment, refunds: Sequence[Refund], disputes: Sequence[Dispute]) -> Payment:
    given_back = [refund for refund in refunds if refund.status is RefundStatus.SUCCEEDED]
    partial = sum(refund.amount.minor for refund in given_back if refund.amount is not None)
    whole = any(refund.amount is None for refund in given_back)
    refunded = payment.amount.minor if whole else min(partial, payment.amount.minor)
    lost = sum(
        dispute.amount.minor
        for dispute in disputes
        if dispute.status is DisputeStatus.LOST and not dispute.resolved_by_refund
    )
    return replace(
        payment,
        refunded=refunded,
        disputed=min(lost, payment.amount.minor - refunded),
        dispute_open=any(dispute.status is DisputeStatus.OPEN for dispute in disputes),
    )


def project_refund(facts: Sequence[RefundChanged], *, credit_note: Ref | None = None) -> Refund:
    """Compute a refund from at least one fact about it."""
    last = _latest(facts)
    return Refund(
        ref=last.ref,
        payment=last.payment,
        status=last.status,
        at=_time(last),
        amount=last.amount,
        reason=last.reason,
        credit_note=credit_note,
    )


def project_dispute(facts: Sequence[DisputeChanged]) -> Dispute:
    """Compute a dispute from at least one fact about it."""
    last = _latest(facts)
    return Dispute(
        ref=last.ref,
        payment=last.payment,
        status=last.status,
        amount=last.amount,
        at=_time(last),
        stage=last.stage,
        reason=last.reason,
        resolved_by_refund=last.resolved_by_refund,
    )


def project_credit_note(facts: Sequence[CreditNoteIssued]) -> CreditNote:
    """Compute a credit note from at least one fact about it."""
    last = _latest(facts)
    return CreditNote(
        ref=last.ref,
        invoice=last.invoice,
        number=last.number,
        amount=last.amount,
        refund=last.refund,
        refund_status=last.refund_status,
        at=_time(min(facts, key=_order)),
        reason=last.reason,
        for_refund=next((fact.for_refund for fact in facts if fact.for_refund is not None), None),
    )


def project_mandate(facts: Sequence[MandateChanged], *, customer_id: str | None) -> Mandate:
    """Compute a mandate from at least one fact about it."""
    last = _latest(facts)
    return Mandate(
        ref=last.ref,
        status=last.status,
        at=_time(last),
        customer_id=customer_id,
        provider_customer=last.provider_customer,
        currency=last.currency,
        method=last.method,
    )


def project_customer(facts: Sequence[CustomerObserved]) -> CustomerObserved:
    """Return what was last seen of a customer at one provider."""
    return _latest(facts)


def project_invoice(facts: Sequence[InvoiceEvent], payments: Sequence[Payment] = ()) -> Invoice | None:
    """Compute an invoice from the facts about it and its payments; None while nothing says what it amounts to."""
    observed = [fact for fact in facts if isinstance(fact, InvoiceObserved)]
    finalized = [fact for fact in facts if isinstance(fact, InvoiceFinalized)]
    now = _latest(observed) if observed else None
    final = _fullest(finalized) if finalized else None
    if now is None and final is None:
        return None
    invoice = _document(final, now)
    if (now is not None and now.status is InvoiceStatus.VOIDED) or any(
        isinstance(f, InvoiceVoided) for f in facts
    ):
        invoice = replace(invoice, status=InvoiceStatus.VOIDED)
    engine_failed = any(isinstance(fact, EngineCollectionFailed) for fact in facts)
    return _settled(invoice, now, payments, engine_failed=engine_failed)


def _fullest(finalized: Sequence[InvoiceFinalized]) -> InvoiceFinalized:
    """Some bodies leave the subscriptions out: take the first statement, completed from the others."""
    ordered = sorted(finalized, key=_order)
    return replace(
        ordered[0],
        due=max(fact.due for fact in ordered),
        subscriptions=next((fact.subscriptions for fact in ordered if fact.subscriptions), ()),
        period=next((fact.period for fact in ordered if fact.period), None),
        collected_by_engine=any(fact.collected_by_engine for fact in ordered),
    )


def _document(final: InvoiceFinalized | None, now: InvoiceObserved | None) -> Invoice:
    latest = now or final
    assert latest is not None  # noqa: S101 - project_invoice returns before when both are None
    due = now.due + now.paid if now is not None else final.due if final is not None else 0
    return Invoice(
        ref=latest.ref,
        customer_id=(final.customer_id if final else None) or latest.customer_id,
        number=latest.number or (final.number if final else None),
        kind=final.kind if final else "unknown",
        status=now.status if now else InvoiceStatus.FINALIZED,
        currency=latest.currency,
        total=latest.total,
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
        observed_at=latest.at,
    )


def _settled(
    invoice: Invoice, now: InvoiceObserved | None, payments: Sequence[Payment], *, engine_failed: bool
) -> Invoice:
    """Follow the money: what was paid, what was taken back, what is open."""
    ours = sum(p.applied.minor for p in payments if p.status is PaymentStatus.SUCCEEDED and not p.flags)
    engine_says_paid = now is not None and now.payment_status is PaymentStatus.SUCCEEDED
    engine_paid = invoice.due if engine_says_paid else (now.paid if now else 0)
    lost = sum(min(p.disputed, p.applied.minor) for p in payments if p.status is PaymentStatus.SUCCEEDED)
    if now is not None and now.dispute_lost_at is not None and not lost:
        lost = max(ours, engine_paid)
    paid = max(ours, engine_paid) - lost
    voided = invoice.status is InvoiceStatus.VOIDED
    balance = 0 if voided else max(0, invoice.due - max(paid, 0))
    invoice = replace(invoice, paid=max(paid, 0), balance=balance, disputed=lost > 0)
    return replace(
        invoice,
        payment_status=_invoice_payment_status(invoice, payments, engine_failed=engine_failed),
        flags=_flags(invoice, payments, ours),
    )


def _invoice_payment_status(
    invoice: Invoice, payments: Sequence[Payment], *, engine_failed: bool
) -> PaymentStatus:
    if invoice.status is InvoiceStatus.VOIDED:
        return PaymentStatus.CANCELED
    if invoice.balance == 0:
        return PaymentStatus.SUCCEEDED
    if any(payment.status is PaymentStatus.PROCESSING for payment in payments):
        return PaymentStatus.PROCESSING
    newest = max(payments, key=lambda payment: (payment.at, payment.ref), default=None)
    if newest is not None and newest.status is PaymentStatus.FAILED:
        return PaymentStatus.FAILED
    if newest is None and (engine_failed or invoice.engine_status is PaymentStatus.FAILED):
        return PaymentStatus.FAILED
    return PaymentStatus.PENDING


def _flags(invoice: Invoice, payments: Sequence[Payment], paid_by_us: int) -> tuple[str, ...]:
    flags = {flag for payment in payments for flag in payment.flags}
    refunded = sum(payment.refunded for payment in payments)
    if paid_by_us - refunded > invoice.due:
        flags.add(OVERPAID)
    if invoice.status is InvoiceStatus.VOIDED and paid_by_us > refunded:
        flags.add(PAID_AFTER_VOID)
    return tuple(sorted(flags))


def collection_requests(facts: Iterable[InvoiceEvent]) -> int:
    """Count how often somebody asked the engine to try this invoice again."""
    return sum(isinstance(fact, CollectionRequested) for fact in facts)
