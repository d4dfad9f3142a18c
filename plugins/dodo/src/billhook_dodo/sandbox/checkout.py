"""Checkout sessions: what ``POST /checkouts`` accepts, and what happens when the customer pays or fails to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from billhook.clock import new_token

from . import catalog, payments, subscriptions
from .cards import Card
from .errors import ApiError, conflict, invalid_body, refused
from .money import spelled
from .records import Customer, Json, Line, Payment, Product, Quote, SavedMethod, Session, Subscription
from .schema import INT32_MAX
from .state import World, new_id

LIFE = timedelta(hours=24)
LIFE_CONFIRMED = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a finished page left behind. A mandate alone has no payment; a one-time sale no subscription."""

    session: Session
    payment: Payment | None = None
    subscription: Subscription | None = None

    @property
    def status(self) -> str:
        """The word the return URL carries."""
        if self.payment is not None:
            return self.payment.status
        return self.subscription.status if self.subscription else "failed"


def create(world: World, body: Json) -> Json:
    """Answer ``POST /checkouts``.

    With ``confirm`` and a saved method the money moves at once and there is no page to visit.
    """
    lines, on_demand = _read_cart(world, body), _on_demand(body)
    _check_cart(world, lines, on_demand)
    _check_confirmation(world, body, lines)
    session = _open(world, body, lines, on_demand)
    answer: Json = {
        "session_id": session.session_id,
        "checkout_url": world.session_url(session.session_id),
        "client_secret": None,
        "payment_id": None,
        "publishable_key": None,
    }
    if not body.get("confirm"):
        return answer
    payment = _confirm(world, session)
    if body.get("payment_method_id"):
        method = world.method_of(payment.customer_id, body["payment_method_id"])
        _charge_saved(world, session, payment, method)
        answer["checkout_url"] = None
    return answer | {
        "payment_id": payment.payment_id,
        "client_secret": f"{payment.payment_id}_secret_{new_token(size=12)}",
        "publishable_key": "pk_test_sandbox",
    }


def quote(world: World, session: Session) -> Quote:
    """Return what the session costs as far as it is known; an amount not typed yet counts as the least."""
    wanted = [(world.product(line.product_id), _amount(world, line)) for line in session.lines]
    return payments.price_items(world, wanted, billed_in=session.currency)


def preview(world: World, body: Json) -> tuple[list[Line], Quote]:
    """Return the priced cart of ``POST /checkouts/preview``, by the same rules and without a session."""
    lines, on_demand = _read_cart(world, body), _on_demand(body)
    _check_cart(world, lines, on_demand)
    wanted = [(world.product(line.product_id), _amount(world, line)) for line in lines]
    return lines, payments.price_items(world, wanted, billed_in=body.get("billing_currency"))


def usable(world: World, session: Session) -> Session:
    """Return the session if it can still be paid; 409 once it has been, 410 when its time is over."""
    if session.consumed:
        raise conflict("CHECKOUT_SESSION_CONSUMED", "Checkout session has already been consumed")
    if world.now() >= session.expires_at:
        raise ApiError(410, "CHECKOUT_SESSION_EXPIRED", "Checkout session has expired")
    return session


def finish(
    world: World, session: Session, card: Card, *, payer: Json, amount: int | None, save: bool
) -> Outcome:
    """Let the customer press the button: good or bad, this uses the session up.

    ``payer`` is what the customer typed where the session names nobody; ``amount`` is their own amount on a
    pay-what-you-want line without one.
    """
    usable(world, session)
    customer = _payer(world, session, payer)
    if session.updates_subscription:
        return _finish_update(world, session, card)
    _type_amount(session, amount)
    if world.product(session.lines[0].product_id).is_recurring:
        return _finish_subscription(world, session, customer, card)
    payment = world.payments.get(session.payment_id or "")
    if payment is None:
        priced = quote(world, session)
        payments.check_chargeable(priced)
        payment = payments.from_session(world, session, priced, customer_id=customer.customer_id)
    if save and not card.decline:
        method = catalog.save_card(world, customer.customer_id, card, recurring=True)
        payment.payment_method_id = method.payment_method_id
    session.consumed = True
    payments.settle(world, payment, card, code=card.decline)
    return Outcome(session=session, payment=payment)


def _finish_subscription(world: World, session: Session, customer: Customer, card: Card) -> Outcome:
    session.consumed = True
    started = subscriptions.start(world, session, customer_id=customer.customer_id, card=card)
    payment = world.payments.get(session.payment_id or "")
    return Outcome(session=session, payment=payment, subscription=started)


def _finish_update(world: World, session: Session, card: Card) -> Outcome:
    session.consumed = True
    subscription = world.subscription(session.updates_subscription or "")
    payment = world.payments.get(session.payment_id or "")
    subscriptions.take_new_card(world, subscription, card, payment)
    return Outcome(session=session, payment=payment, subscription=subscription)


def _payer(world: World, session: Session, payer: Json) -> Customer:
    if session.customer_id is None:
        session.customer_id = catalog.attach_customer(world, payer).customer_id
    return world.customer(session.customer_id)


