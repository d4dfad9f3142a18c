"""Payment methods: made from a test card or account, attached to a customer, detached for good."""

from __future__ import annotations

from . import shapes
from .cards import TOKENS, Card, find_account, find_card
from .errors import Json, invalid
from .forms import merged
from .world import World, changed


def create(world: World, given: Json) -> Json:
    """Make a payment method from a card number or an IBAN, as the customer's browser does."""
    match given["type"]:
        case "card":
            number = (given.get("card") or {}).get("number")
            card = find_card(number or "")
            _check_expiry(world, given["card"])
        case "sepa_debit":
            card = find_account((given.get("sepa_debit") or {}).get("iban") or "")
        case other:
            raise invalid(f'The payment method type "{other}" is invalid.', param="type")
    return _kept(world, card, given)


def find(world: World, ref: str) -> Json:
    """Return a payment method; a test name (``pm_card_visa``) makes a new one, as at Stripe."""
    if ref in TOKENS:
        return _kept(world, TOKENS[ref], {})
    return world.method(ref, param="payment_method")


def attach(world: World, method: Json, customer: str) -> Json:
    """Let a customer keep a method."""
    if method["customer"] == customer:
        return method
    if method["customer"] is not None:
        raise invalid("The payment method you provided has already been attached to a customer.")
    if method["id"] in world.detached:
        raise invalid(
            "This PaymentMethod was previously detached from a Customer, and may not be used again.",
            param="payment_method",
        )
    world.customer(customer, param="customer")
    method["customer"] = customer
    world.emit("payment_method.attached", method, None)
    return method


def detach(world: World, method: Json) -> Json:
    """Take a method away from its customer for good; a default that pointed at it points at nothing."""
    customer = method["customer"]
    if customer is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    method["customer"] = None
    world.detached.add(method["id"])
    world.used.add(method["id"])
    world.emit("payment_method.detached", method, {"customer": customer})
    owner = world.customers[customer]
    if owner["invoice_settings"]["default_payment_method"] == method["id"]:
        settings = owner["invoice_settings"] | {"default_payment_method": None}
        changed(world, "customer.updated", owner, invoice_settings=settings)
    return method


def update(world: World, method: Json, given: Json) -> Json:
    """Change what may be changed: expiry, billing details, metadata, whether it may be shown again."""
    before: Json = {}
    for name in ("allow_redisplay", "billing_details", "metadata"):
        if name in given:
            before[name] = method[name]
            method[name] = (
                merged(method[name], given[name]) if name == "metadata" else given[name] or method[name]
            )
    if "card" in given:
        before["card"] = {name: method["card"][name] for name in given["card"]}
        method["card"] |= given["card"]
    if before:
        world.emit("payment_method.updated", method, before)
    return method


def _kept(world: World, card: Card, given: Json) -> Json:
    method = shapes.payment_method(world, card, given)
    world.methods[method["id"]] = method
    world.cards[method["id"]] = card
    return method


def _check_expiry(world: World, card: Json) -> None:
    year, month = card.get("exp_year"), card.get("exp_month")
    if not (isinstance(month, int) and 1 <= month <= 12):
        raise _wrong("invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month")
    now = world.now()
    if not (isinstance(year, int) and now.year <= year <= now.year + 50):
        raise _wrong("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year")
    if (year, month) < (now.year, now.month):
        raise _wrong("invalid_expiry_month", "Your card's expiration date is in the past.", "exp_month")


def _wrong(code: str, message: str, name: str) -> Exception:
    return invalid(message, code=code, param=f"card[{name}]", status=402)
