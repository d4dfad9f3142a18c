"""What an operator watches, asked of the database: what waits, since when, and whose outcome nobody knows.

Every question is answered from an index over what is open; what is done is never counted, however much there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, select, text, update

from billhook_web.db import Tx
from billhook_web.stores import inbox as deliveries
from billhook_web.stores import outbox
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.outbox import OPEN, EffectStatus
from billhook_web.stores.tables import effects, inbox

SEEN_AT_MOST = 10_000
"""The oldest delivery is looked for among so many: in a longer queue the others are younger, or put off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Effects whose outcome is not known: how many, how many of them for too long, and since when the oldest."""

    count: int
    overdue: int
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How a host is doing. ``inbox`` has what is received or dead; ``effects`` what is open or dead, by kind and status."""

    inbox: Mapping[str, int]
    effects: Mapping[tuple[str, str], int]
    oldest_received_at: datetime | None
    oldest_due_at: datetime | None
    unknown: Unknown

    @property
    def dead(self) -> tuple[int, int]:
        """Dead letters: deliveries and effects."""
        dead = EffectStatus.DEAD
        return self.inbox[InboxStatus.DEAD], sum(
            n for (_, status), n in self.effects.items() if status == dead
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEffect:
    """An effect whose outcome is not known."""

    id: int
    kind: str
    since: datetime


def read(tx: Tx, *, now: datetime, deadline: timedelta) -> Vitals:
    """Take the vitals. An outcome that is unknown for longer than ``deadline`` is overdue."""
    return Vitals(
        inbox=_deliveries(tx),
        effects=_effects(tx),
        oldest_received_at=_oldest_received(tx),
        oldest_due_at=_oldest_due(tx, now),
        unknown=unknown(tx, now=now, deadline=deadline),
    )


def _deliveries(tx: Tx) -> dict[str, int]:
    shown = (InboxStatus.RECEIVED, InboxStatus.DEAD)
    statement = select(inbox.c.status, func.count()).where(inbox.c.status.in_(shown))
    found = {status: number for status, number in tx.execute(statement.group_by(inbox.c.status))}
    return {str(status): found.get(status, 0) for status in shown}


def _effects(tx: Tx) -> dict[tuple[str, str], int]:
    statement = select(effects.c.kind, effects.c.status, func.count())
    statement = statement.where(effects.c.status.in_((*OPEN, EffectStatus.DEAD)))
    rows = tx.execute(statement.group_by(effects.c.kind, effects.c.status))
    return {(kind, status): number for kind, status, number in rows}


def _oldest_received(tx: Tx) -> datetime | None:
    waiting = select(inbox.c.received_at).where(inbox.c.status == InboxStatus.RECEIVED)
    first = waiting.order_by(inbox.c.due_at).limit(SEEN_AT_MOST).subquery()
    oldest: datetime | None = tx.execute(select(func.min(first.c.received_at))).scalar_one()
    return oldest


def _oldest_due(tx: Tx, now: datetime) -> datetime | None:
    statement = select(func.min(effects.c.due_at)).where(effects.c.status.in_(OPEN), effects.c.due_at <= now)
    oldest: datetime | None = tx.execute(statement).scalar_one()
    return oldest


def unknown(tx: Tx, *, now: datetime, deadline: timedelta) -> Unknown:
    """Count the effects whose outcome is not known, dead ones too: a dead letter may have moved money."""
    since = effects.c.unknown_since
    late = func.count().filter(since <= now - deadline)
    row = tx.execute(select(func.count(), late, func.min(since)).where(since.is_not(None))).one()
    return Unknown(count=row[0], overdue=row[1], since=row[2])


def untold(tx: Tx, *, before: datetime) -> bool:
    """Say whether an outcome is unknown since ``before`` and no operator was told."""
    return tx.execute(select(effects.c.id).where(_untold(before)).limit(1)).first() is not None


def mark_told(tx: Tx, *, before: datetime, now: datetime) -> Sequence[UnknownEffect]:
    """Take the effects of which an operator has to be told now; each is returned to one caller, once."""
    statement = update(effects).where(_untold(before)).values(unknown_told_at=now)
    rows = tx.execute(statement.returning(effects.c.id, effects.c.kind, effects.c.unknown_since))
    return [UnknownEffect(id=row.id, kind=row.kind, since=row.unknown_since) for row in rows]


def _untold(before: datetime) -> Any:
    since = effects.c.unknown_since  # "is not null" says the index over few rows can be used
    return and_(since.is_not(None), since <= before, effects.c.unknown_told_at.is_(None))


def stuck_since(tx: Tx, *, before: datetime) -> datetime | None:
    """Return when the oldest work became due that nobody took since ``before``; None: there is none."""
    oldest = (*deliveries.due(tx, now=before, limit=1), *outbox.due(tx, now=before, limit=1))
    return min((due_at for _, due_at in oldest), default=None)


def clock(tx: Tx) -> datetime | None:
    """Return the time of the database's machine; None when it is a file on this one."""
    if tx.dialect.name != "postgresql":
        return None
    at: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    return at
