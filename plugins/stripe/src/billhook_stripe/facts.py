"""Stripe's objects as normalised facts: payments, refunds, disputes and saved methods, from webhooks and API answers.

What counts is the object's own status, never the name of the event that brought it. A snapshot event carries the object
as it was at the event's time, so the fact is dated by that; an object that was fetched stands as it does now, undated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict, TypeVar

from billhook.errors import PayloadInvalid
from billhook.events import (
    DisputeChanged,
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

from .declines import decline, waits_for_customer
from .payloads import Json, expanded, id_of, maybe_record, maybe_text, money, text, whole, words

S = TypeVar("S", bound=StrEnum)

_REFUNDS = {
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}
_DISPUTES = {
    "warning_needs_response": DisputeStatus.OPEN,
    "warning_under_review": DisputeStatus.OPEN,
    "needs_response": DisputeStatus.OPEN,
    "under_review": DisputeStatus.OPEN,
    "warning_closed": DisputeStatus.WON,
    "prevented": DisputeStatus.WON,  # settled before it became one; what was given back comes as a refund
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}


class _Common(TypedDict):
    """What the facts about a payment share."""

    at: datetime | None
    ref: Ref
    amount: Money
    applied: Money
    metadata: dict[str, str]
    session: str | None
    provider_customer: str | None
    method: PaymentMethod | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the objects of one connection. ``at``: since when what they say holds; None: now."""

    connection: str

    def payment(self, data: Json, *, at: datetime | None) -> Sequence[PaymentEvent]:
        """Return the one fact about a PaymentIntent; none while nobody has tried to pay it.

        A charge that the bank only wants confirmed (3-D Secure) has not failed: it waits for the customer. One that was
        canceled after it failed has failed; when it failed, the event of that said, so the cancellation's says nothing.
        """
        status = text(data, "status")
        common = self._common(data, at)
        error = maybe_record(data, "last_payment_error")
        waits = bool(error) and waits_for_customer(error)
        match status:
            case "succeeded":
                return [PaymentSucceeded(**common)]
            case "processing" | "requires_capture":
                return [PaymentProcessing(**common)]
            case "requires_action":
                return [PaymentProcessing(**common, requires_action=True)]
            case "requires_payment_method" | "requires_confirmation" if waits:
                return [PaymentProcessing(**common, requires_action=True)]
            case "canceled" if waits or not error:
                return [PaymentCanceled(**common)]
            case "canceled" if at is not None:
                return []
            case "requires_payment_method" | "requires_confirmation" | "canceled":
                return [PaymentFailed(**common, decline=decline(error))] if error else []
            case _:
                raise PayloadInvalid(f"status: {status!r} is not known for a PaymentIntent")

    def refund(self, data: Json, *, at: datetime | None) -> Sequence[RefundChanged]:
        """Return the fact about a refund; none when it is of a charge that had no PaymentIntent, so none of ours."""
        intent = id_of(data, "payment_intent")
        if intent is None:
            return []
        return [
            RefundChanged(
                at=at,
                ref=self._ref(data),
                payment=Ref(self.connection, intent),
                status=_known(_REFUNDS, data, "status"),
                amount=money(data, "amount"),
                reason=maybe_text(data, "reason"),
                metadata=words(data, "metadata"),
            )
        ]

    def dispute(self, data: Json, *, at: datetime | None) -> Sequence[DisputeChanged]:
        """Return the fact about a dispute; none when its charge had no PaymentIntent."""
        intent = id_of(data, "payment_intent")
        if intent is None:
            return []
        details = maybe_record(data, "payment_method_details")
        return [
            DisputeChanged(
                at=at,
                ref=self._ref(data),
                payment=Ref(self.connection, intent),
                status=_known(_DISPUTES, data, "status"),
                amount=money(data, "amount"),
                stage=maybe_text(expanded(details, "card"), "case_type"),
                reason=maybe_text(data, "reason"),
            )
        ]

    def saved(self, data: Json, *, before: Json, at: datetime | None) -> Sequence[MandateChanged]:
        """Return the fact about a payment method that a customer keeps, or kept until now; none for one that nobody does.

        :param before: the earlier values of what changed; a detached method names its customer only there.
        """
        owner = id_of(data, "customer")
        earlier = maybe_text(before, "customer")
        if owner is None and earlier is None:
            return []
        return [
            MandateChanged(
                at=at,
                ref=self._ref(data),
                status=MandateStatus.ACTIVE if owner else MandateStatus.ENDED,
                provider_customer=owner or earlier,
                method=self.method(data, reusable=owner is not None),
                metadata=words(data, "metadata"),
            )
        ]

    def set_up(self, data: Json, *, at: datetime | None) -> Sequence[MandateChanged]:
        """Return the fact that a SetupIntent saved a method; none while it has not, or for nobody's method.

        Its metadata say whose it is; what the method looks like, ``payment_method.attached`` says.
        """
        owner, method = id_of(data, "customer"), id_of(data, "payment_method")
        if text(data, "status") != "succeeded" or owner is None or method is None:
            return []
        shown = expanded(data, "payment_method")
        return [
            MandateChanged(
                at=at,
                ref=Ref(self.connection, method),
                status=MandateStatus.ACTIVE,
                provider_customer=owner,
                method=self.method(shown, reusable=True) if shown else None,
                metadata=words(data, "metadata"),
                setup=text(data, "id"),
            )
        ]

    def permission(self, data: Json, *, at: datetime | None) -> Sequence[MandateChanged]:
        """Return the fact that a bank debit's mandate was withdrawn; none while it holds."""
        method = id_of(data, "payment_method")
        if text(data, "status") != "inactive" or method is None:
            return []
        return [MandateChanged(at=at, ref=Ref(self.connection, method), status=MandateStatus.ENDED)]

    def method(self, data: Json, *, reusable: bool) -> PaymentMethod:
        """Return a payment method as far as it may be shown."""
        kind = text(data, "type")
        details = expanded(data, kind)
        return PaymentMethod(
            ref=Ref(self.connection, text(data, "id")) if data.get("id") else None,
            kind=kind,
            brand=maybe_text(details, "display_brand")
            or maybe_text(details, "brand")
            or maybe_text(details, "bank_name"),
            last4=maybe_text(details, "last4"),
            expires=expiry(details),
            reusable=reusable,
        )

    def _common(self, data: Json, at: datetime | None) -> _Common:
        asked = money(data, "amount")
        received = whole(data, "amount_received") if data.get("amount_received") is not None else 0
        applied = Money(received, asked.currency) if data.get("status") == "succeeded" else asked
        return _Common(
            at=at,
            ref=self._ref(data),
            amount=asked,
            applied=applied,
            metadata=words(data, "metadata"),
            session=text(data, "id"),
            provider_customer=id_of(data, "customer"),
            method=self._used(data),
        )

    def _used(self, data: Json) -> PaymentMethod | None:
        """Return what the customer paid, or tried to pay, with; None where Stripe only names it."""
        error = maybe_record(data, "last_payment_error")
        shown = expanded(data, "payment_method") or expanded(error, "payment_method")
        if shown:
            return self.method(shown, reusable=shown.get("customer") is not None)
        ref = maybe_text(data, "payment_method") if not expanded(data, "payment_method") else None
        details = expanded(expanded(data, "latest_charge"), "payment_method_details")
        if details and ref:
            return self.method({**details, "id": ref}, reusable=False)
        return None

    def _ref(self, data: Json) -> Ref:
        return Ref(self.connection, text(data, "id"))


def expiry(details: Json) -> str | None:
    """Return ``YYYY-MM`` of a card's two numbers; None when it has none."""
    year, month = details.get("exp_year"), details.get("exp_month")
    if type(year) is not int or type(month) is not int or not (2000 <= year < 2200 and 1 <= month <= 12):
        return None
    return f"{year}-{month:02}"


def _known(table: Mapping[str, S], data: Json, key: str) -> S:
    word = text(data, key)
    if word not in table:
        raise PayloadInvalid(f"{key}: {word!r} is not known")
    return table[word]
