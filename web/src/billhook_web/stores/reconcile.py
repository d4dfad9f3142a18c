"""Reconciliation runs, one open at a time for each connection, and the gaps they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from operator import eq, ge, lt
from typing import Any

from sqlalchemy import func, insert, or_, select, update

from billhook.model import Ref
from billhook_web.db import Tx
from billhook_web.stores.filtering import insert_new, narrowed
from billhook_web.stores.tables import gaps, reconcile_runs


class RunStatus(StrEnum):
    """How far a run has come."""

    RUNNING = "running"  # or stopped in between: whoever takes it next goes on where it was
    DONE = "done"
    FAILED = "failed"  # given up; the next one begins where the last good one ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: the window it looks through (``since`` None: everything) and how far it has come.

    ``mark``: nothing older is missing once it is done; None: some time was never looked at. ``takes`` counts who took
    it up, and only the last of them may write.
    """

    id: int
    connection: str
    status: RunStatus
    since: datetime | None
    until: datetime
    mark: datetime | None
    cursor: str | None
    takes: int
    leased_until: datetime | None
    seen: int
    facts: int
    gaps: int
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The provider had something and no webhook told us. ``changed`` names what we did not know; ``at`` is when it
    happened, where the provider says so."""

    kind: str
    ref: Ref
    changed: tuple[str, ...]
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow(Gap):
    """A gap as stored, with the run that found it."""

    id: int
    run_id: int
    found_at: datetime


_RUN = tuple(reconcile_runs.c[field.name] for field in fields(Run))


def take(tx: Tx, connection: str, *, now: datetime, lease: timedelta) -> Run | None:
    """Take up the connection's open run until the lease ends; None when none is open or somebody works on it."""
    t = reconcile_runs.c
    statement = (
        update(reconcile_runs)
        .where(t.open_key == connection, or_(t.leased_until.is_(None), t.leased_until <= now))
        .values(leased_until=now + lease, takes=t.takes + 1, updated_at=now)
        .returning(*_RUN)
    )
    row = tx.execute(statement).one_or_none()
    return None if row is None else _run(row)


def begin(tx: Tx, connection: str, *, since: datetime | None, now: datetime, lease: timedelta) -> Run | None:
    """Open a run up to ``now`` and take it; None when one is open already."""
    before = marked(tx, connection)
    joined = since is None or (before is not None and since <= before)
    statement = insert_new(tx, reconcile_runs).values(
        connection=connection,
        open_key=connection,
        status=RunStatus.RUNNING,
        since=since,
        until=now,
        mark=now if joined else before,
        takes=1,
        gaps_before=func.coalesce(_found_so_far(connection), 0),
        leased_until=now + lease,
        started_at=now,
        updated_at=now,
    )
    row = tx.execute(statement.returning(*_RUN)).one_or_none()
    return None if row is None else _run(row)


def advance(
    tx: Tx, run: Run, *, cursor: str | None, seen: int, facts: int, found: Sequence[Gap], now: datetime,
    lease: timedelta,
) -> bool:  # fmt: skip
    """Keep that a page was applied; False when another has taken the run since: undo what was done."""
    t = reconcile_runs.c
    statement = (
        update(reconcile_runs)
        .where(t.id == run.id, t.takes == run.takes, t.status == RunStatus.RUNNING)
        .values(
            cursor=cursor,
            seen=t.seen + seen,
            facts=t.facts + facts,
            gaps=t.gaps + len(found),
            leased_until=now + lease,
            updated_at=now,
        )
    )
    if tx.execute(statement).rowcount != 1:
        return False
    if found:
        tx.execute(insert(gaps), [_gap_values(run, gap, now) for gap in found])
    return True


def release(tx: Tx, run: Run, *, until: datetime, now: datetime, error: str | None = None) -> None:
    """Let go of a run that is to go on later, not before ``until``; ``error`` says why."""
    t = reconcile_runs.c
    values = {"leased_until": until, "updated_at": now, "error": error}
    tx.execute(update(reconcile_runs).where(t.id == run.id, t.takes == run.takes).values(**values))


