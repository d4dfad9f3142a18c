"""What is due and was not woken: the safety net under every queue message, and the timer of everything dated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billhook_web.db import Database
from billhook_web.stores import inbox, outbox, outgoing

BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Rows whose time has come, each with the instant it came: a row that was put off again is another one."""

    inbox: tuple[tuple[int, datetime], ...]
    effects: tuple[tuple[int, datetime], ...]
    webhooks: tuple[tuple[int, datetime], ...]  # endpoints, not deliveries


def sweep(db: Database, *, now: datetime) -> Due:
    """Find, by index, at most :data:`BATCH` deliveries and effects that are due and not taken, and whom webhooks are due for."""
    with db.read() as tx:
        return Due(
            inbox=tuple(inbox.due(tx, now=now, limit=BATCH)),
            effects=tuple(outbox.due(tx, now=now, limit=BATCH)),
            webhooks=tuple(outgoing.due_endpoints(tx, now=now)),
        )
