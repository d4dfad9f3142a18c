"""The payment methods a customer saved at Dodo."""

from __future__ import annotations

from collections.abc import Sequence

from billhook.model import PaymentMethod, Ref

from .client import DodoApi, readable
from .facts import expiry
from .payloads import Json, maybe_record, maybe_text, records, text


def saved_methods(api: DodoApi, connection: str, customer_id: str) -> Sequence[PaymentMethod]:
    """Return a customer's methods, the one used last first. ``reusable``: may be charged without the customer.

    :raises NotFound: Dodo does not know the customer.
    """
    answer = api.get("customers", customer_id, "payment-methods")
    with readable("the list of payment methods"):
        rows = sorted(
            records(answer, "items"), key=lambda row: maybe_text(row, "last_used_at") or "", reverse=True
        )
        return [_method(connection, row) for row in rows]


def _method(connection: str, row: Json) -> PaymentMethod:
    card = maybe_record(row, "card")
    return PaymentMethod(
        ref=Ref(connection, text(row, "payment_method_id")),
        kind=maybe_text(row, "payment_method") or "card",
        brand=maybe_text(card, "card_network"),
        last4=maybe_text(card, "last4_digits"),
        expires=expiry(maybe_text(card, "expiry_year"), maybe_text(card, "expiry_month")),
        reusable=row.get("recurring_enabled") is True,
    )
