"""What Lago's subscription rows mean.

A row is one stretch of an agreement on one plan; a plan change ends the row and starts another with the same
``external_id`` and a new ``lago_id``. Lago says *terminated* for both the old half of a change and a real end, and
nothing in the row tells them apart: only a look at whether the agreement goes on does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypedDict

from billhook.errors import PayloadInvalid
from billhook.events import (
    Event,
    Refetch,
    SubscriptionCanceled,
    SubscriptionEnded,
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionSuperseded,
    SubscriptionTrialEnded,
    SubscriptionUpdated,
)
from billhook.model import Ref, Subscription, SubscriptionStatus
from billhook_lago.catalogue import trial_days
from billhook_lago.reading import Json, day, instant, obj_or_empty, period, text, text_or_none

END = "subscription_end"
"""The kind of :class:`Refetch` that asks whether an ended row was superseded."""


class RowStatus(StrEnum):
    """Lago's own words for where a row stands."""

    PENDING = "pending"
    INCOMPLETE = "incomplete"
    ACTIVE = "active"
    TERMINATED = "terminated"
    CANCELED = "canceled"


class _Row(TypedDict):
    ref: Ref
    external_id: str
    customer_id: str
    plan: str


def row_status(body: Json) -> RowStatus:
    """Return where the row stands."""
    try:
        return RowStatus(text(body, "status"))
    except ValueError:
        raise PayloadInvalid("status is not a subscription status we know") from None


def _row(connection: str, body: Json) -> _Row:
    payer = text_or_none(body, "external_customer_id") or text(obj_or_empty(body, "customer"), "external_id")
    return _Row(
        ref=Ref(connection, text(body, "lago_id")),
        external_id=text(body, "external_id"),
        customer_id=payer,
        plan=text(body, "plan_code"),
    )


def started(connection: str, body: Json) -> Sequence[Event | Refetch]:
    """Read a row that has become active; it may have gone on since, for Lago renders it when it sends it."""
    if row_status(body) is not RowStatus.ACTIVE:
        return standing(connection, body)
    return [start(connection, body), updated(connection, body)]


def start(connection: str, body: Json) -> SubscriptionStarted:
    """Read that a row has begun, whatever became of it since."""
    return SubscriptionStarted(
        at=instant(body, "started_at") or instant(body, "subscription_at"),
        trial_ends_at=trial_end(body),
        previous_plan=text_or_none(body, "previous_plan_code"),
        **_row(connection, body),
    )


def standing(connection: str, body: Json) -> Sequence[Event | Refetch]:
    """Read a row as it stands. A pending one means nothing yet: it will be announced when it starts."""
    match row_status(body):
        case RowStatus.ACTIVE:
            return [updated(connection, body)]
        case RowStatus.INCOMPLETE:
            return [SubscriptionIncomplete(at=instant(body, "started_at"), **_row(connection, body))]
        case RowStatus.CANCELED:
            return [canceled(connection, body)]
        case RowStatus.TERMINATED:
            return [look_at_end(connection, body)]
        case RowStatus.PENDING:
            return []


def updated(connection: str, body: Json) -> SubscriptionUpdated:
    """Read what is scheduled and the current period, undated."""
    return SubscriptionUpdated(
        current_period=period(body, "current_billing_period_started_at", "current_billing_period_ending_at"),
        next_plan=text_or_none(body, "next_plan_code"),
        next_plan_on=day(body, "downgrade_plan_date"),
        ends_at=instant(body, "ending_at"),
        **_row(connection, body),
    )


def trial_ended(connection: str, body: Json) -> SubscriptionTrialEnded:
    """Read that the trial is over."""
    return SubscriptionTrialEnded(at=instant(body, "trial_ended_at"), **_row(connection, body))


def canceled(connection: str, body: Json) -> SubscriptionCanceled:
    """Read a row that never became active."""
    reason = text_or_none(body, "cancellation_reason")
    return SubscriptionCanceled(at=instant(body, "canceled_at"), reason=reason, **_row(connection, body))


