"""Ingress, in one statement for all who come at the same time: what several threads store is committed together.

A commit is mostly waiting: for the disk, for the server's answer, for SQLite's one write lock. So the first thread to come
leads: it stores what it brought, and what others bring meanwhile the next leader stores, all at once. Nobody waits for
company: alone, a delivery is one statement, committed by itself. Everybody is told only after the commit.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from billhook.provider import Delivery
from billhook_web.db import Database, DatabaseError
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.tables import inbox

MOST = 64
"""Rows of one statement at most: more would hold the first back for the last."""

PATIENCE_SECONDS = 30.0
"""How long a delivery waits for the threads before it."""

_COLUMNS = ("connection", "delivery_key", "content_key", "type", "body", "received_at", "due_at", "status")


def _taken() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, kw_only=True)
class _Row:
    """A delivery whose thread sleeps until ``woken`` is released: it is settled, or ``leads`` and stores the next rows."""

    connection: str
    delivery: Delivery
    body: bytes
    at: datetime
    woken: threading.Lock = field(default_factory=_taken)
    leads: bool = False
    inbox_id: int | None = None
    error: Exception | None = field(
        default_factory=lambda: PoolExhausted("nobody knows whether it is stored")
    )


class Gathering:
    """Stores the deliveries of all threads of a process."""

    def __init__(self, db: Database) -> None:
        self._writer = db.writer()
        self._stored_time = db.stored_form(inbox.c.received_at)
        self._lock = threading.Lock()
        self._queue: list[_Row] = []
        self._led = False
        self._statements: dict[int, str] = {}

    def add(self, *, connection: str, delivery: Delivery, body: bytes, now: datetime) -> int | None:
        """Store a delivery durably and return its id; None when this connection has had it already.

        :raises billhook_web.db.DatabaseError: it is not known to be stored; the sender must send it again.
        """
        row = _Row(connection=connection, delivery=delivery, body=body, at=now)
        with self._lock:
            self._queue.append(row)
            row.leads, self._led = not self._led, True
        if not row.leads and not row.woken.acquire(timeout=PATIENCE_SECONDS):
            self._withdraw(row)
        if row.leads:
            self._lead(row)
        if row.error is not None:
            raise row.error
        return row.inbox_id

    def _withdraw(self, row: _Row) -> None:
        """Wait no longer. Who was made leader at this very moment has to lead all the same."""
        with self._lock:
            if not row.leads and row in self._queue:
                self._queue.remove(row)

    def _lead(self, leader: _Row) -> None:
        with self._lock:
            rows, self._queue = self._queue[:MOST], self._queue[MOST:]
        try:
            self._store(rows)
        finally:
            self._hand_over()
            for row in rows:
                if row is not leader:
                    row.woken.release()

    def _hand_over(self) -> None:
        with self._lock:
            self._led = bool(self._queue)
            if self._led:
                self._queue[0].leads = True
                self._queue[0].woken.release()

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
