"""Looking at Dodo before anything is repeated: did an earlier call with our key take effect?

Metadata cannot be searched for, so payments and refunds are listed from when the call was first made and compared by
the key in their metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billhook.events import (
    PaymentCanceled,
    PaymentEvent,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
)
from billhook.model import Decline, DeclineClass, Mandate, Ref
from billhook.provider import Collected, CollectRequest, CollectState, RefundRequest

from .bodies import KEY, key_in
from .client import DodoApi, readable
from .facts import Reader
from .payloads import Json, instant, maybe_text, minor, text, words

CLOCKS_APART: Final = timedelta(minutes=15)
"""How far Dodo's clock and ours may differ before something is overlooked."""
LINK_LIFE: Final = timedelta(hours=24)
"""How long Dodo keeps a hosted page open."""

_CALLED_OFF = Decline(code="CANCELLED", kind=DeclineClass.SOFT, message="the payment was cancelled")
_BEST_LAST = ("cancelled", "failed", "processing", "succeeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Finds what was done through one connection."""

    api: DodoApi
    reader: Reader
    connection: str

    def collected(self, request: CollectRequest) -> Collected | None:
        """Return what became of an earlier :meth:`collect` with this key; None: nothing did.

        A hosted page nobody paid yet cannot be listed; it moved nothing, so another may be opened.
        """
        with readable("the list of payments"):
            rows = [row for row in self._payments(request) if self._is_ours(row, request)]
            best = max(rows, key=_how_good, default=None)
            found = text(best, "payment_id") if best else None
        return self._told(self.api.get("payments", found)) if found else None

    def refund(self, request: RefundRequest) -> Ref | None:
        """Return the refund that an earlier call with this key made; None: it made none."""
        with readable("the list of refunds"):
            for row in self.api.pages("refunds", params=_since(request.since)):
                ours = row.get("payment_id") == request.payment.id and self._refund_key(row) == request.key
                if ours:
                    return Ref(self.connection, text(row, "refund_id"))
        return None

    def owes(self, mandate: Mandate, request: CollectRequest) -> bool:
        """Say whether the dues of a mandate on hold are this invoice's: its last payment was ours and failed."""
        with readable("the list of payments"):
            rows = self.api.pages("payments", params={"subscription_id": mandate.ref.id})
            last = max(rows, key=lambda row: maybe_text(row, "created_at") or "", default=None)
            if last is None or last.get("status") != "failed":
                return False
            return request.invoice.id in words(last, "metadata").values() and self._same_amount(last, request)

    def _payments(self, request: CollectRequest) -> list[Json]:
        params = _since(request.since)
        customer = self._only_customer(request)
        if customer is not None:
            params["customer_id"] = customer
        return list(self.api.pages("payments", params=params))

    def _only_customer(self, request: CollectRequest) -> str | None:
        """Return Dodo's id of the customer when no payment of this request can be another's, else None.

        Listing too much costs a page; listing too little would charge twice.
        """
        known = {mandate.provider_customer for mandate in request.mandates}
        known.add(request.customer.provider_ids.get(self.connection) if request.customer else None)
        return known.pop() if len(known) == 1 else None

    def _is_ours(self, row: Json, request: CollectRequest) -> bool:
        key = words(row, "metadata").get(KEY)
        if key is not None:
            return key == request.key
        # The dues of a mandate carry the subscription's metadata, not that of the charge they stand for.
        dues = request.attempt >= 2 and row.get("status") not in ("failed", "cancelled")
        mandates = {mandate.ref.id for mandate in request.mandates}
        return dues and row.get("subscription_id") in mandates and self._same_amount(row, request)

    def _same_amount(self, row: Json, request: CollectRequest) -> bool:
        total, asked = minor(row, "total_amount"), request.amount.minor
        if row.get("currency") != request.amount.currency:
            return False
        return total >= asked if self.reader.tax_mode == "exclusive" else total == asked

    def _refund_key(self, row: Json) -> str | None:
        """Return our key on a refund. Should the list leave the reason out, the refund itself is read."""
        whole = row if "reason" in row else self.api.get("refunds", text(row, "refund_id"))
        return key_in(maybe_text(whole, "reason"))

    def _told(self, payment: Json) -> Collected:
        with readable("the payment"):
            facts = self.reader.payment(payment, sent_at=None)
            link, created_at = maybe_text(payment, "payment_link"), instant(payment, "created_at")
            known = Collected(
                state=CollectState.PROCESSING,
                by="mandate" if maybe_text(payment, "subscription_id") else "checkout",
                session=maybe_text(payment, "checkout_session_id"),
                url=link,
                expires_at=created_at + LINK_LIFE if link and created_at else None,
                payment=Ref(self.connection, text(payment, "payment_id")),
            )
        return _ended(known, facts[0]) if facts else known


def _ended(known: Collected, fact: PaymentEvent) -> Collected:
    """Return ``known`` with the state the payment is in; the link stays only while it can be paid at."""
    state, decline = CollectState.PROCESSING, None
    match fact:
        case PaymentSucceeded():
            state = CollectState.SUCCEEDED
        case PaymentFailed():
            state, decline = CollectState.DECLINED, fact.decline
        case PaymentCanceled():
            state, decline = CollectState.DECLINED, _CALLED_OFF
        case PaymentProcessing(requires_action=True) if known.session and known.url:
            state = CollectState.OPEN
        case PaymentProcessing():
            state = CollectState.PROCESSING
    payable = state is CollectState.OPEN
    return Collected(
        state=state,
        by=known.by,
        session=known.session,
        url=known.url if payable else None,
        expires_at=known.expires_at if payable else None,
        payment=known.payment,
        decline=decline,
    )


def _how_good(row: Json) -> tuple[int, str]:
    status = maybe_text(row, "status") or "processing"
    rank = _BEST_LAST.index(status) if status in _BEST_LAST else _BEST_LAST.index("processing")
    return rank, maybe_text(row, "created_at") or ""


def _since(moment: datetime) -> dict[str, str | int]:
    return {"created_at_gte": (moment - CLOCKS_APART).isoformat()}
