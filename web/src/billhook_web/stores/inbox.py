"""What was received: one row per delivery, stored before the sender gets its 2xx, never processed twice at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from operator import eq, ge, lt
from typing import Any

from sqlalchemy import and_, bindparam, case, func, or_, select, update

from billhook.provider import Delivery
from billhook_web.db import Tx, skip_locked
from billhook_web.stores.filtering import insert_new, narrowed
from billhook_web.stores.tables import facts, inbox

TOLD = "billhook.told"
"""The type of what came without a delivery: an answer to a question of ours."""


class InboxStatus(StrEnum):
    """How far a delivery has come."""

    RECEIVED = "received"
    PROCESSED = "processed"
    DEAD = "dead"  # not readable, or failed too often: visible, replayable


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """One delivery."""

    id: int
    connection: str
    delivery_key: str
    type: str
    body: bytes
    received_at: datetime
    status: InboxStatus
    attempts: int
    facts: int = 0
    due_at: datetime | None = None
    processed_at: datetime | None = None
    error: str | None = None
    told: str | None = None
    pruned_at: datetime | None = None

    @property
    def has_body(self) -> bool:
        """False: there never was one, or only its facts are kept, in ``told``."""
        return self.pruned_at is None and self.type != TOLD

    @property
    def body_pruned_at(self) -> datetime | None:
        """When the body was taken away; None: it is there, or there never was one."""
        return None if self.type == TOLD else self.pruned_at


def add(tx: Tx, *, connection: str, delivery: Delivery, body: bytes, now: datetime) -> int | None:
    """Store a delivery; None when this connection has had it already."""
    statement = insert_new(tx, inbox).values(
        connection=connection,
        delivery_key=delivery.key,
        content_key=delivery.content_key,
        type=delivery.type[:128],
        body=body,
        received_at=now,
        status=InboxStatus.RECEIVED,
        due_at=now,
    )
    return tx.execute(statement.returning(inbox.c.id)).scalar_one_or_none()


def _claimable() -> Any:
    now = bindparam("now", type_=inbox.c.due_at.type)
    return and_(
        inbox.c.status == InboxStatus.RECEIVED,
        inbox.c.due_at <= now,
        or_(inbox.c.leased_until.is_(None), inbox.c.leased_until <= now),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was heard once: a delivery's body, and as JSON the facts it does not hold."""

    id: int
    connection: str
    type: str
    body: bytes
    told: str | None
    received_at: datetime
    processed_at: datetime
    pruned_at: datetime | None


def claim(tx: Tx, inbox_id: int, *, now: datetime, lease: timedelta) -> InboxRow | None:
    """Take a delivery for processing until the lease ends; None when it is done, not due or taken."""
    row = tx.execute(_claim(), {"of": inbox_id, "now": now, "until": now + lease}).one_or_none()
    return None if row is None else _row(row)


@cache  # built once: building a statement takes SQLAlchemy longer than running it
def _claim() -> Any:
    values = {"leased_until": bindparam("until"), "attempts": inbox.c.attempts + 1}
    theirs = (inbox.c.id == bindparam("of"), _claimable())
    return update(inbox).where(*theirs).values(**values).returning(*_COLUMNS)


def due(tx: Tx, *, now: datetime, limit: int) -> list[tuple[int, datetime]]:
    """List deliveries that wait to be processed, and since when: never woken, or left by a process that died."""
    statement = select(inbox.c.id, inbox.c.due_at).where(_claimable()).order_by(inbox.c.due_at).limit(limit)
    return [(row.id, row.due_at) for row in tx.execute(skip_locked(statement, tx), {"now": now})]


def add_told(tx: Tx, *, connection: str, key: str, told: str, now: datetime) -> int | None:
    """Store facts that came without a delivery, as processed; None when the same were told at the same instant."""
    statement = insert_new(tx, inbox).values(
        connection=connection,
        delivery_key=key,
        type=TOLD,
        body=b"",
        received_at=now,
        status=InboxStatus.PROCESSED,
        due_at=now,
        processed_at=now,
        told=told,
        pruned_at=now,  # there is no body
    )
    return tx.execute(statement.returning(inbox.c.id)).scalar_one_or_none()


def in_order_heard(tx: Tx) -> Sequence[int]:
    """List everything that was heard and understood, in the order in which the ledger took it in.

    The clock does not say it: who waited for the database may be later than whoever read the clock after them. What
    said nothing new comes last.
    """
    t = inbox.c
    taken = (
        select(facts.c.inbox_id, func.min(facts.c.id).label("first")).group_by(facts.c.inbox_id).subquery()
    )
    statement = (
        select(t.id).outerjoin(taken, taken.c.inbox_id == t.id).where(t.status == InboxStatus.PROCESSED)
    )
    return list(
        tx.execute(statement.order_by(taken.c.first.is_(None), taken.c.first, t.processed_at, t.id)).scalars()
    )


