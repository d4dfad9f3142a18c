"""What another policy would change for real customers: who, from what to what, when, and how much is at stake.

Nothing is stored. Customers are looked at in batches, so that memory stays the same however many there are, and the
next batch is read only when the one before was taken: whoever stops listening stops the work.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from billhook.access import Decision, Policy
from billhook.clock import Clock
from billhook.errors import BillhookError
from billhook_web.db import Database, statements_within
from billhook_web.services.access_policies import PolicyBook
from billhook_web.services.cases import Case, gather_all
from billhook_web.services.looking import essence
from billhook_web.stores import access

BATCH: Final = 200
"""Customers looked at together."""

AT_A_TIME: Final = 2
"""Previews one process runs at a time."""

STATEMENT_SECONDS: Final = 60.0


class Busy(BillhookError):
    """As many previews run as may at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a customer stands."""

    standing: str
    state: str
    access: str

    @classmethod
    def of(cls, decision: Decision) -> Standing:
        """Return what of a decision is compared."""
        return cls(standing=decision.standing, state=decision.state, access=decision.access.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A customer for whom another policy changes something. ``at``: when; ``now``: as soon as it counts.

    ``unpaid`` and ``overdue`` are minor units by currency; ``why`` are the sentences of the new decision.
    """

    customer: str
    before: Standing
    after: Standing
    at: datetime
    now: bool
    unpaid: Mapping[str, int]
    overdue: Mapping[str, int]
    why: tuple[str, ...]

    @property
    def loses(self) -> bool:
        """Whether there is less access than before."""
        return _RANK[self.after.access] < _RANK[self.before.access]


_RANK: Final = {"none": 0, "limited": 1, "full": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """So many of so many customers were looked at."""

    done: int
    total: int


@dataclass(slots=True, kw_only=True)
class Tally:
    """What it came to so far. ``at_stake``: unpaid by those who lose access, minor units by currency."""

    looked_at: int = 0
    now: int = 0
    later: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    at_stake: Counter[str] = field(default_factory=Counter)

    def add(self, moved: Moved) -> None:
        """Count one customer."""
        self.now += moved.now
        self.later += not moved.now
        self.changes[_named(moved.before), _named(moved.after)] += 1
        if moved.loses:
            self.at_stake.update(moved.unpaid)


class Previewing:
    """Runs previews, at most :data:`AT_A_TIME` in this process."""

    def __init__(self, *, db: Database, clock: Clock, book: PolicyBook) -> None:
        self._db = db
        self._clock = clock
        self._book = book
        self._places = threading.Semaphore(AT_A_TIME)

    def begin(
        self,
        policy: Policy,
        *,
        at: datetime | None = None,
        customers: Sequence[str] | None = None,
        after: str = "",
        most: int | None = None,
    ) -> Preview:
        """Take a place for a preview; close it when done.

        :param at: the instant that is compared; None: now.    :param customers: only these; None: everybody.
        :param after: go on after this customer.    :param most: look at so many at most.
        :raises Busy: there is no place.
        """
        if not self._places.acquire(blocking=False):
            raise Busy(f"{AT_A_TIME} previews run already; try again when one is done.")
        look = _Look(db=self._db, book=self._book, policy=policy, at=at or self._clock.now())
        return Preview(look, customers=customers, after=after, most=most, places=self._places)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    db: Database
    book: PolicyBook
    policy: Policy
    at: datetime

    def batch(self, customers: Sequence[str]) -> list[Moved]:
        """Compare what counts with the policy for some customers."""
        with statements_within(STATEMENT_SECONDS), self.db.read() as tx:
            cases = gather_all(tx, self.book, customers)
        found = (self._compare(case) for case in cases)
        return [moved for moved in found if moved is not None]

    def _compare(self, case: Case) -> Moved | None:
        bound = self.book.rules(self.policy)
        before, after = case.decide(self.at), bound.decide(case.account, self.at, case.payers)
        if _essence(before) != _essence(after):
            return _moved(before, after, now=True)
        nexts = [each.next_change_at for each in (before, after) if each.next_change_at is not None]
        if before.next_change_at == after.next_change_at and before.next == after.next:
            return None
        when = min(nexts)
        before, after = case.decide(when), bound.decide(case.account, when, case.payers)
        return None if _essence(before) == _essence(after) else _moved(before, after, now=False)


class Preview:
    """One preview. ``tally`` grows while its rows are taken; ``last`` is the customer that was looked at last."""

    def __init__(
        self,
        look: _Look,
        *,
        customers: Sequence[str] | None,
        after: str,
        most: int | None,
        places: threading.Semaphore,
    ) -> None:
        self.tally = Tally()
        self.last: str | None = None
        self._look = look
        self._customers = None if customers is None else sorted(set(customers))
        self._after = after
        self._most = most
        self._places: threading.Semaphore | None = places

    def rows(self) -> Iterator[Moved | Progress]:
        """Yield who changes, batch by batch, and after each how far it is."""
        total = self._total()
        for batch in self._batches():
            for moved in self._look.batch(batch):
                self.tally.add(moved)
                yield moved
            self.tally.looked_at += len(batch)
            self.last = batch[-1]
            yield Progress(done=self.tally.looked_at, total=max(total, self.tally.looked_at))

    def close(self) -> None:
        """Give the place back, once."""
        places, self._places = self._places, None
        if places is not None:
            places.release()

    def _total(self) -> int:
        if self._customers is not None:
            return len(self._customers)
        with self._look.db.read() as tx:
            return access.count(tx)

    def _batches(self) -> Iterator[Sequence[str]]:
        after, left = self._after, self._most
        while left is None or left > 0:
            batch = self._following(after, BATCH if left is None else min(BATCH, left))
            if not batch:
                return
            yield batch
            after, left = batch[-1], None if left is None else left - len(batch)

    def _following(self, after: str, limit: int) -> Sequence[str]:
        if self._customers is not None:
            return [name for name in self._customers if name > after][:limit]
        with self._look.db.read() as tx:
            return access.everybody(tx, after=after, limit=limit)


def _essence(decision: Decision) -> object:
    return essence(decision.to_json())


def _moved(before: Decision, after: Decision, *, now: bool) -> Moved:
    return Moved(
        customer=after.customer,
        before=Standing.of(before),
        after=Standing.of(after),
        at=after.at,
        now=now,
        unpaid=after.unpaid,
        overdue=after.overdue,
        why=tuple(reason.text for reason in after.reasons),
    )


def _named(standing: Standing) -> str:
    return f"{standing.state} ({standing.access})"
