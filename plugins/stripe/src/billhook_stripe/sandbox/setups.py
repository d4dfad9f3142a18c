"""The life of a SetupIntent: a payment method is confirmed, authenticated and attached, and nothing is charged."""

from __future__ import annotations

import copy

from . import methods, shapes
from .cards import Decline, Secure
from .errors import ApiError, Json, declined, unexpected_state
from .intents import OPEN, next_action
from .world import World

_FAILED_AUTHENTICATION = Decline(
    code="setup_intent_authentication_failure",
    message="The provided PaymentMethod has failed authentication. You can provide another one to try again.",
)


def create(world: World, given: Json) -> Json:
    """Make a SetupIntent, and confirm it at once when asked to."""
    if given.get("customer"):
        world.customer(given["customer"], param="customer")
    setup = shapes.setup_intent(world, given)
    world.setups[setup["id"]] = setup
    world.emit("setup_intent.created", setup, None)
    return confirm(world, setup, given) if given.get("confirm") else setup


def confirm(world: World, setup: Json, given: Json) -> Json:
    """Try to save the method.

    :raises ApiError: 402 when the bank declines, 400 when it cannot be tried.
    """
    if setup["status"] not in OPEN:
        raise unexpected_state(
            f"You cannot confirm this SetupIntent because it has a status of {setup['status']}.",
            kind="setup_intent",
        )
    ref = given.get("payment_method") or setup["payment_method"]
    if not ref:
        raise unexpected_state(
            "You cannot confirm this SetupIntent because it's missing a payment method.", kind="setup_intent"
        )
    method = methods.find(world, ref)
    setup.update(payment_method=method["id"], last_setup_error=None, next_action=None)
    card = world.cards[method["id"]]
    if card.decline is not None:
        raise _failed(world, setup, method, card.decline)
    if card.secure is not Secure.NEVER:
        setup.update(status="requires_action", next_action=next_action(world, setup, given))
        world.emit("setup_intent.requires_action", setup, None)
        return setup
    return _succeed(world, setup, method)


def authenticate(world: World, setup: Json, *, success: bool) -> Json:
    """The customer answered the bank's question."""
    if setup["status"] != "requires_action":
        raise unexpected_state("This SetupIntent waits for no authentication.", kind="setup_intent")
    method = world.method(setup["payment_method"])
    setup["next_action"] = None
    if success:
        return _succeed(world, setup, method)
    _failed(world, setup, method, _FAILED_AUTHENTICATION)
    return setup


def cancel(world: World, setup: Json, *, reason: str | None) -> Json:
    """Give up."""
    if setup["status"] not in OPEN:
        raise unexpected_state(
            f"You cannot cancel this SetupIntent because it has a status of {setup['status']}.",
            kind="setup_intent",
        )
    setup.update(status="canceled", cancellation_reason=reason, next_action=None)
    world.emit("setup_intent.canceled", setup, None)
    return setup


def _succeed(world: World, setup: Json, method: Json) -> Json:
    if setup["customer"]:
        methods.attach(world, method, setup["customer"])
    world.set_up.add(method["id"])
    if method["type"] != "card":
        mandate = shapes.mandate(world, method)
        world.mandates[mandate["id"]] = mandate
        setup["mandate"] = mandate["id"]
    setup["status"] = "succeeded"
    world.emit("setup_intent.succeeded", setup, None)
    return setup


def _failed(world: World, setup: Json, method: Json, decline: Decline) -> ApiError:
    last = decline.error() | {"payment_method": copy.deepcopy(method)}
    setup.update(
        status="requires_payment_method", payment_method=None, last_setup_error=last, next_action=None
    )
    world.emit("setup_intent.setup_failed", setup, None)
    return declined(last, setup_intent=copy.deepcopy(setup))
