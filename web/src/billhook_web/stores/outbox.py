"""What has to happen: effects written in the transaction that made them necessary, carried out one lane at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from operator import eq, ge, lt
from typing import Any

from sqlalchemy import and_, bindparam, case, exists, func, insert, or_, select, update

from billhook.effects import Effect, from_json, to_json
from billhook_web.db import Tx, skip_locked
from billhook_web.stores.filtering import insert_new, narrowed
from billhook_web.stores.tables import effect_attempts, effects


class EffectStatus(StrEnum):
    """How far an effect has come."""

    PENDING = "pending"
    RUNNING = "running"
    UNKNOWN = "unknown"  # it was tried and no answer came: the next attempt looks before it repeats
    DONE = "done"
    SUPERSEDED = "superseded"  # no longer needed when its time came
    DEAD = "dead"  # refused, or failed too often: visible, can be retried


OPEN = (EffectStatus.PENDING, EffectStatus.RUNNING, EffectStatus.UNKNOWN)
# What runs with every effect is built once: building a statement takes SQLAlchemy longer than running it.
_NOW = bindparam("now", type_=effects.c.due_at.type)
_BY_ID = update(effects).where(effects.c.id == bindparam("of"))
_NOTE = insert(effect_attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRow:
    """One effect and how far it has come."""

    id: int
    key: str
    kind: str
    lane: str
    subject: str
    effect: Effect
    status: EffectStatus
    due_at: datetime
    attempts: int
    created_at: datetime
    finished_at: datetime | None
    note: str | None
    error: str | None
    unknown_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectAttempt:
    """One try at an effect."""

    at: datetime
    milliseconds: int
    outcome: str
    detail: str | None


def subject_of(effect: Effect) -> str:
    """Return what an effect is about: its invoice's ref, or the customer's id."""
    invoice = getattr(effect, "invoice", None)
    return str(invoice) if invoice is not None else str(getattr(effect, "customer_id", ""))


def add(tx: Tx, effect: Effect, *, now: datetime) -> int | None:
    """Plan an effect; None when it was planned before."""
    row = {
        "key": effect.key,
        "kind": effect.kind,
        "lane": effect.lane,
        "subject": subject_of(effect),
        "body": to_json(effect),
        "status": EffectStatus.PENDING,
        "due_at": max(now, effect.not_before or now),
        "created_at": now,
    }
    return tx.execute(insert_new(tx, effects, "id"), row).scalar_one_or_none()


def _claimable() -> Any:
    earlier = effects.alias("earlier")
    blocked = exists().where(
        earlier.c.lane == effects.c.lane, earlier.c.id < effects.c.id, earlier.c.status.in_(OPEN)
    )
    return and_(
        effects.c.status.in_(OPEN),
        effects.c.due_at <= _NOW,
        or_(effects.c.leased_until.is_(None), effects.c.leased_until <= _NOW),
        ~blocked,
    )


def claim(tx: Tx, effect_id: int, *, now: datetime, lease: timedelta) -> EffectRow | None:
    """Take an effect until the lease ends; None when it is finished, not due, taken, or behind another in its lane.

    One that still runs was left by a process that died: nobody knows how far that came.
    """
    row = tx.execute(_claim(), {"of": effect_id, "now": now, "until": now + lease}).one_or_none()
    return None if row is None else _row(row)


@cache
def _claim() -> Any:
    since = effects.c.unknown_since
    left_behind = effects.c.status == EffectStatus.RUNNING
    values = {
        "leased_until": bindparam("until"),
        "attempts": effects.c.attempts + 1,
        "status": EffectStatus.RUNNING,
        "unknown_since": case((left_behind, func.coalesce(since, _NOW)), else_=since),
    }
    theirs = (effects.c.id == bindparam("of"), _claimable())
    return update(effects).where(*theirs).values(**values).returning(*_COLUMNS)


def due(tx: Tx, *, now: datetime, limit: int) -> list[tuple[int, datetime]]:
    """List effects whose time has come, and when it came: never woken, to be tried again, or left by a dead process."""
    statement = select(effects.c.id, effects.c.due_at).where(_claimable())
    statement = statement.order_by(effects.c.due_at).limit(limit)
    return [(row.id, row.due_at) for row in tx.execute(skip_locked(statement, tx), {"now": now})]


def next_in_lane(tx: Tx, lane: str, *, now: datetime) -> int | None:
    """Return the effect whose turn it is in a lane, if it is due."""
    return tx.execute(_next_in_lane(), {"of": lane, "now": now}).scalar_one_or_none()


@cache
def _next_in_lane() -> Any:
    theirs = (effects.c.lane == bindparam("of"), _claimable())
    return select(effects.c.id).where(*theirs).order_by(effects.c.id).limit(1)


def finish(
    tx: Tx,
    effect_id: int,
    *,
    status: EffectStatus,
    now: datetime,
    note: str | None = None,
    error: str | None = None,
) -> None:
    """Close an effect as done, superseded or dead: its outcome is known now."""
    values = {"status": status, "leased_until": None, "finished_at": now, "note": note, "error": error}
    tx.execute(_BY_ID, {"of": effect_id, "unknown_since": None, **values})


def give_up(tx: Tx, effect_id: int, *, now: datetime, error: str, unknown: bool) -> None:
    """Move an effect to the dead letters after its last try.

    :param unknown: what came of that try is not known. When it is not known of an earlier one, that stays so.
    """
    since = func.coalesce(effects.c.unknown_since, now) if unknown else effects.c.unknown_since
    values = {"status": EffectStatus.DEAD, "leased_until": None, "finished_at": now, "error": error}
    tx.execute(update(effects).where(_unfinished(effect_id)).values(unknown_since=since, **values))


def postpone(
    tx: Tx, effect_id: int, *, status: EffectStatus, now: datetime, due_at: datetime, error: str
) -> None:
    """Give an effect back, to be tried again at ``due_at``.

    One that was finished meanwhile, by whoever took over when the lease ended, stays so.
    Once its outcome is unknown it stays so until it is settled, also when the next try only failed to look.
    """
    since = effects.c.unknown_since
    values: dict[str, Any] = {"due_at": due_at, "leased_until": None, "error": error}
    if status is EffectStatus.UNKNOWN:
        values |= {"status": status, "unknown_since": func.coalesce(since, now)}
    else:
        values["status"] = case((since.is_not(None), EffectStatus.UNKNOWN), else_=status)
    tx.execute(update(effects).where(_unfinished(effect_id)).values(**values))


def _unfinished(effect_id: int) -> Any:
    return and_(effects.c.id == effect_id, effects.c.status.in_(OPEN))


def put_off(tx: Tx, effect_id: int, *, now: datetime, due_at: datetime) -> None:
    """Let an effect that nobody took wait until ``due_at``: nothing was tried, so nothing else changes."""
    free = or_(effects.c.leased_until.is_(None), effects.c.leased_until <= now)
    statement = update(effects).where(effects.c.id == effect_id, effects.c.status.in_(OPEN), free)
    tx.execute(statement.values(due_at=due_at))


def go_round_again(tx: Tx, effect_id: int, *, due_at: datetime) -> None:
    """Give an effect back that only refreshed what it needs to know: this was no try."""
    values = {
        "status": EffectStatus.PENDING,
        "due_at": due_at,
        "leased_until": None,
        "attempts": effects.c.attempts - 1,
    }
    tx.execute(update(effects).where(effects.c.id == effect_id).values(**values))


def hasten(tx: Tx, effect: Effect, *, now: datetime) -> int | None:
    """Make a waiting effect due now, as ``effect`` says it; None when none with this key waits."""
    statement = (
        update(effects)
        .where(effects.c.key == effect.key, effects.c.status == EffectStatus.PENDING)
        .values(due_at=now, body=to_json(effect))
        .returning(effects.c.id)
    )
    return tx.execute(statement).scalar_one_or_none()


def supersede(tx: Tx, *, lane: str, below_id: int, now: datetime, note: str) -> int:
    """Close what waits in a lane before ``below_id``; what is running goes on."""
    statement = (
        update(effects)
        .where(effects.c.lane == lane, effects.c.id < below_id, effects.c.status == EffectStatus.PENDING)
        .values(status=EffectStatus.SUPERSEDED, finished_at=now, note=note)
    )
    return tx.execute(statement).rowcount


def retry(tx: Tx, effect_id: int, *, now: datetime) -> bool:
    """Try a dead or waiting effect again now; False when it is finished or running.

    A dead effect keeps its count of attempts, so that the next one looks before it repeats.
    """
    allowed = (EffectStatus.DEAD, EffectStatus.PENDING, EffectStatus.UNKNOWN)
    values = {
        "status": EffectStatus.PENDING,
        "due_at": now,
        "leased_until": None,
        "finished_at": None,
        "error": None,
    }
    statement = (
        update(effects).where(effects.c.id == effect_id, effects.c.status.in_(allowed)).values(**values)
    )
    return tx.execute(statement).rowcount == 1


def note_attempt(
    tx: Tx, effect_id: int, *, at: datetime, milliseconds: int, outcome: str, detail: str | None
) -> None:
    """Record one try."""
    values = {
        "effect_id": effect_id,
        "at": at,
        "milliseconds": milliseconds,
        "outcome": outcome,
        "detail": detail,
    }
    tx.execute(_NOTE, values)


def attempts_of(tx: Tx, effect_id: int) -> Sequence[EffectAttempt]:
    """List the tries at an effect, oldest first."""
    t = effect_attempts.c
    statement = (
        select(t.at, t.milliseconds, t.outcome, t.detail).where(t.effect_id == effect_id).order_by(t.id)
    )
    return [EffectAttempt(**row._mapping) for row in tx.execute(statement)]


def get(tx: Tx, effect_id: int) -> EffectRow | None:
    """Return one effect."""
    row = tx.execute(select(*_COLUMNS).where(effects.c.id == effect_id)).one_or_none()
    return None if row is None else _row(row)


def find(tx: Tx, key: str) -> EffectRow | None:
    """Return the effect with this key."""
    row = tx.execute(select(*_COLUMNS).where(effects.c.key == key)).one_or_none()
    return None if row is None else _row(row)


def page(
    tx: Tx,
    *,
    status: str | None = None,
    kind: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> Sequence[EffectRow]:
    """List effects, newest first."""
    statement = narrowed(
        select(*_COLUMNS).order_by(effects.c.id.desc()).limit(limit),
        (eq, effects.c.status, status),
        (eq, effects.c.kind, kind),
        (eq, effects.c.subject, subject),
        (ge, effects.c.created_at, since),
        (lt, effects.c.created_at, until),
        (lt, effects.c.id, before_id),
    )
    return [_row(row) for row in tx.execute(statement)]


def counts(tx: Tx) -> dict[str, int]:
    """Count effects by status."""
    rows = tx.execute(select(effects.c.status, func.count()).group_by(effects.c.status))
    return {status: number for status, number in rows}


_COLUMNS = (
    effects.c.id, effects.c.key, effects.c.kind, effects.c.lane, effects.c.subject, effects.c.body, effects.c.status,
    effects.c.due_at, effects.c.attempts, effects.c.created_at, effects.c.finished_at, effects.c.note, effects.c.error,
    effects.c.unknown_since,
)  # fmt: skip


def _row(row: Any) -> EffectRow:
    values = dict(row._mapping)
    effect = from_json(values.pop("body"))
    return EffectRow(**values | {"status": EffectStatus(values["status"]), "effect": effect})
