"""The timers of access: whose decision changes by now, and whose must be made again because another policy counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import structlog

from billhook.clock import Clock
from billhook_web.db import Database, lock
from billhook_web.services.judging import Judge
from billhook_web.stores import access, policies
from billhook_web.stores.access import Stored

log = structlog.get_logger(__name__)

AT_ONCE = 2000
"""Customers looked up at a time; the rest are found when these are done."""


class Deciding:
    """Finds customers whose time has come, by index, and judges them one by one, each in a transaction of its own."""

    def __init__(self, *, db: Database, clock: Clock, judge: Judge) -> None:
        self._db = db
        self._clock = clock
        self._judge = judge

    def due(self, *, now: datetime) -> Sequence[tuple[str, datetime]]:
        """Return whose decision is to be looked at, and since when: the cost is that of those, however many there are."""
        with self._db.read() as tx:
            by_clock = access.due(tx, now=now, limit=AT_ONCE)
            newest = policies.default_mark(tx)
            outdated = access.outdated(tx, newest=newest, limit=AT_ONCE)
        return [*by_clock, *outdated]

    def settle(self, customer_ids: Iterable[str], *, woken: Callable[[Iterable[int]], None]) -> None:
        """Bring the decisions of some customers up to now; ``woken`` is told of effects that were planned."""
        for customer_id in customer_ids:
            woken(self.settle_one(customer_id))

    def settle_one(self, customer_id: str) -> tuple[int, ...]:
        """Bring one customer's decision up to now; return the effects to wake. Nothing happens when it is."""
        with self._db.begin() as tx:
            lock(tx, [f"customer/{customer_id}"])
            now = self._clock.now()
            stored = access.get(tx, customer_id)
            if stored is not None and stored.policy < policies.default_mark(tx):
                return self._judge.reassess(tx, customer_id, now=now)
            if stored is None or (stored.next_change_at is not None and stored.next_change_at <= now):
                return self._judge.tick(tx, customer_id, now=now)
        return ()

    def answer(self, customer_id: str) -> Stored | None:
        """Return a customer's decision for now; None: nobody knows the customer."""
        with self._db.read() as tx:
            fresh = self._judge.fresh(tx, customer_id, now=self._clock.now())
        return fresh if fresh is not None else self.made_again(customer_id)

    def made_again(self, customer_id: str) -> Stored | None:
        """Make a customer's decision again, whatever is stored; None: nobody knows the customer."""
        with self._db.begin() as tx:
            return self._judge.answer(tx, customer_id, now=self._clock.now())

    def decide_everybody(self, *, progress: Callable[[int], None] = lambda _count: None) -> int:
        """Judge customers for whom it was never done: those known before decisions were kept. Return how many."""
        done, after = 0, ""
        while batch := self._undecided(after):
            for customer_id in batch:
                self.settle_one(customer_id)
                progress(1)
            done, after = done + len(batch), batch[-1]
        return done

    def _undecided(self, after: str) -> Sequence[str]:
        with self._db.read() as tx:
            return access.undecided(tx, after=after, limit=AT_ONCE)
