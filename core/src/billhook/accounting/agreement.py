"""One agreement: when it began, was told to end, was taken up again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from billhook.access import facts as access
from billhook.events import (
    SubscriptionCanceled,
    SubscriptionEnded,
    SubscriptionEvent,
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionSuperseded,
    SubscriptionUpdated,
)
from billhook.model import Ref
from billhook.projections.order import time_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of the agreement. ``ended_at`` None: it goes on, or another row took its place."""

    plan: str
    started_at: datetime
    trial_ends_at: datetime | None
    ended_at: datetime | None
    updates: tuple[SubscriptionUpdated, ...]


def agreement_facts(agreement: str, events: Sequence[SubscriptionEvent]) -> Iterator[access.AccessFact]:
    """Translate an agreement from everything said about its rows, in order.

    An end that was scheduled is an end; one that came unannounced is a cancellation, and what was prepaid is still
    the customer's to use, unless the policy says otherwise.
    """
    rows = sorted(_rows(events), key=lambda row: row.started_at)
    over_since: datetime | None = None
    for number, row in enumerate(rows):
        if number == 0:
            yield access.Started(
                at=row.started_at, subscription=agreement, plan=row.plan, trial_ends_at=row.trial_ends_at
            )
        elif over_since is not None and over_since <= row.started_at:
            yield _changed("subscription.reactivated", row.started_at, agreement)
        yield from _schedule(agreement, row)
        over_since = row.ended_at
        if over_since is not None and not _goes_on(rows[number + 1 :], over_since):
            yield _end(agreement, row, over_since)


def _rows(events: Sequence[SubscriptionEvent]) -> Iterator[_Row]:
    by_ref: dict[Ref, list[SubscriptionEvent]] = {}
    for event in events:
        by_ref.setdefault(event.ref, []).append(event)
    for mine in by_ref.values():
        row = _row(mine)
        if row is not None:
            yield row


def _row(events: Sequence[SubscriptionEvent]) -> _Row | None:
    """Read one row; None when it never became active."""
    begun = [
        event for event in events if not isinstance(event, SubscriptionIncomplete | SubscriptionCanceled)
    ]
    if not begun:
        return None
    starts = [event for event in begun if isinstance(event, SubscriptionStarted)]
    ends = [event for event in begun if isinstance(event, SubscriptionEnded)]
    superseded = any(isinstance(event, SubscriptionSuperseded) for event in begun)
    return _Row(
        plan=begun[-1].plan,
        started_at=time_of((starts or begun)[0]),
        trial_ends_at=starts[-1].trial_ends_at if starts else None,
        ended_at=time_of(ends[0]) if ends and not superseded else None,
        updates=tuple(event for event in begun if isinstance(event, SubscriptionUpdated)),
    )


def _schedule(agreement: str, row: _Row) -> Iterator[access.AccessFact]:
    """Each time an end was scheduled, moved or taken back."""
    planned: datetime | None = None
    for update in row.updates:
        if update.ends_at == planned:
            continue
        planned = update.ends_at
        at = max(time_of(update), row.started_at)
        if planned is None:
            yield _changed("subscription.reactivated", at, agreement)
        else:
            yield access.Canceled(at=at, subscription=agreement, mode="at", ends_at=planned)


def _end(agreement: str, row: _Row, ended_at: datetime) -> access.AccessFact:
    planned = row.updates[-1].ends_at if row.updates else None
    if planned is not None and planned <= ended_at:
        return _changed("subscription.ended", ended_at, agreement)
    return access.Canceled(at=ended_at, subscription=agreement)


def _goes_on(later: Sequence[_Row], ended_at: datetime) -> bool:
    """Tell whether another row took over when this one ended: a plan change, whatever the engine called it."""
    return any(
        row.started_at <= ended_at and (row.ended_at is None or row.ended_at > ended_at) for row in later
    )


def _changed(kind: access.LifecycleType, at: datetime, agreement: str) -> access.LifecycleChanged:
    return access.LifecycleChanged(type=kind, at=at, subscription=agreement)
