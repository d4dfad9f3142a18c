"""One customer's decision, read as fast as it can be: one prepared statement past SQLAlchemy, the text as it is stored."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

from billhook_web.db import Database, Reader
from billhook_web.stores.access_tables import access_decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """A stored decision: ``text`` is its JSON, ``ends`` when it reads differently or changes; None: never by itself.

    ``outdated``: another policy counts since, or it is to be made again for another reason.
    """

    version: int
    text: str
    ends: datetime | None
    outdated: bool


class AnswerRows:
    """Reads decisions by customer. Threads share it: each statement has a connection to itself, kept for the next."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._idle: deque[Reader] = deque()
        self._instant = db.loaded_form(access_decisions.c.next_change_at)
        (mark,) = db.writer().marks(1)
        self._statement = (
            "SELECT d.version, d.body, d.policy, d.next_change_at, d.fresh_until, "
            "(SELECT max(a.id) FROM access_assignments a WHERE a.scope = 'default') "
            f"FROM access_decisions d WHERE d.customer_id = {mark}"  # noqa: S608 - a parameter's mark
        )

    def get(self, customer_id: str) -> AnswerRow | None:
        """Return a customer's decision as it was last stored; None: none was made yet.

        :raises DatabaseError: it cannot be read.
        """
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = self._db.reader()
        try:
            rows = reader.execute(self._statement, (customer_id,))
        finally:
            self._idle.append(reader)
        if not rows:
            return None
        version, text, policy, *times, newest = rows[0]
        ends = [self._instant(each) for each in times if each is not None]
        return AnswerRow(
            version=version, text=text, ends=min(ends, default=None), outdated=policy < (newest or 0) or policy < 0
        )
