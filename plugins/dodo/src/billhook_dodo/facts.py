"""Dodo's objects as normalised facts: payments, refunds, disputes and mandates, from webhooks and API answers alike.

What counts is the object's own status, never the name of the event that brought it: a delivery carries the object as
it is when it is sent, so a late ``payment.failed`` may hold a payment that has succeeded since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypedDict, TypeVar

from billhook.errors import PayloadInvalid
from billhook.events import (
    DisputeChanged,
    Event,
    MandateChanged,
    PaymentCanceled,
    PaymentEvent,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    RefundChanged,
)
from billhook.model import DisputeStatus, MandateStatus, PaymentMethod, Ref, RefundStatus
from billhook.money import Money

from .bodies import KEY, key_in
from .declines import decline
from .payloads import (
    Json,
    instant,
    maybe_money,
    maybe_record,
    maybe_text,
    minor,
    money,
    text,
    words,
)

S = TypeVar("S", bound=StrEnum)
TaxMode = Literal["inclusive", "exclusive", "byop"]

_CUSTOMER_MUST_ACT = ("requires_customer_action", "requires_payment_method", "requires_confirmation")
_UNDER_WAY = (
    "processing requires_merchant_action requires_capture partially_captured "
    "partially_captured_and_capturable"
).split()
_REFUNDS = {
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "pending": RefundStatus.PENDING,
    "review": RefundStatus.PENDING,  # held by Dodo until somebody there has looked
}
_DISPUTES = {
    "dispute_opened": DisputeStatus.OPEN,
    "dispute_challenged": DisputeStatus.OPEN,
    "dispute_expired": DisputeStatus.OPEN,  # the time to answer is over, the bank has not decided
    "dispute_won": DisputeStatus.WON,
    "dispute_cancelled": DisputeStatus.WON,
    "dispute_lost": DisputeStatus.LOST,
    "dispute_accepted": DisputeStatus.LOST,
}
_MANDATES = {
    "active": MandateStatus.ACTIVE,
    "on_hold": MandateStatus.ON_HOLD,
    "past_due": MandateStatus.ON_HOLD,
    "paused": MandateStatus.ENDED,  # a later ``unpaused`` says active again
    "cancelled": MandateStatus.ENDED,
    "expired": MandateStatus.ENDED,
    "failed": MandateStatus.ENDED,
}


class _Common(TypedDict):
    """What the facts about a payment share."""

    at: datetime | None
    ref: Ref
    amount: Money
    applied: Money
    settled: Money | None
    metadata: dict[str, str]
    session: str | None
    provider_customer: str | None
    method: PaymentMethod | None
    saves_method: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the objects of one connection. ``sent_at`` arguments are the time of the event that carried them."""

    connection: str
    tax_mode: TaxMode
    rdr_is_refund: bool

    def payment(self, data: Json, *, sent_at: datetime | None) -> Sequence[PaymentEvent]:
        """Return the one fact about a payment; none while its status is null."""
        status = maybe_text(data, "status")
        if status is None:
            return []
        common = self._common(data, sent_at)
        match status:
            case "succeeded":
                return [PaymentSucceeded(**common)]
            case "failed":
                why = decline(maybe_text(data, "error_code"), maybe_text(data, "error_message"))
                return [PaymentFailed(**common, decline=why)]
            case "cancelled":
                return [PaymentCanceled(**common)]
            case _ if status in _CUSTOMER_MUST_ACT:
                return [PaymentProcessing(**common, requires_action=True)]
            case _ if status in _UNDER_WAY:
                return [PaymentProcessing(**common)]
            case _:
                raise PayloadInvalid(f"status: {status!r} is not known for a payment")

    def refund(self, data: Json, *, sent_at: datetime | None) -> RefundChanged:
        """Return the fact about a refund. Its metadata is its own: the payment's is not repeated here."""
        ours = key_in(maybe_text(data, "reason"))
        return RefundChanged(
            at=sent_at or instant(data, "created_at"),
            ref=self._ref(data, "refund_id"),
            payment=self._ref(data, "payment_id"),
            status=_known(_REFUNDS, data, "status"),
            amount=maybe_money(data, "amount", "currency"),
            reason=maybe_text(data, "reason"),
            metadata=words(data, "metadata") | ({KEY: ours} if ours else {}),
        )

    def dispute(self, data: Json, *, sent_at: datetime | None) -> Sequence[Event]:
        """Return the fact about a dispute, and a refund beside it when Visa's rapid resolution gave the money back.

        Dodo promises no ``refund.*`` for those, so the dispute's own id stands for the refund.
        """
        status = _known(_DISPUTES, data, "dispute_status")
        refunded = (
            status is DisputeStatus.LOST and data.get("is_resolved_by_rdr") is True and self.rdr_is_refund
        )
        lost = DisputeChanged(
            at=sent_at or instant(data, "created_at"),
            ref=self._ref(data, "dispute_id"),
            payment=self._ref(data, "payment_id"),
            status=status,
            amount=money(data, "amount", "currency"),
            stage=maybe_text(data, "dispute_stage"),
            reason=maybe_text(data, "reason"),
            resolved_by_refund=refunded,
        )
        if not refunded:
            return [lost]
        given_back = RefundChanged(
            at=lost.at,
            ref=lost.ref,
            payment=lost.payment,
            status=RefundStatus.SUCCEEDED,
            amount=lost.amount,
            reason=lost.reason,
        )
        return [lost, given_back]

    def mandate(self, data: Json, *, sent_at: datetime | None) -> Sequence[MandateChanged]:
        """Return the fact about an on-demand subscription, Dodo's mandate; none for any other or a pending one."""
        if data.get("on_demand") is not True or data.get("status") == "pending":
            return []
        customer = maybe_record(data, "customer")
        method = maybe_text(data, "payment_method_id")
        return [
            MandateChanged(
                at=sent_at or instant(data, "created_at"),
                ref=self._ref(data, "subscription_id"),
                status=_known(_MANDATES, data, "status"),
                provider_customer=maybe_text(customer, "customer_id"),
                currency=maybe_text(data, "currency"),
                method=PaymentMethod(ref=Ref(self.connection, method), reusable=True) if method else None,
                metadata=words(customer, "metadata") | words(data, "metadata"),
            )
        ]

    def method(self, data: Json) -> PaymentMethod | None:
        """Return what a payment says of the card or account that paid; None before one was chosen."""
        last4, kind = maybe_text(data, "card_last_four"), maybe_text(data, "payment_method")
        if last4 is None and kind is None:
            return None
        saved = maybe_text(data, "payment_method_id")
        return PaymentMethod(
            ref=Ref(self.connection, saved) if saved else None,
            kind=kind or "card",
            brand=maybe_text(data, "card_network"),
            last4=last4,
            expires=expiry(maybe_text(data, "card_exp_year"), maybe_text(data, "card_exp_month")),
            reusable=saved is not None,
        )

    def _common(self, data: Json, sent_at: datetime | None) -> _Common:
        amount = money(data, "total_amount", "currency")
        settled = maybe_money(data, "settlement_amount", "settlement_currency")
        elsewhere = settled is not None and settled.currency != amount.currency
        return _Common(
            at=instant(data, "updated_at") or instant(data, "created_at") or sent_at,
            ref=self._ref(data, "payment_id"),
            amount=amount,
            applied=self._applied(amount, data, "tax"),
            settled=self._applied(settled, data, "settlement_tax") if settled and elsewhere else None,
            metadata=words(data, "metadata"),
            session=maybe_text(data, "checkout_session_id"),
            provider_customer=maybe_text(maybe_record(data, "customer"), "customer_id"),
            method=self.method(data),
            saves_method=data.get("is_update_payment_method") is True,
        )

    def _applied(self, amount: Money, data: Json, tax_key: str) -> Money:
        """Return what counts towards the invoice: without the tax that Dodo put on top of it."""
        if self.tax_mode != "exclusive" or data.get(tax_key) is None:
            return amount
        return amount - Money(minor(data, tax_key), amount.currency)

    def _ref(self, data: Json, key: str) -> Ref:
        return Ref(self.connection, text(data, key))


def expiry(year: str | None, month: str | None) -> str | None:
    """Return ``YYYY-MM`` of Dodo's two strings, a two-digit year included; None when either is missing."""
    if not (year and month and year.isdecimal() and month.isdecimal()):
        return None
    return f"{year if len(year) == 4 else f'20{year:0>2}'}-{month:0>2}"


def _known(table: Mapping[str, S], data: Json, key: str) -> S:
    word = text(data, key)
    if word not in table:
        raise PayloadInvalid(f"{key}: {word!r} is not known")
    return table[word]
