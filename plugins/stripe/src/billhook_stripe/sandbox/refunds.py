"""Refunds: at most what is left of the charge; at once, or pending until the bank answers."""

from __future__ import annotations

from . import shapes
from .errors import Json, invalid
from .world import World, changed

TAKEN = ("pending", "succeeded", "requires_action")


def create(world: World, given: Json) -> Json:
    """Give money back; the test card for it fails later."""
    charge = _charge(world, given)
    if charge["status"] != "succeeded":
        raise invalid(
            f"Charge {charge['id']} is not paid and cannot be refunded.", code="charge_not_refundable"
        )
    if charge["disputed"]:
        raise invalid(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    left = charge["amount"] - charge["amount_refunded"]
    amount = left if given.get("amount") is None else given["amount"]
    if left == 0:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if not 0 < amount <= left:
        raise invalid(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount"
        )
    later = bool(world.settings.refund_delay) or world.cards[charge["payment_method"]].late
    refund = shapes.refund(
        world,
        charge,
        amount=amount,
        status="pending" if later else "succeeded",
        reason=given.get("reason"),
        metadata=given.get("metadata") or {},
    )
    world.refunds[refund["id"]] = refund
    _book(world, charge)
    world.emit("refund.created", refund, None)
    world.emit("charge.refunded", charge, None)
    fails = world.cards[charge["payment_method"]].refund_fails
    if later or fails:
        world.due[refund["id"]] = world.now(charge["customer"]) + world.settings.refund_delay
    return refund


def settle(world: World, refund: Json) -> None:
    """Let the bank answer."""
    del world.due[refund["id"]]
    charge = world.charge(refund["charge"])
    if not world.cards[charge["payment_method"]].refund_fails:
        changed(world, "refund.updated", refund, status="succeeded")
        return
    before = {"status": refund["status"]}
    refund.update(status="failed", failure_reason="expired_or_canceled_card")
    _book(world, charge)
    world.emit("refund.updated", refund, before)
    world.emit("refund.failed", refund, None)
    world.emit("charge.refund.updated", refund, before)


def _book(world: World, charge: Json) -> None:
    taken = [each for each in world.refunds.values() if each["charge"] == charge["id"]]
    back = sum(each["amount"] for each in taken if each["status"] in TAKEN)
    charge.update(amount_refunded=back, refunded=back == charge["amount"])


def _charge(world: World, given: Json) -> Json:
    if given.get("charge"):
        return world.charge(given["charge"], param="charge")
    if not given.get("payment_intent"):
        raise invalid(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
            param="payment_intent",
        )
    intent = world.intent(given["payment_intent"], param="payment_intent")
    if not intent["latest_charge"]:
        raise invalid(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            code="charge_not_refundable",
        )
    return world.charge(intent["latest_charge"])