def heard(tx: Tx, inbox_ids: Sequence[int]) -> Sequence[Heard]:
    """Return what these deliveries said, in the order asked: what the ledger is made from."""
    t = inbox.c
    columns = (t.id, t.connection, t.type, t.body, t.told, t.received_at, t.processed_at, t.pruned_at)
    rows = {row.id: row for row in tx.execute(select(*columns).where(t.id.in_(inbox_ids)))}
    ordered = (rows[inbox_id] for inbox_id in inbox_ids)
    return [Heard(**{**row._mapping, "body": bytes(row.body)}) for row in ordered]


def finish(
    tx: Tx, inbox_id: int, *, now: datetime, facts: int, told: str | None = None, forget_body: bool = False
) -> None:
    """Mark a delivery as processed; ``facts`` counts what was new, ``told`` is what had to be fetched besides.

    :param forget_body: keep only the facts: ``told`` has them all.
    """
    values: dict[str, Any] = {
        "told": told,
        "status": InboxStatus.PROCESSED,
        "leased_until": None,
        "processed_at": func.coalesce(inbox.c.processed_at, now),  # known since it was first understood
        "facts": facts,
        "error": None,
    }
    if forget_body:
        values |= {"body": b"", "pruned_at": now}
    tx.execute(update(inbox).where(inbox.c.id == inbox_id).values(**values))


def postpone(tx: Tx, inbox_id: int, *, due_at: datetime, error: str) -> None:
    """Give a delivery back, to be tried again at ``due_at``."""
    values = {"due_at": due_at, "leased_until": None, "error": error}
    tx.execute(update(inbox).where(inbox.c.id == inbox_id).values(**values))


def hand_back(tx: Tx, inbox_id: int, *, due_at: datetime) -> None:
    """Give a delivery back whose provider may not be asked now: this was no try."""
    values = {"due_at": due_at, "leased_until": None, "attempts": inbox.c.attempts - 1}
    tx.execute(update(inbox).where(inbox.c.id == inbox_id).values(**values))


def bury(tx: Tx, inbox_id: int, *, now: datetime, error: str) -> None:
    """Move a delivery to the dead letters."""
    values = {"status": InboxStatus.DEAD, "leased_until": None, "processed_at": now, "error": error}
    tx.execute(update(inbox).where(inbox.c.id == inbox_id).values(**values))


def replay(tx: Tx, inbox_id: int, *, now: datetime) -> bool:
    """Put a delivery back to the start, whatever became of it; False when there is none."""
    values = {
        "status": InboxStatus.RECEIVED,
        "due_at": now,
        "leased_until": None,
        "attempts": 0,
        "error": None,
        "processed_at": case((inbox.c.status == InboxStatus.DEAD, None), else_=inbox.c.processed_at),
    }
    return tx.execute(update(inbox).where(inbox.c.id == inbox_id).values(**values)).rowcount == 1


def get(tx: Tx, inbox_id: int) -> InboxRow | None:
    """Return one delivery."""
    row = tx.execute(select(*_COLUMNS).where(inbox.c.id == inbox_id)).one_or_none()
    return None if row is None else _row(row)


def page(
    tx: Tx,
    *,
    connection: str | None = None,
    status: str | None = None,
    type: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> Sequence[InboxRow]:
    """List deliveries, newest first."""
    statement = narrowed(
        select(*_COLUMNS).order_by(inbox.c.id.desc()).limit(limit),
        (eq, inbox.c.connection, connection),
        (eq, inbox.c.status, status),
        (eq, inbox.c.type, type),
        (ge, inbox.c.received_at, since),
        (lt, inbox.c.received_at, until),
        (lt, inbox.c.id, before_id),
    )
    return [_row(row) for row in tx.execute(statement)]


def counts(tx: Tx) -> dict[str, int]:
    """Count deliveries by status."""
    rows = tx.execute(select(inbox.c.status, func.count()).group_by(inbox.c.status))
    return {status: number for status, number in rows}


_COLUMNS = (
    inbox.c.id, inbox.c.connection, inbox.c.delivery_key, inbox.c.type, inbox.c.body, inbox.c.received_at,
    inbox.c.status, inbox.c.attempts, inbox.c.facts, inbox.c.due_at, inbox.c.processed_at, inbox.c.error,
    inbox.c.told, inbox.c.pruned_at,
)  # fmt: skip


def _row(row: Any) -> InboxRow:
    values = dict(row._mapping)
    return InboxRow(**values | {"status": InboxStatus(values["status"]), "body": bytes(values["body"])})
