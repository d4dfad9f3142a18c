"""Disputes: the bank takes a payment back, evidence is sent, somebody decides. The money goes with the opening."""

from __future__ import annotations

from . import shapes
from .errors import Json, invalid
from .world import World, changed, new_id

CLOSED = ("won", "lost", "warning_closed", "prevented")


def open_dispute(world: World, charge: Json, *, amount: int | None, reason: str = "fraudulent") -> Json:
    """Open a dispute over ``amount`` minor units, None for all of the charge."""
    if charge["status"] != "succeeded" or charge["disputed"]:
        raise invalid("Only a charge that succeeded can be disputed, and only once.")
    dispute = shapes.dispute(world, charge, amount=amount or charge["amount"], reason=reason)
    world.disputes[dispute["id"]] = dispute
    charge["disputed"] = True
    world.emit("charge.dispute.created", dispute, None)
    dispute["balance_transactions"] = [_booking(dispute, sign=-1)]
    world.emit("charge.dispute.funds_withdrawn", dispute, None)
    return dispute


def update(world: World, dispute: Json, given: Json) -> Json:
    """Take evidence, and send it to the bank when asked to."""
    _check_open(dispute)
    evidence = dispute["evidence"] | (given.get("evidence") or {})
    details = dispute["evidence_details"] | {"has_evidence": bool(evidence)}
    values: Json = {"evidence": evidence, "evidence_details": details}
    if given.get("submit", True) and evidence:
        values["evidence_details"] = details | {"submission_count": details["submission_count"] + 1}
        values["status"] = "under_review"
    changed(world, "charge.dispute.updated", dispute, **values)
    return dispute


def close(world: World, dispute: Json, status: str) -> Json:
    """Decide: ``won`` brings the money back, ``lost`` does not."""
    _check_open(dispute)
    if status not in CLOSED:
        raise invalid(f"A dispute ends as one of {', '.join(CLOSED)}", param="status")
    dispute["status"] = status
    world.emit("charge.dispute.closed", dispute, None)
    if status != "lost":
        dispute["balance_transactions"].append(_booking(dispute, sign=1))
        world.emit("charge.dispute.funds_reinstated", dispute, None)
    return dispute


def _check_open(dispute: Json) -> None:
    if dispute["status"] in CLOSED:
        raise invalid("This dispute is already closed")


def _booking(dispute: Json, *, sign: int) -> Json:
    return {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": sign * dispute["amount"],
        "currency": dispute["currency"],
        "type": "adjustment",
    }