def stopped(connection: str, body: Json) -> Sequence[Event | Refetch]:
    """Read ``subscription.canceled``: to Lago an activation that failed; senders that copy older names mean an end."""
    was_active = row_status(body) is RowStatus.CANCELED and text_or_none(body, "activated_at")
    return [look_at_end(connection, body)] if was_active else standing(connection, body)


def look_at_end(connection: str, body: Json) -> Refetch:
    """Ask whether a row that is over was the end of the agreement."""
    row = _row(connection, body)
    ended_at = instant(body, "terminated_at") or instant(body, "canceled_at")
    hints = {
        "lago_id": row["ref"].id,
        "customer_id": row["customer_id"],
        "plan": row["plan"],
        "ended_at": ended_at.isoformat() if ended_at else "",
        "reason": text_or_none(body, "cancellation_reason") or "",
    }
    return Refetch(kind=END, id=row["external_id"], hints=hints)


def end_fact(connection: str, thing: Refetch, live: Json | None) -> Event:
    """Say how a row ended, given the agreement's active row (None: there is none).

    A row without a previous plan that started later is a new agreement under an old id, not a plan change.
    """
    ended_at = instant(thing.hints, "ended_at")
    row = _Row(
        ref=Ref(connection, text(thing.hints, "lago_id")),
        external_id=thing.id,
        customer_id=text(thing.hints, "customer_id"),
        plan=text(thing.hints, "plan"),
    )
    if live is not None and not _is_new_agreement(live, ended_at):
        return SubscriptionSuperseded(at=ended_at, **row)
    return SubscriptionEnded(at=ended_at, reason=text_or_none(thing.hints, "reason"), **row)


def _is_new_agreement(live: Json, ended_at: datetime | None) -> bool:
    began = instant(live, "started_at")
    fresh = text_or_none(live, "previous_plan_code") is None
    return fresh and began is not None and ended_at is not None and began > ended_at


def trial_end(body: Json) -> datetime | None:
    """Return when the running trial ends; None: there is none, or it is over.

    Lago names only a trial that is over. It counts from the agreement's first start, so the new half of a plan
    change (which restarts no trial) cannot tell.
    """
    began = instant(body, "started_at")
    days = trial_days(obj_or_empty(body, "plan"))
    over = text_or_none(body, "trial_ended_at") or text_or_none(body, "previous_plan_code")
    return began + timedelta(days=days) if began is not None and days and not over else None


def subscription(connection: str, body: Json, *, now: datetime, superseded: bool = False) -> Subscription:
    """Read a row as a value. ``superseded``: the agreement went on after it."""
    trial_ends_at = trial_end(body)
    in_trial = trial_ends_at is not None and now < trial_ends_at
    return Subscription(
        status=_status(row_status(body), in_trial=in_trial, superseded=superseded),
        started_at=instant(body, "started_at"),
        trial_ends_at=trial_ends_at,
        current_period=period(body, "current_billing_period_started_at", "current_billing_period_ending_at"),
        previous_plan=text_or_none(body, "previous_plan_code"),
        next_plan=text_or_none(body, "next_plan_code"),
        next_plan_on=day(body, "downgrade_plan_date"),
        ends_at=instant(body, "ending_at"),
        ended_at=instant(body, "terminated_at") or instant(body, "canceled_at"),
        **_row(connection, body),
    )


def _status(status: RowStatus, *, in_trial: bool, superseded: bool) -> SubscriptionStatus:
    match status:
        case RowStatus.ACTIVE:
            return SubscriptionStatus.TRIALING if in_trial else SubscriptionStatus.ACTIVE
        case RowStatus.TERMINATED:
            return SubscriptionStatus.SUPERSEDED if superseded else SubscriptionStatus.ENDED
        case RowStatus.PENDING:
            return SubscriptionStatus.PENDING
        case RowStatus.INCOMPLETE:
            return SubscriptionStatus.INCOMPLETE
        case RowStatus.CANCELED:
            return SubscriptionStatus.CANCELED
