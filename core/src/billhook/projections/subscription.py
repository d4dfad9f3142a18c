"""One row of a customer's agreement, from the facts about it."""

from __future__ import annotations

from collections.abc import Sequence

from billhook.events import (
    SubscriptionCanceled,
    SubscriptionEnded,
    SubscriptionEvent,
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionSuperseded,
    SubscriptionTrialEnded,
    SubscriptionUpdated,
)
from billhook.model import Subscription, SubscriptionStatus
from billhook.projections.order import latest, time_of


def project_subscription(facts: Sequence[SubscriptionEvent]) -> Subscription:
    """Compute one row of an agreement from at least one fact about it."""
    last = latest(facts)
    started = [fact for fact in facts if isinstance(fact, SubscriptionStarted)]
    updated = [fact for fact in facts if isinstance(fact, SubscriptionUpdated)]
    start = latest(started) if started else None
    now = latest(updated) if updated else None
    ended = [time_of(fact) for fact in facts if isinstance(fact, SubscriptionEnded | SubscriptionSuperseded)]
    return Subscription(
        ref=last.ref,
        external_id=last.external_id,
        customer_id=last.customer_id,
        plan=last.plan,
        status=_status(facts, start),
        started_at=time_of(start) if start else None,
        trial_ends_at=start.trial_ends_at if start else None,
        previous_plan=start.previous_plan if start else None,
        current_period=now.current_period if now else None,
        next_plan=now.next_plan if now else None,
        next_plan_on=now.next_plan_on if now else None,
        ends_at=now.ends_at if now else None,
        ended_at=min(ended) if ended else None,
    )


def _status(facts: Sequence[SubscriptionEvent], start: SubscriptionStarted | None) -> SubscriptionStatus:
    kinds = {type(fact) for fact in facts}
    if SubscriptionEnded in kinds:
        return SubscriptionStatus.ENDED
    if SubscriptionSuperseded in kinds:
        return SubscriptionStatus.SUPERSEDED
    if SubscriptionCanceled in kinds:
        return SubscriptionStatus.CANCELED
    if start is None and SubscriptionIncomplete in kinds:
        return SubscriptionStatus.INCOMPLETE
    return SubscriptionStatus.TRIALING if _in_trial(facts, start) else SubscriptionStatus.ACTIVE


def _in_trial(facts: Sequence[SubscriptionEvent], start: SubscriptionStarted | None) -> bool:
    """Tell whether the last we heard was within the trial; the message that it ended may have been lost."""
    if start is None or start.trial_ends_at is None:
        return False
    over = any(isinstance(fact, SubscriptionTrialEnded) for fact in facts)
    return not over and time_of(latest(facts)) < start.trial_ends_at