def _type_amount(session: Session, amount: int | None) -> None:
    for line in session.lines:
        if line.amount is None:
            line.amount = amount


def _amount(world: World, line: Line) -> int:
    if line.amount is not None:
        return line.amount
    price = world.product(line.product_id).price
    return int(price.get("suggested_price") or price["price"]) * line.quantity


def _open(world: World, body: Json, lines: list[Line], on_demand: Json | None) -> Session:
    given, flags = body.get("customer"), body.get("feature_flags") or {}
    always_new = bool(flags.get("always_create_new_customer"))
    attached = catalog.attach_customer(world, given, always_new=always_new) if given else None
    now = world.now()
    session = Session(
        session_id=new_id("cks"),
        lines=lines,
        customer_id=attached.customer_id if attached else None,
        billing=body.get("billing_address") or dict(catalog.DEFAULT_BILLING),
        currency=body.get("billing_currency") or world.product(lines[0].product_id).currency,
        metadata=body.get("metadata") or {},
        return_url=body.get("return_url"),
        cancel_url=body.get("cancel_url"),
        created_at=now,
        expires_at=now + (LIFE_CONFIRMED if body.get("confirm") else LIFE),
        on_demand=on_demand,
    )
    world.sessions[session.session_id] = session
    return session


def _confirm(world: World, session: Session) -> Payment:
    priced = quote(world, session)
    payments.check_chargeable(priced)
    return payments.from_session(world, session, priced, customer_id=session.customer_id or "")


def _charge_saved(world: World, session: Session, payment: Payment, method: SavedMethod) -> None:
    session.consumed = True
    method.last_used_at = world.now()
    payment.payment_method_id = method.payment_method_id
    payments.settle(world, payment, method.card, code=method.card.off_session)


def _read_cart(world: World, body: Json) -> list[Line]:
    if not body["product_cart"]:
        raise refused("PRODUCT_CART_EMTPY", "Product cart cannot be empty")
    return [_read_line(world, entry) for entry in body["product_cart"]]


def _read_line(world: World, entry: Json) -> Line:
    product, quantity = world.product(entry["product_id"]), entry["quantity"]
    amount, least = entry.get("amount"), product.price["price"]
    if not product.pay_what_you_want:
        # Dodo ignores the amount without a word: the catalogue price is charged.
        amount = least
    elif amount is not None and amount < least:
        message = f"Amount must be at least {spelled(least, product.currency)}"
        raise refused("REQUEST_AMOUNT_BELOW_MINIMUM", message)
    return Line(
        product_id=product.product_id,
        quantity=quantity,
        amount=None if amount is None else amount * quantity,
    )


def _check_cart(world: World, lines: Sequence[Line], on_demand: Json | None) -> None:
    products = [world.product(line.product_id) for line in lines]
    if len({product.currency for product in products}) > 1:
        raise refused("UNSUPPORTED_CURRENCY", "The sandbox takes carts of one currency only")
    if on_demand is not None:
        _check_on_demand(products)
        return
    if any(line.amount is None for line in lines) or any(product.is_recurring for product in products):
        return
    total = sum(line.amount or 0 for line in lines)
    if total > INT32_MAX:
        raise invalid_body("product_cart", "total amount too large")
    wanted = [(product, line.amount or 0) for product, line in zip(products, lines, strict=True)]
    payments.check_chargeable(payments.price_items(world, wanted))


def _check_on_demand(products: Sequence[Product]) -> None:
    if any(not product.is_recurring for product in products):
        message = "On-demand subscriptions take recurring products only"
        raise refused("ONE_TIME_PRODUCTS_NOT_ALLOWED_FOR_ON_DEMAND", message)


def _on_demand(body: Json) -> Json | None:
    data: Json = body.get("subscription_data") or {}
    on_demand: Json | None = data.get("on_demand")
    if on_demand is not None and (body.get("discount_code") or body.get("discount_codes")):
        raise refused(
            "DISCOUNTS_NOT_ALLOWED_FOR_ON_DEMAND", "Discounts do not apply to on-demand subscriptions"
        )
    return on_demand


def _check_confirmation(world: World, body: Json, lines: Sequence[Line]) -> None:
    customer: Json = body.get("customer") or {}
    if customer and not {"customer_id", "email"} & customer.keys():
        raise invalid_body("customer", "customer_id or email is required")
    if body.get("payment_method_id"):
        if not body.get("confirm") or "customer_id" not in customer:
            raise invalid_body("payment_method_id", "needs confirm and an existing customer_id")
        world.method_of(world.customer(customer["customer_id"]).customer_id, body["payment_method_id"])
    if not body.get("confirm"):
        return
    if not customer or not body.get("billing_address"):
        raise invalid_body("confirm", "needs customer and billing_address")
    if any(line.amount is None for line in lines):
        raise refused("PAY_AS_YOU_WANT_AMOUNT_REQUIRED", "Amount is required for pay what you want products")
