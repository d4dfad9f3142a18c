"""What operators did: one row for every action, written with it. Rows are added and read, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge, lt
from typing import Any

from sqlalchemy import insert, select

from billhook_web.db import Tx
from billhook_web.stores.filtering import narrowed
from billhook_web.stores.tables import audit

LONGEST = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did what to what. ``actor`` is ``key:<id> <name>``, ``cli:<user>`` or ``host``."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]


def add(
    tx: Tx, *, at: datetime, actor: str, action: str, subject: object, detail: Mapping[str, Any] | None = None
) -> None:
    """Note an action, in the transaction that carries it out.

    :param action: the thing and the verb, as in ``effect.retry``.
    :param detail: what else was said, for JSON. No secrets, and nothing that names a person.
    """
    values = {"at": at, "actor": actor[:LONGEST], "action": action, "subject": str(subject)[:LONGEST]}
    tx.execute(insert(audit).values(**values, detail=json.dumps(detail or {}, default=str)))


def page(
    tx: Tx,
    *,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> Sequence[AuditEntry]:
    """List actions, the newest first."""
    statement = narrowed(
        select(audit).order_by(audit.c.id.desc()).limit(limit),
        (eq, audit.c.actor, actor),
        (eq, audit.c.action, action),
        (eq, audit.c.subject, subject),
        (ge, audit.c.at, since),
        (lt, audit.c.at, until),
        (lt, audit.c.id, before_id),
    )
    return [AuditEntry(**{**row._mapping, "detail": json.loads(row.detail)}) for row in tx.execute(statement)]
