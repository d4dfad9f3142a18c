"""The life of a PaymentIntent: confirmed, authenticated, answered by the bank at once or days later, canceled."""

from __future__ import annotations

import copy
from typing import Final

from . import disputes, methods, shapes
from .cards import AUTHENTICATION_REQUIRED, LATE_FAILURE, Card, Decline, Secure
from .errors import ApiError, Json, declined, invalid, unexpected_state
from .forms import merged
from .world import World

OPEN: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
"""The states in which nothing has been taken and nothing is under way."""

_LEAST: Final = {"eur": 50, "usd": 50, "gbp": 30, "chf": 50, "jpy": 50}
_LARGEST: Final = 99_999_999
_FAILED_AUTHENTICATION = Decline(
    code="payment_intent_authentication_failure",
    message="The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new "
    "PaymentMethod to attempt to fulfill this PaymentIntent again.",
)


def create(world: World, given: Json) -> Json:
    """Make a PaymentIntent, and confirm it at once when asked to."""
    _check_amount(given["amount"], given["currency"])
    if given.get("customer"):
        world.customer(given["customer"], param="customer")
    if given.get("off_session") and not given.get("confirm"):
        raise invalid("off_session needs confirm=true", param="off_session")
    if given.get("payment_method"):
        _usable_method(world, given["payment_method"], given.get("customer"), given["currency"])
    intent = shapes.payment_intent(world, given)
    world.intents[intent["id"]] = intent
    world.emit("payment_intent.created", intent, None)
    return confirm(world, intent, given) if given.get("confirm") else intent


def update(world: World, intent: Json, given: Json) -> Json:
    """Change what may still be changed."""
    if intent["status"] not in OPEN and set(given) - {"metadata", "description"}:
        raise unexpected_state(
            f"This PaymentIntent could not be updated because it has a status of {intent['status']}.",
            kind="payment_intent",
        )
    if "amount" in given:
        _check_amount(given["amount"], intent["currency"])
    if "metadata" in given:
        intent["metadata"] = merged(intent["metadata"], given["metadata"])
    intent.update({name: value for name, value in given.items() if name in intent and name != "metadata"})
    return intent


def confirm(world: World, intent: Json, given: Json) -> Json:
    """Try to take the money.

    :raises ApiError: 402 when it is declined: the intent waits for another payment method; 400 when it cannot be tried.
    """
    if intent["status"] not in OPEN:
        raise unexpected_state(
            f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}.",
            kind="payment_intent",
        )
    ref = given.get("payment_method") or intent["payment_method"]
    if not ref:
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            kind="payment_intent",
        )
    method = _usable_method(world, ref, intent["customer"], intent["currency"])
    _check_return_url(intent, given)
    future = given.get("setup_future_usage", intent["setup_future_usage"]) or None
    if future and given.get("off_session"):
        raise invalid(
            "You cannot confirm with `off_session=true` when `setup_future_usage` is also set on the PaymentIntent.",
            param="off_session",
        )
    intent["payment_method"] = method["id"]
    intent["last_payment_error"] = intent["next_action"] = None
    intent["setup_future_usage"] = future
    card = world.cards[method["id"]]
    off_session = bool(given.get("off_session"))
    if _asks_for_authentication(world, card, method, off_session=off_session):
        if off_session:
            raise _failed(world, intent, method, AUTHENTICATION_REQUIRED)
        return _ask(world, intent, given)
    return _charge(world, intent, method, card)


def authenticate(world: World, intent: Json, *, success: bool) -> Json:
    """The customer answered the bank's question."""
    if intent["status"] != "requires_action":
        raise unexpected_state("This PaymentIntent waits for no authentication.", kind="payment_intent")
    method = world.method(intent["payment_method"])
    intent["next_action"] = None
    try:
        if not success:
            raise _failed(world, intent, method, _FAILED_AUTHENTICATION)
        return _charge(world, intent, method, world.cards[method["id"]])
    except ApiError as exc:
        if exc.status != 402:
            raise
        return intent  # the customer's browser asks for the intent and reads the reason there


def cancel(world: World, intent: Json, *, reason: str | None) -> Json:
    """Give up; a debit under way and a payment that was made cannot be given up."""
    if intent["status"] not in OPEN:
        raise unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a PaymentIntent "
            "with one of the following statuses may be canceled: requires_payment_method, requires_capture, "
            "requires_confirmation, requires_action, processing.",
            kind="payment_intent",
        )
    intent.update(
        status="canceled",
        canceled_at=world.stamp(intent["customer"]),
        cancellation_reason=reason,
        next_action=None,
    )
    world.emit("payment_intent.canceled", intent, None)
    return intent


def settle(world: World, intent: Json) -> None:
    """Let the bank answer a debit that was under way."""
    del world.due[intent["id"]]
    method = world.method(intent["payment_method"])
    charge = world.charge(intent["latest_charge"])
    if not world.cards[method["id"]].fails_late:
        charge.update(status="succeeded", paid=True, amount_captured=charge["amount"])
        _succeed(world, intent, charge)
        return
    error = LATE_FAILURE.error()
    charge.update(status="failed", failure_code=error["code"], failure_message=error["message"])
    _fail(world, intent, method, charge, error)


