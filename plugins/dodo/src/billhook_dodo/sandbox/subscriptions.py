"""On-demand subscriptions: Dodo's mandates, charged off-session for any amount.

One charge at a time; a declined charge puts the subscription on hold and nothing more can be charged until the
payment method is updated, which also collects the dues.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from billhook.clock import new_token

from . import catalog, payments, serializers
from .cards import Card
from .catalog_json import instant
from .errors import conflict, refused
from .records import Json, Payment, Product, Quote, SavedMethod, Session, Subscription
from .state import World, new_id

UPDATE_LINK_LIFE = timedelta(hours=24)


def start(world: World, session: Session, *, customer_id: str, card: Card) -> Subscription:
    """Begin the subscription a checkout was for; ``failed`` (terminal) when the card is declined."""
    product, on_demand = world.product(session.lines[0].product_id), session.on_demand
    method = None if card.decline else catalog.save_card(world, customer_id, card, recurring=True)
    subscription = Subscription(
        subscription_id=new_id("sub"),
        status="failed" if card.decline else "active",
        on_demand=on_demand is not None,
        product_id=product.product_id,
        currency=product.currency,
        customer_id=customer_id,
        billing=session.billing,
        metadata=dict(session.metadata),
        payment_method_id=method.payment_method_id if method else None,
        created_at=world.now(),
    )
    world.subscriptions[subscription.subscription_id] = subscription
    session.subscription_id = subscription.subscription_id
    if not (on_demand and on_demand["mandate_only"]):
        _charge_first(world, session, subscription, card)
    _announce(world, subscription, subscription.status)
    return subscription


def charge(world: World, subscription: Subscription, body: Json) -> Payment:
    """Charge ``product_price`` minor units off-session. The answer is only an id: the result comes by webhook.

    Without ``metadata`` the payment gets the subscription's. Nothing stops a caller from charging twice except
    the pending check: Dodo knows no idempotency key here.
    """
    _check_chargeable(world, subscription)
    quote = _quote(world, subscription, body["product_price"], body.get("product_currency"))
    payments.check_chargeable(quote)
    given = body.get("metadata")
    metadata = subscription.metadata if given is None else given
    payment = payments.from_subscription(
        world, subscription, quote, metadata=metadata, charge_type="on_demand"
    )
    payment.status = "processing"
    if not world.settings.charge_delay:
        settle(world, payment)
        return payment
    payment.settles_at = world.now() + world.settings.charge_delay
    payments.announce(world, payment)
    return payment


def settle(world: World, payment: Payment) -> None:
    """Let the bank answer a charge that is processing."""
    subscription = world.subscription(payment.subscription_id or "")
    method = _method(world, subscription)
    method.last_used_at = world.now()
    code = method.card.off_session
    payments.settle(world, payment, method.card, code=code)
    if code:
        subscription.status = "on_hold"
        subscription.unpaid_payment_id = payment.payment_id
        _announce(world, subscription, "on_hold")


def use_existing(world: World, subscription: Subscription, method: SavedMethod) -> Payment | None:
    """Switch to a saved method; on hold, charge the dues to it. Returns that payment, None without dues."""
    _take_method(world, subscription, method)
    payment = _dues(world, subscription)
    if payment is not None:
        _collect_dues(world, subscription, payment, method.card, code=method.card.off_session)
    return payment


def offer_update_page(world: World, subscription: Subscription, return_url: str | None) -> Json:
    """Open a page on which the customer enters a new card; on hold, it shows the dues."""
    now = world.now()
    session = Session(
        session_id=new_id("cks"),
        lines=[],
        customer_id=subscription.customer_id,
        billing=subscription.billing,
        currency=subscription.currency,
        metadata=dict(subscription.metadata),
        return_url=return_url,
        cancel_url=None,
        created_at=now,
        expires_at=now + UPDATE_LINK_LIFE,
        subscription_id=subscription.subscription_id,
        updates_subscription=subscription.subscription_id,
    )
    payment = _dues(world, subscription) or _setup_payment(world, subscription)
    payment.session_id = session.session_id
    session.payment_id = payment.payment_id
    world.sessions[session.session_id] = session
    return {
        "client_secret": f"{payment.payment_id}_secret_{new_token(size=12)}",
        "expires_on": instant(session.expires_at),
        "payment_id": payment.payment_id,
        "payment_link": world.session_url(session.session_id),
    }


def take_new_card(world: World, subscription: Subscription, card: Card, payment: Payment | None) -> None:
    """Finish the update page: keep the card if the bank takes it, and collect the dues with it."""
    if not card.decline:
        method = catalog.save_card(world, subscription.customer_id, card, recurring=True)
        _take_method(world, subscription, method)
    if payment is not None:
        payment.payment_method_id = subscription.payment_method_id
        _collect_dues(world, subscription, payment, card, code=card.decline)


def set_card(world: World, subscription: Subscription, card: Card) -> None:
    """Exchange the plastic behind the saved method unseen, as a bank does."""
    _method(world, subscription).card = card


def check_updatable(subscription: Subscription) -> None:
    """Refuse to update the method of a subscription that is over."""
    if subscription.status not in ("active", "on_hold", "past_due"):
        raise refused("SUBSCRIPTION_INACTIVE", f"Subscription is {subscription.status}")


def _check_chargeable(world: World, subscription: Subscription) -> None:
    if not subscription.on_demand:
        raise refused("SUBSCRIPTION_NOT_ON_DEMAND", "Subscription is not on-demand")
    if _pending(world, subscription):
        raise conflict(
            "PREVIOUS_PAYMENT_PENDING", "The previous payment of this subscription is still pending"
        )
    if subscription.status != "active":
        raise refused("SUBSCRIPTION_INACTIVE", f"Subscription is {subscription.status}")
    if subscription.cancel_at_next_billing_date:
        message = "Subscription is scheduled for cancellation"
        raise refused("CHARGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION", message)


def _pending(world: World, subscription: Subscription) -> bool:
    return any(
        payment.subscription_id == subscription.subscription_id and payment.status == "processing"
        for payment in world.payments.values()
    )


def _charge_first(world: World, session: Session, subscription: Subscription, card: Card) -> None:
    amount = (session.on_demand or {}).get("product_price")
    price = session.lines[0].amount if amount is None else amount
    quote = _quote(world, subscription, price or 0, None)
    metadata = session.metadata
    payment = payments.from_subscription(world, subscription, quote, metadata=metadata, charge_type="new")
    payment.session_id = session.session_id
    session.payment_id = payment.payment_id
    payments.settle(world, payment, card, code=card.decline)


def _dues(world: World, subscription: Subscription) -> Payment | None:
    if subscription.unpaid_payment_id is None:
        return None
    owed = world.payment(subscription.unpaid_payment_id)
    # Dodo does not say whose metadata the payment of the dues carries; the subscription's is the harder case.
    return payments.from_subscription(
        world, subscription, owed.quote, metadata=subscription.metadata, charge_type="on_demand"
    )


def _setup_payment(world: World, subscription: Subscription) -> Payment:
    quote = _quote(world, subscription, 0, None)
    metadata = subscription.metadata
    payment = payments.from_subscription(world, subscription, quote, metadata=metadata, charge_type=None)
    payment.is_update_payment_method = True
    return payment


def _collect_dues(
    world: World, subscription: Subscription, payment: Payment, card: Card, *, code: str | None
) -> None:
    payments.settle(world, payment, card, code=code)
    if code or subscription.status != "on_hold":
        return
    subscription.status = "active"
    subscription.unpaid_payment_id = None
    _announce(world, subscription, "active")


def _take_method(world: World, subscription: Subscription, method: SavedMethod) -> None:
    subscription.payment_method_id = method.payment_method_id
    # On hold, Dodo documents payment.succeeded and subscription.active only.
    if subscription.status != "on_hold":
        _announce(world, subscription, "update_payment_method")


def _quote(world: World, subscription: Subscription, amount: int, currency: str | None) -> Quote:
    product = world.product(subscription.product_id)
    return payments.price_items(world, [(_priced_in(product, currency), amount)])


def _priced_in(product: Product, currency: str | None) -> Product:
    return replace(product, price=product.price | {"currency": currency or product.currency})


def _method(world: World, subscription: Subscription) -> SavedMethod:
    return world.method_of(subscription.customer_id, subscription.payment_method_id or "")


def _announce(world: World, subscription: Subscription, word: str) -> None:
    world.emit(
        f"subscription.{word}", "Subscription", lambda: serializers.subscription_event(world, subscription)
    )
