"""Decisions of single customers, read as fast as it can be: past SQLAlchemy, the text as it is stored, several at once.

A round trip costs much more than a row. So what is asked while one is on its way is then read together
(:mod:`billhook_web.stores.batching`): alone nobody waits, and under load a question costs a fraction of a statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolExhausted

from billhook_web.db import Database, DatabaseError
from billhook_web.stores.access_tables import access_decisions
from billhook_web.stores.batching import Batching

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


@dataclass(slots=True)
class _Question:
    """A customer who is asked about. ``error``: why there is no answer; None: there is, in ``row``."""

    customer_id: str
    row: AnswerRow | None = None
    error: Exception | None = field(default_factory=lambda: PoolExhausted("the database does not answer"))


class AnswerRows:
    """Reads decisions by customer, for all threads of a process, over one connection."""

    def __init__(self, db: Database) -> None:
        self._reader = db.reader()
        self._instant = db.loaded_form(access_decisions.c.next_change_at)
        self._batching = Batching(self._read, most=MOST, patience_seconds=PATIENCE_SECONDS)
        self._statements: dict[int, str] = {}

    def get(self, customer_id: str) -> AnswerRow | None:
        """Return a customer's decision as it was last stored; None: none was made yet.

        :raises DatabaseError: it cannot be read.
        """
        asked = _Question(customer_id)
        self._batching.add(asked)
        if asked.error is not None:
            raise asked.error
        return asked.row

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
