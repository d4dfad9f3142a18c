"""Secrets of connections, sealed. A rotated one stays beside its successor until it expires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from datetime import datetime

from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from billhook_web.db import Tx, lock
from billhook_web.stores.tables import connection_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """One sealed value. ``expires_at``: it was rotated and is valid until then; None: it is the current one."""

    id: int
    connection: str
    field: str
    sealed: str = attribute(repr=False)
    set_at: datetime
    expires_at: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether it is valid now."""
        return self.expires_at is None or self.expires_at > now


def purpose(connection: str, field: str) -> str:
    """Return what a connection's secret is sealed for."""
    return f"connection:{connection}:{field}"


def all_of(tx: Tx) -> Sequence[StoredSecret]:
    """Return every value, of each field the current one first, then the rotated ones, the latest first."""
    t = connection_secrets
    rows = tx.execute(select(t).order_by(t.c.connection, t.c.field, t.c.id.desc()))
    return [StoredSecret(**row._mapping) for row in rows]


def put(tx: Tx, connection: str, field: str, *, sealed: str, now: datetime) -> None:
    """Make this the only value of the field, from now on."""
    remove(tx, connection, field)
    _add(tx, connection, field, sealed=sealed, now=now)


def rotate(tx: Tx, connection: str, field: str, *, sealed: str, now: datetime, until: datetime) -> bool:
    """Make this the current value and keep the one before valid ``until``; False: there is none to keep."""
    _alone(tx, connection, field)
    t = connection_secrets
    current = and_(_of(connection, field), t.c.expires_at.is_(None))
    if tx.execute(update(t).where(current).values(expires_at=until)).rowcount == 0:
        return False
    _add(tx, connection, field, sealed=sealed, now=now)
    return True


def remove(tx: Tx, connection: str, field: str) -> bool:
    """Forget all values of the field; False: there was none."""
    _alone(tx, connection, field)
    return tx.execute(delete(connection_secrets).where(_of(connection, field))).rowcount > 0


def forget_expired(tx: Tx, *, now: datetime) -> int:
    """Delete values whose overlap is over; return how many."""
    return tx.execute(delete(connection_secrets).where(connection_secrets.c.expires_at <= now)).rowcount


def _add(tx: Tx, connection: str, field: str, *, sealed: str, now: datetime) -> None:
    values = {"connection": connection, "field": field, "sealed": sealed, "set_at": now}
    tx.execute(insert(connection_secrets).values(**values))


def _alone(tx: Tx, connection: str, field: str) -> None:
    lock(tx, [f"secret {connection} {field}"])


def _of(connection: str, field: str) -> ColumnElement[bool]:
    return and_(connection_secrets.c.connection == connection, connection_secrets.c.field == field)
