"""Ending a subscription because an access policy says so: looked at once more when it comes to it."""

from __future__ import annotations

from billhook.effects import CancelSubscription
from billhook.errors import Refused
from billhook.model import Subscription, SubscriptionStatus
from billhook.provider import CancelWhen, SupportsSubscriptions
from billhook_web.db import Tx
from billhook_web.services.connections import Connections
from billhook_web.stores import access, billing

_OVER = (SubscriptionStatus.ENDED, SubscriptionStatus.CANCELED, SubscriptionStatus.SUPERSEDED)


def not_needed(tx: Tx, effect: CancelSubscription) -> str | None:
    """Say why the subscription is not to be ended any more; None: it is."""
    found = billing.subscriptions.get(tx, effect.subscription)
    if found is None or found.status in _OVER:
        return "The subscription is over already."
    if not effect.at_once and found.ends_at is not None:
        return "Its end is scheduled already."
    stored = access.get(tx, effect.customer_id)
    if stored is None or stored.body.get("standing") != effect.standing:
        return f"The customer is not {effect.standing} any more."
    return None


def cancel(
    tx: Tx, connections: Connections, effect: CancelSubscription
) -> tuple[SupportsSubscriptions, Subscription]:
    """Return the engine to ask and the subscription to end there.

    :raises Refused: the engine cannot end subscriptions.
    """
    engine = connections.engine(effect.subscription.connection)
    found = billing.subscriptions.get(tx, effect.subscription)
    if not isinstance(engine, SupportsSubscriptions) or found is None:
        raise Refused(f"{engine.info.title} cannot end a subscription through its API: end it there by hand.")
    return engine, found


def when(effect: CancelSubscription) -> CancelWhen:
    """Return when it is to end, in the engine's words."""
    return CancelWhen.NOW if effect.at_once else CancelWhen.PERIOD_END
