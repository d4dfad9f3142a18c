"""Refunds, by Dodo's rules: 30 days, one at a time, per line item, in the settlement currency unless told."""

from __future__ import annotations

from datetime import timedelta

from . import serializers
from .errors import conflict, refused
from .money import rounded
from .records import Item, Json, Payment, Refund
from .state import World, new_id

WINDOW = timedelta(days=30)


def create(world: World, body: Json) -> Refund:
    """Answer a checked ``POST /refunds`` body.

    Amounts without ``currency`` are read in the settlement currency, which is a trap where it differs from what
    the customer paid in. Two equal requests are two refunds: there is no idempotency.
    """
    payment = world.payment(body["payment_id"])
    _check_refundable(world, payment)
    currency = _currency(payment, body.get("currency"))
    per_item = _per_item(world, payment, body.get("items"), currency)
    paid_amount = sum(per_item.values())
    left = refundable(world, payment)
    if paid_amount > left:
        raise refused("INVALID_REFUND_AMOUNT", "The amount is more than what is left to refund")
    refund = Refund(
        refund_id=new_id("ref"),
        payment_id=payment.payment_id,
        status="pending",
        amount=in_currency(payment, paid_amount, currency),
        currency=currency,
        paid_amount=paid_amount,
        per_item=per_item,
        is_partial=paid_amount < payment.quote.total,
        reason=body.get("reason"),
        metadata=body.get("metadata") or {},
        created_at=world.now(),
    )
    world.refunds[refund.refund_id] = refund
    if world.settings.refund_delay:
        refund.settles_at = world.now() + world.settings.refund_delay
    else:
        settle(world, refund)
    return refund


def settle(world: World, refund: Refund) -> None:
    """Bring a pending refund to the outcome the settings ask for. ``review`` has no event of its own."""
    refund.status = world.settings.refund_outcome
    refund.settles_at = None
    if refund.status in ("succeeded", "failed"):
        world.emit(f"refund.{refund.status}", "Refund", lambda: serializers.refund(world, refund))


def refundable(world: World, payment: Payment) -> int:
    """Return what is left to refund, minor units of the payment's currency."""
    return sum(item_left(world, payment, item) for item in payment.quote.items)


def item_left(world: World, payment: Payment, item: Item) -> int:
    """Return what is left to refund of one line, minor units of the payment's currency."""
    back = (entry.per_item.get(item.item_id, 0) for entry in _standing(world, payment))
    return item.total - sum(back)


def in_currency(payment: Payment, amount: int, currency: str) -> int:
    """Return ``amount`` of the payment's currency in ``currency``; exact for the whole payment."""
    quote = payment.quote
    if currency == quote.currency:
        return amount
    if amount == quote.total:
        return quote.settlement_total
    return rounded(amount * quote.settlement_total, quote.total)


def _standing(world: World, payment: Payment) -> list[Refund]:
    return [entry for entry in serializers.refunds_of(world, payment) if entry.status != "failed"]


def _check_refundable(world: World, payment: Payment) -> None:
    if payment.status != "succeeded":
        raise refused("PAYMENT_NOT_SUCCEEDED", "Only succeeded payments can be refunded")
    if world.now() > payment.created_at + WINDOW:
        raise refused("REFUND_WINDOW_EXPIRED", "Refunds are possible for 30 days")
    if any(entry.status in ("pending", "review") for entry in _standing(world, payment)):
        raise conflict(
            "EXISTING_REFUND_REQUEST_PROCESSING", "A refund of this payment is still being processed"
        )
    if not refundable(world, payment):
        raise refused("PAYMENT_ALREADY_REFUNDED", "The payment has been refunded in full")


def _currency(payment: Payment, asked: str | None) -> str:
    quote = payment.quote
    if asked is None:
        return quote.settlement_currency
    if asked not in (quote.currency, quote.settlement_currency):
        message = f"Refund in {quote.currency} or {quote.settlement_currency}"
        raise refused("UNSUPPORTED_CURRENCY", message)
    return asked


def _per_item(world: World, payment: Payment, asked: list[Json] | None, currency: str) -> dict[str, int]:
    items = {item.item_id: item for item in payment.quote.items}
    if asked is None:
        return {ref: item_left(world, payment, item) for ref, item in items.items()}
    parts: dict[str, int] = {}
    for entry in asked:
        item = items.get(entry["item_id"])
        if item is None:
            raise refused("INVALID_REFUND_ITEM", f"Item {entry['item_id']} is not part of the payment")
        amount = _asked_amount(world, payment, item, entry, currency)
        parts[item.item_id] = parts.get(item.item_id, 0) + amount
    return parts


def _asked_amount(world: World, payment: Payment, item: Item, entry: Json, currency: str) -> int:
    left = item_left(world, payment, item)
    asked = entry.get("amount")
    if asked is None:
        return left
    amount = _in_paid_currency(payment, asked, currency)
    if not entry.get("tax_inclusive", True):
        amount += rounded(amount * item.tax, item.total - item.tax)
    if amount > left:
        raise refused("INVALID_REFUND_AMOUNT", f"Only {left} is left to refund of {item.item_id}")
    return amount


def _in_paid_currency(payment: Payment, amount: int, currency: str) -> int:
    quote = payment.quote
    if currency == quote.currency:
        return amount
    if amount == quote.settlement_total:
        return quote.total
    return rounded(amount * quote.total, quote.settlement_total)
