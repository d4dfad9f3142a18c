"""Telling operators of outcomes that stay unknown: once for each, when the deadline has passed."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from billhook_web.db import Database
from billhook_web.stores import vitals

log = structlog.get_logger(__name__)


def tell_overdue(db: Database, *, now: datetime, deadline: timedelta) -> int:
    """Write an error for each effect whose outcome is unknown for longer than ``deadline``; return how many.

    The line is written before the commit: if the process dies between the two it is written again rather than never.
    """
    before = now - deadline
    with db.read() as tx:
        if not vitals.untold(tx, before=before):
            return 0
    with db.begin() as tx:
        overdue = vitals.mark_told(tx, before=before, now=now)
        for effect in overdue:
            log.error(
                "effect.outcome_unknown_too_long",
                effect_id=effect.id,
                kind=effect.kind,
                since=effect.since.isoformat(),
            )
    return len(overdue)
