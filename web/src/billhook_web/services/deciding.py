"""The timers of access: whose decision changes by now, and whose must be made again because another policy counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import structlog

from billhook.clock import Clock
from billhook_web.db import Database, lock, lock_free
from billhook_web.services.judging import Judge
from billhook_web.stores import access, policies
from billhook_web.stores.access import Stored

log = structlog.get_logger(__name__)

AT_ONCE = 2000
"""Customers looked up at a time; the rest are found when these are done."""

TOGETHER = 50
"""Customers judged in one transaction: whoever else wants one of them waits as long."""

Woken = Callable[[Iterable[int]], None]
"""Is told of effects that were planned."""


class Deciding:
    """Finds customers whose time has come, by index, and judges many of them in one transaction."""

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

    def settle(self, customer_ids: Iterable[str], *, woken: Woken) -> None:
        """Bring the decisions of some customers up to now; ``woken`` is told of effects that were planned.

        Many are judged in one transaction. Whoever is busy, or among some who could not be judged together, is judged
        alone afterwards. Who cannot be judged at all is logged, is found again by the timers, and costs nobody else.

        :raises DatabaseError: the database does not answer.
        """
        wanted = list(customer_ids)
        for start in range(0, len(wanted), TOGETHER):
            for customer_id in self._settle_together(wanted[start : start + TOGETHER], woken):
                self._settle_alone(customer_id, woken)

    def settle_one(self, customer_id: str) -> tuple[int, ...]:
        """Bring one customer's decision up to now; return the effects to wake. Nothing happens when it is."""
        with self._db.begin() as tx:
            lock(tx, [_turn(customer_id)])
            return self._judge.settle_due(tx, [customer_id], now=self._clock.now())

    def _settle_together(self, customer_ids: Sequence[str], woken: Woken) -> Sequence[str]:
        """Judge whoever is not busy in one transaction; return who is left."""
        try:
            with self._db.begin() as tx:
                free = lock_free(tx, map(_turn, customer_ids))
                mine = [each for each in customer_ids if _turn(each) in free]
                effects = self._judge.settle_due(tx, mine, now=self._clock.now())
        except Exception as exc:  # noqa: BLE001 - whatever it was: alone, it costs only the customer it is about
            log.warning("access.settling_alone", customers=len(customer_ids), error=type(exc).__name__)
            return customer_ids
        woken(effects)
        return [each for each in customer_ids if _turn(each) not in free]

    def _settle_alone(self, customer_id: str, woken: Woken) -> None:
        try:
            effects = self.settle_one(customer_id)
        except Exception:
            log.exception("access.settling_failed", customer_id=customer_id)
            if not self._db.reachable():
                raise
        else:
            woken(effects)

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
            self.settle(batch, woken=lambda _effects: None)
            progress(len(batch))
            done, after = done + len(batch), batch[-1]
        return done

    def _undecided(self, after: str) -> Sequence[str]:
        with self._db.read() as tx:
            return access.undecided(tx, after=after, limit=AT_ONCE)


def _turn(customer_id: str) -> str:
    return f"customer/{customer_id}"
