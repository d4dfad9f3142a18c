"""Access policies: documents that never change, and since when which one counts for whom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, or_, select

from billhook_web.db import Tx
from billhook_web.stores.access_tables import access_assignments, access_policies

DEFAULT = "default"
"""The scope of everybody who has no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One version of a policy's document."""

    id: int
    name: str
    version: int
    document: Mapping[str, Any]
    created_at: datetime
    created_by: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """From ``at`` on this policy counts in a scope: a document, or a plugin's by name; neither: none of its own."""

    id: int
    scope: str
    policy_id: int | None
    plugin: str | None
    at: datetime
    by: str
    note: str | None = None
    customer_id: str | None = None  # whom it touches; None: everybody


def add(
    tx: Tx, *, name: str, document: Mapping[str, Any], now: datetime, by: str, note: str | None = None
) -> PolicyRow:
    """Keep a document as the next version of its name; the newest version again if it says the same."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    last = newest(tx, name)
    if last is not None and json.dumps(last.document, sort_keys=True, separators=(",", ":")) == text:
        return last
    version = last.version + 1 if last else 1
    values = {"name": name, "version": version, "document": text, "created_at": now, "created_by": by}
    statement = insert(access_policies).values(**values, note=note).returning(access_policies.c.id)
    made = tx.execute(statement).scalar_one()
    return PolicyRow(
        id=made, name=name, version=version, document=document, created_at=now, created_by=by, note=note
    )


def get(tx: Tx, policy_id: int) -> PolicyRow | None:
    """Return one document by its number."""
    found = _policies(tx, access_policies.c.id == policy_id)
    return found[0] if found else None


def version_of(tx: Tx, name: str, version: int) -> PolicyRow | None:
    """Return one version of a name."""
    t = access_policies.c
    found = _policies(tx, (t.name == name) & (t.version == version))
    return found[0] if found else None


def newest(tx: Tx, name: str) -> PolicyRow | None:
    """Return the newest version of a name."""
    found = _policies(tx, access_policies.c.name == name)
    return found[-1] if found else None


def versions(tx: Tx, name: str) -> Sequence[PolicyRow]:
    """Return every version of a name, oldest first."""
    return _policies(tx, access_policies.c.name == name)


def names(tx: Tx) -> Sequence[str]:
    """Return the names there are."""
    rows = tx.execute(select(access_policies.c.name).distinct().order_by(access_policies.c.name))
    return list(rows.scalars())


def assign(
    tx: Tx,
    *,
    scope: str,
    customer_id: str | None,
    policy_id: int | None,
    plugin: str | None,
    now: datetime,
    by: str,
    note: str | None = None,
) -> Assignment:
    """Let a policy count in a scope from now on."""
    values = {"scope": scope, "customer_id": customer_id, "policy_id": policy_id, "plugin": plugin, "at": now}
    statement = insert(access_assignments).values(**values, by=by, note=note)
    made = tx.execute(statement.returning(access_assignments.c.id)).scalar_one()
    return Assignment(
        id=made, scope=scope, policy_id=policy_id, plugin=plugin, at=now, by=by, note=note, customer_id=customer_id
    )  # fmt: skip


def assigned(tx: Tx, scope: str, *, at: datetime | None = None) -> Assignment | None:
    """Return what counts in a scope, now or at an instant; None: nothing was ever assigned to it by then."""
    t = access_assignments.c
    statement = select(access_assignments).where(t.scope == scope)
    if at is not None:
        statement = statement.where(t.at <= at)
    row = tx.execute(statement.order_by(t.id.desc()).limit(1)).one_or_none()
    return None if row is None else _assignment(row)


def counting(tx: Tx, customer_ids: Sequence[str], *, since: datetime | None) -> Sequence[Assignment]:
    """Return, oldest first, what was ever assigned to some customers, and for everybody what counts from an instant on.

    :param since: the one that counted then, and all that came later; None: only the newest.
    """
    t = access_assignments.c
    start = select(func.max(t.id)).where(t.scope == DEFAULT)
    if since is not None:
        start = start.where(t.at <= since)
    general = (t.scope == DEFAULT) & (t.id >= func.coalesce(start.scalar_subquery(), 0))
    rows = tx.execute(
        select(access_assignments).where(or_(general, t.customer_id.in_(customer_ids))).order_by(t.id)
    )
    return [_assignment(row) for row in rows]


def assignments(tx: Tx, scope: str, *, limit: int = 50) -> Sequence[Assignment]:
    """Return what counted in a scope over time, newest first."""
    t = access_assignments.c
    rows = tx.execute(select(access_assignments).where(t.scope == scope).order_by(t.id.desc()).limit(limit))
    return [_assignment(row) for row in rows]


def default_mark(tx: Tx) -> int:
    """Return the number of the newest assignment that counts for everybody; 0: none was ever made."""
    statement = select(func.max(access_assignments.c.id)).where(access_assignments.c.scope == DEFAULT)
    return tx.execute(statement).scalar_one() or 0


def _policies(tx: Tx, condition: Any) -> list[PolicyRow]:
    rows = tx.execute(select(access_policies).where(condition).order_by(access_policies.c.version))
    return [
        PolicyRow(
            id=row.id,
            name=row.name,
            version=row.version,
            document=json.loads(row.document),
            created_at=row.created_at,
            created_by=row.created_by,
            note=row.note,
        )
        for row in rows
    ]


def _assignment(row: Any) -> Assignment:
    return Assignment(
        id=row.id,
        scope=row.scope,
        policy_id=row.policy_id,
        plugin=row.plugin,
        at=row.at,
        by=row.by,
        note=row.note,
        customer_id=row.customer_id,
    )
