"""Pricing and the life of a payment: created, processing, settled."""

from __future__ import annotations

from collections.abc import Iterable

from . import serializers
from .cards import Card
from .money import check_minimum, convert, rounded, with_tax
from .records import Item, Json, Payment, Product, Quote, Session, Subscription
from .state import World, new_id

OPEN = ("processing", "requires_payment_method")


def price_items(
    world: World, wanted: Iterable[tuple[Product, int]], *, billed_in: str | None = None
) -> Quote:
    """Return what ``wanted`` (products with their amounts in minor units) costs the customer.

    ``billed_in`` counts only with adaptive currency on; then Dodo's fee comes on top of the converted amount, and
    the settlement stays what the product asked for.
    """
    settings = world.settings
    pairs = list(wanted)
    base = pairs[0][0].currency
    billed = billed_in if settings.adaptive_currency and billed_in else base
    fee = settings.adaptive_fee_percent if billed != base else 0
    settled = settings.settlement_currency or base
    items, settlement_total, settlement_tax = [], 0, 0
    for product, amount in pairs:
        taxed = with_tax(amount, rate_percent=settings.tax_rate_percent, inclusive=product.tax_inclusive)
        total = rounded(convert(taxed.total, base, billed) * (100 + fee), 100)
        tax = convert(taxed.tax, base, billed)
        items.append(Item(item_id=product.product_id, name=product.name, total=total, tax=tax))
        settlement_total += convert(taxed.total, base, settled)
        settlement_tax += convert(taxed.tax, base, settled)
    return Quote(
        currency=billed,
        items=tuple(items),
        total=sum(item.total for item in items),
        tax=sum(item.tax for item in items),
        settlement_currency=settled,
        settlement_total=settlement_total,
        settlement_tax=settlement_tax,
    )


def from_session(world: World, session: Session, quote: Quote, *, customer_id: str) -> Payment:
    """Open a payment for a hosted page. The session keeps its id: it has produced its payment."""
    payment = _new(
        world, quote, customer_id=customer_id, billing=session.billing, metadata=dict(session.metadata)
    )
    payment.cart = [{"product_id": line.product_id, "quantity": line.quantity} for line in session.lines]
    payment.session_id = session.session_id
    session.payment_id = payment.payment_id
    return payment


def from_subscription(
    world: World, subscription: Subscription, quote: Quote, *, metadata: Json, charge_type: str | None
) -> Payment:
    """Open a payment that charges a subscription's saved method."""
    payment = _new(
        world,
        quote,
        customer_id=subscription.customer_id,
        billing=subscription.billing,
        metadata=dict(metadata),
    )
    payment.subscription_id = subscription.subscription_id
    payment.charge_type = charge_type
    payment.payment_method_id = subscription.payment_method_id
    return payment


def settle(world: World, payment: Payment, card: Card, *, code: str | None) -> None:
    """End a payment: declined with ``code``, or succeeded when it is None. Announces which."""
    payment.card = card
    payment.status = "failed" if code else "succeeded"
    payment.error_code = code
    payment.settles_at = None
    announce(world, payment)


def announce(world: World, payment: Payment) -> None:
    """Emit the event of the payment's present status and stamp the change."""
    payment.updated_at = world.now()
    world.emit(f"payment.{payment.status}", "Payment", lambda: serializers.payment(world, payment))


def flip(world: World, payment: Payment, code: str) -> None:
    """Let a payment that had succeeded fail after all, as a late bank return does."""
    payment.status = "failed"
    payment.error_code = code
    announce(world, payment)


def check_chargeable(quote: Quote) -> None:
    """Refuse totals Dodo does not charge."""
    check_minimum(quote.total, quote.currency)


def _new(world: World, quote: Quote, *, customer_id: str, billing: Json, metadata: Json) -> Payment:
    now = world.now()
    payment = Payment(
        payment_id=new_id("pay"),
        status="requires_payment_method",
        quote=quote,
        customer_id=customer_id,
        billing=billing,
        metadata=metadata,
        created_at=now,
        updated_at=now,
    )
    world.payments[payment.payment_id] = payment
    return payment