def _charge(world: World, intent: Json, method: Json, card: Card) -> Json:
    decline = card.declines_charge()
    if decline is not None:
        raise _failed(world, intent, method, decline)
    status = "pending" if card.late else "succeeded"
    charge = shapes.charge(world, intent, method, status=status, error=None)
    _keep(world, intent, charge)
    if not card.late:
        _succeed(world, intent, charge)
        return intent
    intent["status"] = "processing"
    world.due[intent["id"]] = world.now(intent["customer"]) + world.settings.debit_delay
    world.emit("charge.pending", charge, None)
    world.emit("payment_intent.processing", intent, None)
    _save(world, intent)
    return intent


def _succeed(world: World, intent: Json, charge: Json) -> None:
    intent.update(status="succeeded", amount_received=intent["amount"])
    world.emit("charge.succeeded", charge, None)
    world.emit("payment_intent.succeeded", intent, None)
    _save(world, intent)
    if world.cards[intent["payment_method"]].disputed:
        disputes.open_dispute(world, charge, amount=None)


def _save(world: World, intent: Json) -> None:
    """Keep the method for later when the intent says so."""
    method = world.method(intent["payment_method"])
    if intent["setup_future_usage"] and intent["customer"] and method["customer"] is None:
        methods.attach(world, method, intent["customer"])


def _failed(world: World, intent: Json, method: Json, decline: Decline) -> ApiError:
    """Let a try fail; return the 402 for whoever made it."""
    error = decline.error()
    charge = shapes.charge(world, intent, method, status="failed", error=error)
    _keep(world, intent, charge)
    _fail(world, intent, method, charge, error)
    last = intent["last_payment_error"]
    return declined(last, payment_intent=copy.deepcopy(intent))


def _fail(world: World, intent: Json, method: Json, charge: Json, error: Json) -> None:
    """After any decline the intent is without a method; the card is in the last error only."""
    last = error | {"charge": charge["id"], "payment_method": copy.deepcopy(method)}
    intent.update(
        status="requires_payment_method", payment_method=None, last_payment_error=last, next_action=None
    )
    world.emit("charge.failed", charge, None)
    world.emit("payment_intent.payment_failed", intent, None)


def _keep(world: World, intent: Json, charge: Json) -> None:
    world.charges[charge["id"]] = charge
    intent["latest_charge"] = charge["id"]


def _ask(world: World, intent: Json, given: Json) -> Json:
    intent["status"] = "requires_action"
    intent["next_action"] = next_action(world, intent, given)
    world.emit("payment_intent.requires_action", intent, None)
    return intent


def next_action(world: World, intent: Json, given: Json) -> Json:
    """Return how the customer gets to their bank's question: Stripe.js opens it, or the browser is sent there."""
    page = f"{world.public_url}/3ds/{intent['id']}"
    back = given.get("return_url")
    if given.get("use_stripe_sdk") or not back:
        details = {"type": "three_d_secure_redirect", "stripe_js": page, "source": f"src_{intent['id']}"}
        return {"type": "use_stripe_sdk", "use_stripe_sdk": details}
    return {"type": "redirect_to_url", "redirect_to_url": {"url": f"{page}?redirect=1", "return_url": back}}


def _asks_for_authentication(world: World, card: Card, method: Json, *, off_session: bool) -> bool:
    match card.secure:
        case Secure.NEVER:
            return False
        case Secure.UNLESS_SET_UP:
            return not (off_session and method["id"] in world.set_up)
        case Secure.ALWAYS:
            return True


def _usable_method(world: World, ref: str, customer: str | None, currency: str) -> Json:
    method = methods.find(world, ref)
    if method["customer"] not in (None, customer):
        raise invalid(
            f"The PaymentMethod {ref} does not belong to the Customer of this PaymentIntent.",
            param="payment_method",
        )
    if method["customer"] is None and method["id"] in world.used:
        raise invalid(
            "The provided PaymentMethod was previously used without being attached to a Customer or was detached from "
            "a Customer, and may not be used again.",
            param="payment_method",
        )
    if method["type"] == "sepa_debit" and currency.lower() != "eur":
        raise invalid("The payment method type sepa_debit only supports the currency eur.", param="currency")
    return method


def _check_return_url(intent: Json, given: Json) -> None:
    automatic = intent["automatic_payment_methods"] or {}
    may_redirect = automatic.get("enabled") and automatic.get("allow_redirects") != "never"
    told = given.get("return_url") or given.get("off_session") or given.get("use_stripe_sdk")
    if may_redirect and not told:
        raise invalid(
            "This PaymentIntent is configured to accept payment methods that might redirect your customer: you must "
            "provide a `return_url`, or set allow_redirects to never.",
            param="return_url",
        )


def _check_amount(amount: int, currency: str) -> None:
    least = _LEAST.get(currency.lower(), 1)
    if amount < least:
        raise invalid(
            f"Amount must be at least {least} {currency.lower()}", code="amount_too_small", param="amount"
        )
    if amount > _LARGEST:
        raise invalid(
            f"Amount must be no more than {_LARGEST} {currency.lower()}",
            code="amount_too_large",
            param="amount",
        )
