"""Disputes. The API only shows them; banks open and close them."""

from __future__ import annotations

from . import serializers
from .errors import refused
from .records import Dispute, Payment
from .state import World, new_id

OUTCOMES = ("expired", "accepted", "cancelled", "challenged", "won", "lost")


def open_dispute(world: World, payment: Payment, *, amount: int | None = None) -> Dispute:
    """Open a dispute over ``amount`` minor units (None: the whole payment) and announce it."""
    if payment.status != "succeeded":
        raise refused("PAYMENT_NOT_SUCCEEDED", "Only succeeded payments can be disputed")
    dispute = Dispute(
        dispute_id=new_id("dp"),
        payment_id=payment.payment_id,
        amount=payment.quote.total if amount is None else amount,
        currency=payment.quote.currency,
        stage="dispute",
        status="opened",
        reason="fraudulent",
        created_at=world.now(),
    )
    world.disputes[dispute.dispute_id] = dispute
    _announce(world, dispute)
    return dispute


def decide(world: World, dispute: Dispute, outcome: str, *, rdr: bool = False) -> None:
    """Move a dispute on and announce it.

    ``rdr``: resolved by Visa's rapid dispute resolution, which refunds at once: ``lost``, in the pre-dispute stage.
    """
    if outcome not in OUTCOMES:
        raise refused("INVALID_DISPUTE_STATUS", f"expected one of {', '.join(OUTCOMES)}")
    dispute.status = outcome
    if rdr:
        dispute.is_resolved_by_rdr = True
        dispute.stage = "pre_dispute"
    _announce(world, dispute)


def _announce(world: World, dispute: Dispute) -> None:
    world.emit(f"dispute.{dispute.status}", "Dispute", lambda: serializers.dispute(world, dispute))
