"""Ingress, in one statement for all who come at the same time: what several threads store is committed together.

A commit is mostly waiting, so what comes while one is under way is stored by the next (:mod:`billhook_web.stores.batching`).
Alone, a delivery is one statement, committed by itself. Everybody is told only after the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from billhook.provider import Delivery
from billhook_web.db import Database, DatabaseError
from billhook_web.stores.batching import Batching
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.tables import inbox

MOST = 64
"""Rows of one statement at most: more would hold the first back for the last."""

PATIENCE_SECONDS = 30.0
"""How long a delivery waits for the threads before it."""

_COLUMNS = ("connection", "delivery_key", "content_key", "type", "body", "received_at", "due_at", "status")


@dataclass(slots=True, kw_only=True)
class _Row:
    """A delivery to be stored. ``error``: why it is not known to be; None: it is, or was there already."""

    connection: str
    delivery: Delivery
    body: bytes
    at: datetime
    inbox_id: int | None = None
    error: Exception | None = field(
        default_factory=lambda: PoolExhausted("nobody knows whether it is stored")
    )


class Gathering:
    """Stores the deliveries of all threads of a process."""

    def __init__(self, db: Database) -> None:
        self._writer = db.writer()
        self._stored_time = db.stored_form(inbox.c.received_at)
        self._batching = Batching(self._store, most=MOST, patience_seconds=PATIENCE_SECONDS)
        self._statements: dict[int, str] = {}

    def add(self, *, connection: str, delivery: Delivery, body: bytes, now: datetime) -> int | None:
        """Store a delivery durably and return its id; None when this connection has had it already.

        :raises billhook_web.db.DatabaseError: it is not known to be stored; the sender must send it again.
        """
        row = _Row(connection=connection, delivery=delivery, body=body, at=now)
        self._batching.add(row)
        if row.error is not None:
            raise row.error
        return row.inbox_id

    def _store(self, rows: Sequence[_Row]) -> None:
        """Store all at once; when the database refuses that for what a row says, each alone: only that row must fail."""
        try:
            self._insert(rows)
        except DatabaseError as exc:
            if len(rows) > 1 and not isinstance(exc, OperationalError | PoolExhausted):
                for row in rows:
                    self._store([row])
                return
            for row in rows:
                row.error = exc

    def _insert(self, rows: Sequence[_Row]) -> None:
        """Insert in one order for everybody, so that two processes never wait for each other."""
        ordered = sorted(rows, key=lambda row: (row.connection, row.delivery.key))
        statement = self._statements.get(len(rows)) or self._statement(len(rows))
        stored = self._writer.execute(statement, [value for row in ordered for value in self._values(row)])
        ids = {(connection, key): inbox_id for inbox_id, connection, key in stored}
        for row in rows:
            row.inbox_id = ids.pop((row.connection, row.delivery.key), None)
            row.error = None

    def _statement(self, count: int) -> str:
        width = len(_COLUMNS)
        marks = self._writer.marks(count * width)
        values = ", ".join(f"({', '.join(marks[at : at + width])})" for at in range(0, len(marks), width))
        self._statements[count] = (
            f"INSERT INTO inbox ({', '.join(_COLUMNS)}) VALUES {values} "  # noqa: S608 - no input
            "ON CONFLICT DO NOTHING RETURNING id, connection, delivery_key"
        )
        return self._statements[count]

    def _values(self, row: _Row) -> tuple[object, ...]:
        at, key = self._stored_time(row.at), row.delivery
        kind = key.type[:128]
        return (row.connection, key.key, key.content_key, kind, row.body, at, at, InboxStatus.RECEIVED.value)
