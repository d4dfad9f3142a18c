"""Payments and what is taken back from them, from the facts about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from billhook.events import (
    DisputeChanged,
    PaymentCanceled,
    PaymentEvent,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    RefundChanged,
)
from billhook.model import Dispute, DisputeStatus, Payment, PaymentStatus, Ref, Refund, RefundStatus
from billhook.money import Money
from billhook.projections.order import earliest, latest, latest_known, time_of

AMOUNT_MISMATCH = "amount_mismatch"
"""A payment brought another amount, or another currency, than it was to bring."""


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
    last: PaymentEvent = latest(succeeded) if succeeded else latest(facts)
    payment = Payment(
        ref=last.ref,
        status=_status(last),
        amount=last.amount,
        applied=Money.zero(last.applied.currency) if last.saves_method else last.applied,
        at=time_of(earliest(succeeded) if succeeded else last),
        invoice=invoice,
        customer_id=customer_id,
        key=key,
        session=last.session or latest_known(facts, lambda fact: fact.session),
        method=last.method or latest_known(facts, lambda fact: fact.method),
        decline=last.decline if isinstance(last, PaymentFailed) else None,
    )
    return _with_takebacks(payment, refunds, disputes)


def _status(fact: PaymentEvent) -> PaymentStatus:
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
    """Fill in what is gone again. A dispute settled by a refund (Visa RDR) is money given back, not a lost case."""
    lost = [dispute for dispute in disputes if dispute.status is DisputeStatus.LOST]
    given_back = [refund.amount for refund in refunds if refund.status is RefundStatus.SUCCEEDED]
    given_back += [dispute.amount for dispute in lost if dispute.resolved_by_refund]
    refunded = _sum_within(payment.amount, given_back, left=payment.amount.minor)
    fought = [dispute.amount for dispute in lost if not dispute.resolved_by_refund]
    return replace(
        payment,
        refunded=refunded,
        disputed=_sum_within(payment.amount, fought, left=payment.amount.minor - refunded),
        dispute_open=any(dispute.status is DisputeStatus.OPEN for dispute in disputes),
    )


def check_amount(payment: Payment, facts: Sequence[PaymentEvent], *, expected: Money | None) -> Payment:
    """Compare what a payment brings with what was asked for; a difference is flagged and settles nothing.

    A customer billed in another currency is compared by what the provider settled. ``expected`` None: nobody knows
    what the payment is for, so there is nothing to compare. ``facts`` are those the payment was computed from.
    """
    if expected is None or any(fact.saves_method for fact in facts):
        return payment
    if payment.applied.currency != expected.currency:
        settled = latest_known(facts, lambda fact: _in(expected.currency, fact.settled))
        payment = replace(payment, applied=settled or payment.applied)
    if payment.applied == expected or payment.status is not PaymentStatus.SUCCEEDED:
        return payment
    return replace(payment, flags=tuple(sorted({*payment.flags, AMOUNT_MISMATCH})))


def _in(currency: str, amount: Money | None) -> Money | None:
    return amount if amount is not None and amount.currency == currency else None


def _sum_within(whole: Money, amounts: Sequence[Money | None], *, left: int) -> int:
    """Add up minor units, at most what is left. An amount not told, or told in another currency, means all of it."""
    if any(amount is None or amount.currency != whole.currency for amount in amounts):
        return left
    return min(left, sum(amount.minor for amount in amounts if amount is not None))


def project_refund(facts: Sequence[RefundChanged], *, credit_note: Ref | None = None) -> Refund:
    """Compute a refund from at least one fact about it."""
    last = latest(facts)
    return Refund(
        ref=last.ref,
        payment=last.payment,
        status=last.status,
        at=time_of(last),
        amount=latest_known(facts, lambda fact: fact.amount),
        reason=latest_known(facts, lambda fact: fact.reason),
        credit_note=credit_note,
    )


def project_dispute(facts: Sequence[DisputeChanged]) -> Dispute:
    """Compute a dispute from at least one fact about it."""
    last = latest(facts)
    return Dispute(
        ref=last.ref,
        payment=last.payment,
        status=last.status,
        amount=last.amount,
        at=time_of(last),
        stage=latest_known(facts, lambda fact: fact.stage),
        reason=latest_known(facts, lambda fact: fact.reason),
        resolved_by_refund=last.resolved_by_refund,
    )