def finish(tx: Tx, run: Run, *, status: RunStatus, now: datetime, error: str | None = None) -> None:
    """Close a run."""
    t = reconcile_runs.c
    values = {
        "status": status, "open_key": None, "leased_until": None, "updated_at": now, "finished_at": now, "error": error,
    }  # fmt: skip
    tx.execute(update(reconcile_runs).where(t.id == run.id, t.takes == run.takes).values(**values))


def marked(tx: Tx, connection: str) -> datetime | None:
    """Return up to when nothing is missing; None: no run has said so."""
    t = reconcile_runs.c
    statement = select(func.max(t.mark)).where(t.connection == connection, t.status == RunStatus.DONE)
    mark: datetime | None = tx.execute(statement).scalar_one()
    return mark


def get(tx: Tx, run_id: int) -> Run | None:
    """Return one run."""
    row = tx.execute(select(*_RUN).where(reconcile_runs.c.id == run_id)).one_or_none()
    return None if row is None else _run(row)


def newest(tx: Tx, connection: str) -> Run | None:
    """Return a connection's last run."""
    runs = page_runs(tx, connection=connection, limit=1)
    return runs[0] if runs else None


def page_runs(
    tx: Tx, *, connection: str | None = None, status: str | None = None, since: datetime | None = None,
    until: datetime | None = None, before_id: int | None = None, limit: int = 50,
) -> list[Run]:  # fmt: skip
    """List runs, newest first; ``since`` and ``until`` are about when they began."""
    t = reconcile_runs.c
    statement = narrowed(
        select(*_RUN).order_by(t.id.desc()).limit(limit),
        (eq, t.connection, connection),
        (eq, t.status, status),
        (ge, t.started_at, since),
        (lt, t.started_at, until),
        (lt, t.id, before_id),
    )
    return [_run(row) for row in tx.execute(statement)]


def page_gaps(
    tx: Tx, *, connection: str | None = None, kind: str | None = None, run_id: int | None = None,
    since: datetime | None = None, until: datetime | None = None, before_id: int | None = None, limit: int = 50,
) -> list[GapRow]:  # fmt: skip
    """List gaps, newest first; ``since`` and ``until`` are about when they were found."""
    t = gaps.c
    statement = narrowed(
        select(gaps).order_by(t.id.desc()).limit(limit),
        (eq, t.connection, connection),
        (eq, t.kind, kind),
        (eq, t.run_id, run_id),
        (ge, t.found_at, since),
        (lt, t.found_at, until),
        (lt, t.id, before_id),
    )
    return [_gap(row) for row in tx.execute(statement)]


def count_gaps(tx: Tx) -> dict[str, int]:
    """Return how many gaps were ever found, by connection: also those that were pruned with their runs.

    Each connection's last run is never pruned, and knows how many there were before it.
    """
    t = reconcile_runs.c
    last = select(func.max(t.id)).group_by(t.connection)
    rows = tx.execute(select(t.connection, t.gaps_before + t.gaps).where(t.id.in_(last)))
    return {connection: count for connection, count in rows}


def _found_so_far(connection: str) -> Any:
    t = reconcile_runs.alias().c
    statement = select(t.gaps_before + t.gaps).where(t.connection == connection)
    return statement.order_by(t.id.desc()).limit(1).scalar_subquery()


def _run(row: Any) -> Run:
    return Run(**{**row._mapping, "status": RunStatus(row.status)})


def _gap_values(run: Run, gap: Gap, now: datetime) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "connection": run.connection,
        "kind": gap.kind,
        "ref": str(gap.ref),
        "changed": " ".join(gap.changed),
        "at": gap.at,
        "found_at": now,
    }


def _gap(row: Any) -> GapRow:
    return GapRow(
        id=row.id,
        run_id=row.run_id,
        kind=row.kind,
        ref=Ref.parse(row.ref),
        changed=tuple(row.changed.split()),
        at=row.at,
        found_at=row.found_at,
    )
