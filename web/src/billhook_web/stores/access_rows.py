"""Decisions of single customers, read as fast as it can be: past SQLAlchemy, the text as it is stored, several at once.

A round trip costs much more than a row. So what is asked while one is on its way waits for it, and is then read together:
alone nobody waits, and under load a question costs a fraction of a statement.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolExhausted

from billhook_web.db import Database, DatabaseError
from billhook_web.stores.access_tables import access_decisions

MOST = 64
"""Customers read together."""

PATIENCE_SECONDS = 10.0

_STATEMENT = """
SELECT d.customer_id, d.version, d.body, d.policy, d.next_change_at, d.fresh_until,
       (SELECT max(a.id) FROM access_assignments a WHERE a.scope = 'default')
FROM access_decisions d WHERE d.customer_id IN """


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """A stored decision: ``text`` is its JSON, ``ends`` when it reads differently or changes; None: never by itself.

    ``outdated``: another policy counts since, or it is to be made again for another reason.
    """

    version: int
    text: str
    ends: datetime | None
    outdated: bool


def _taken() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Question:
    """A customer whose thread sleeps until ``woken`` is released: it is answered, or ``leads`` and reads the next ones."""

    customer_id: str
    woken: threading.Lock = field(default_factory=_taken)
    leads: bool = False
    row: AnswerRow | None = None
    error: Exception | None = field(default_factory=lambda: PoolExhausted("the database does not answer"))


class AnswerRows:
    """Reads decisions by customer, for all threads of a process, over one connection."""

    def __init__(self, db: Database) -> None:
        self._reader = db.reader()
        self._instant = db.loaded_form(access_decisions.c.next_change_at)
        self._lock = threading.Lock()
        self._queue: list[_Question] = []
        self._led = False
        self._statements: dict[int, str] = {}

    def get(self, customer_id: str) -> AnswerRow | None:
        """Return a customer's decision as it was last stored; None: none was made yet.

        :raises DatabaseError: it cannot be read.
        """
        asked = _Question(customer_id)
        with self._lock:
            self._queue.append(asked)
            asked.leads, self._led = not self._led, True
        if not asked.leads and not asked.woken.acquire(timeout=PATIENCE_SECONDS):
            self._withdraw(asked)
        if asked.leads:
            self._lead(asked)
        if asked.error is not None:
            raise asked.error
        return asked.row

    def _withdraw(self, asked: _Question) -> None:
        """Wait no longer. Who was made leader at this very moment has to lead all the same."""
        with self._lock:
            if not asked.leads and asked in self._queue:
                self._queue.remove(asked)

    def _lead(self, leader: _Question) -> None:
        with self._lock:
            asked, self._queue = self._queue[:MOST], self._queue[MOST:]
        try:
            self._read(asked)
        finally:
            self._hand_over()
            for each in asked:
                if each is not leader:
                    each.woken.release()

    def _hand_over(self) -> None:
        with self._lock:
            self._led = bool(self._queue)
            if self._led:
                self._queue[0].leads = True
                self._queue[0].woken.release()

    def _read(self, asked: Sequence[_Question]) -> None:
        names = sorted({each.customer_id for each in asked})
        try:
            rows = self._reader.execute(self._statement(len(names)), names)
        except DatabaseError as exc:
            for each in asked:
                each.error = exc
            return
        found = {row[0]: self._row(row) for row in rows}
        for each in asked:
            each.row, each.error = found.get(each.customer_id), None

    def _statement(self, count: int) -> str:
        if count not in self._statements:
            self._statements[count] = f"{_STATEMENT}({', '.join(self._reader.marks(count))})"
        return self._statements[count]

    def _row(self, row: tuple[Any, ...]) -> AnswerRow:
        _, version, text, policy, *times, newest = row
        ends = [self._instant(each) for each in times if each is not None]
        outdated = policy < (newest or 0) or policy < 0
        return AnswerRow(version=version, text=text, ends=min(ends, default=None), outdated=outdated)
