"""Taking away what is old and needed no longer: bodies of deliveries, tries at finished effects, runs and their gaps.

Everything here is found by an index and done in small batches; two processes at it at once do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, select, update

from billhook_web.db import Tx, skip_locked
from billhook_web.stores import ledger, told
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.ledger import Statement
from billhook_web.stores.outbox import EffectStatus
from billhook_web.stores.reconcile import RunStatus
from billhook_web.stores.tables import effect_attempts, effects, gaps, inbox, reconcile_runs

FINISHED = (EffectStatus.DONE, EffectStatus.SUPERSEDED)
"""Dead effects keep their tries: somebody has yet to look at them."""


def _with_body(before: datetime) -> ColumnElement[bool]:
    t = inbox.c
    kept = (t.pruned_at.is_(None), t.processed_at.is_not(None))  # as the index has it
    return and_(*kept, t.status == InboxStatus.PROCESSED, t.processed_at < before)


def with_body(tx: Tx, *, before: datetime, limit: int) -> list[int]:
    """Return deliveries that were processed before then and still have their body, the oldest first."""
    statement = select(inbox.c.id).where(_with_body(before)).order_by(inbox.c.processed_at).limit(limit)
    return list(tx.execute(skip_locked(statement, tx)).scalars())


def oldest_body(tx: Tx) -> datetime | None:
    """Return when the oldest delivery was processed that still has its body; None: there is none."""
    t = inbox.c
    kept = (t.pruned_at.is_(None), t.processed_at.is_not(None), t.status == InboxStatus.PROCESSED)
    oldest: datetime | None = tx.execute(select(func.min(t.processed_at)).where(*kept)).scalar_one()
    return oldest


def keep_only_facts(
    tx: Tx,
    inbox_ids: Sequence[int],
    *,
    now: datetime,
    change: Callable[[Statement], Statement] = lambda said: said,
) -> None:
    """Take away the bodies of processed deliveries; what they told is kept instead, as ``change`` makes it.

    That is what they told first, by the ledger, and what had to be fetched for them. What they only repeated is kept
    with the delivery that told it first.
    """
    t = inbox.c
    first = ledger.of_deliveries(tx, inbox_ids)
    for row in tx.execute(select(t.id, t.received_at, t.told).where(t.id.in_(inbox_ids))).all():
        all_of_it = told.merge(first.get(row.id, ()), told.read(row.told, heard_at=row.received_at))
        values = {
            "body": b"",
            "told": told.write(change(said) for said in all_of_it),
            "pruned_at": func.coalesce(t.pruned_at, now),
        }
        tx.execute(update(inbox).where(t.id == row.id).values(**values))


def _old_attempts(before: datetime) -> Any:
    t = effect_attempts.c
    done = (effects.c.status.in_(FINISHED), effects.c.finished_at < before)
    return select(t.id).join(effects, effects.c.id == t.effect_id).where(t.at < before, *done)


def delete_attempts(tx: Tx, *, before: datetime, limit: int) -> int:
    """Remove tries at effects that were finished before then; return how many."""
    t = effect_attempts.c
    old = _old_attempts(before).order_by(t.at).limit(limit)
    return tx.execute(delete(effect_attempts).where(t.id.in_(old))).rowcount


def _old_runs(before: datetime) -> Any:
    """Runs that ended before then; each connection's last one stays, and the last that looked at everything."""
    t = reconcile_runs.c
    last = select(func.max(t.id)).group_by(t.connection)
    marked = and_(t.status == RunStatus.DONE, t.mark.is_not(None))
    return select(t.id).where(t.finished_at < before, t.id.not_in(last), t.id.not_in(last.where(marked)))


def delete_gaps(tx: Tx, *, before: datetime, limit: int) -> int:
    """Remove gaps of runs that are to be removed; return how many."""
    old = select(gaps.c.id).where(gaps.c.run_id.in_(_old_runs(before))).order_by(gaps.c.id).limit(limit)
    return tx.execute(delete(gaps).where(gaps.c.id.in_(old))).rowcount


def delete_runs(tx: Tx, *, before: datetime, limit: int) -> int:
    """Remove reconciliation runs that ended before then and have no gaps; return how many."""
    t = reconcile_runs.c
    empty = t.id.not_in(select(gaps.c.run_id))
    old = _old_runs(before).where(empty).order_by(t.id).limit(limit)
    return tx.execute(delete(reconcile_runs).where(t.id.in_(old))).rowcount


def count(tx: Tx, *, before: datetime) -> dict[str, int]:
    """Count what is older: ``bodies``, ``attempts``, ``gaps``, ``runs``."""
    runs = _old_runs(before)
    wanted = {
        "bodies": select(func.count()).select_from(inbox).where(_with_body(before)),
        "attempts": select(func.count()).select_from(_old_attempts(before).subquery()),
        "gaps": select(func.count()).select_from(gaps).where(gaps.c.run_id.in_(runs)),
        "runs": select(func.count()).select_from(runs.subquery()),
    }
    return {what: tx.execute(statement).scalar_one() for what, statement in wanted.items()}
