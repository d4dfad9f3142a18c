"""Keeping no longer than is wanted: bodies of deliveries and the detail of finished work are pruned by themselves.

Nothing that the ledger was made from is lost: a pruned delivery still recognises its repetition, and its facts are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from billhook.clock import Clock
from billhook_web.db import Database
from billhook_web.services.meters import Meters
from billhook_web.stores import retention, webhook_log

BATCH = 100
"""Rows of a kind that are pruned in one transaction: others wait for no more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Rows that were pruned: bodies of deliveries, tries at effects, reconciliation gaps and runs, outgoing webhooks."""

    bodies: int = 0
    attempts: int = 0
    gaps: int = 0
    runs: int = 0
    webhooks: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_kind().values())

    def by_kind(self) -> dict[str, int]:
        """Return the counts by what was pruned."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def plus(self, other: Pruned) -> Pruned:
        """Return both together."""
        return Pruned(**{what: number + getattr(other, what) for what, number in self.by_kind().items()})


class Retention:
    """Prunes what is older than ``keep``; None: nothing by itself."""

    def __init__(self, *, db: Database, clock: Clock, keep: timedelta | None, meters: Meters) -> None:
        self._db = db
        self._clock = clock
        self._keep = keep
        self._meters = meters

    def limit(self) -> datetime | None:
        """Return the instant before which nothing is kept now; None: everything is."""
        return None if self._keep is None else self._clock.now() - self._keep

    def waiting(self, *, before: datetime) -> Pruned:
        """Count what would be pruned."""
        with self._db.read() as tx:
            webhooks = webhook_log.count_old(tx, before=before)
            return Pruned(**retention.count(tx, before=before), webhooks=webhooks)

    def prune_some(self, *, before: datetime | None = None) -> Pruned:
        """Prune at most :data:`BATCH` rows of each kind that are older than ``before``; None: than what is kept."""
        before = before or self.limit()
        if before is None:
            return Pruned()
        with self._db.begin() as tx:
            bodies = retention.with_body(tx, before=before, limit=BATCH)
            retention.keep_only_facts(tx, bodies, now=self._clock.now())
        with self._db.begin() as tx:
            pruned = Pruned(
                bodies=len(bodies),
                attempts=retention.delete_attempts(tx, before=before, limit=BATCH),
                gaps=retention.delete_gaps(tx, before=before, limit=BATCH),
                runs=retention.delete_runs(tx, before=before, limit=BATCH),
                webhooks=webhook_log.prune(tx, before=before, limit=BATCH),
            )
        self._meters.pruned(pruned.by_kind())
        return pruned
