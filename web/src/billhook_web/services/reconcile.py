"""Asking providers what we may have missed: page by page, in a window of time, and on from where it stopped.

What they list enters the same pipeline as what they deliver. A page's facts, its gaps and the place after it are
kept in one transaction, so a run that stopped in any way goes on without doing anything twice. Calls are made outside
of transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from billhook.clock import Clock, monotonic, pause
from billhook.errors import ProviderError, Refused, Temporary, Unsupported
from billhook.provider import ReconcilePage, ReconcileWindow
from billhook_web.db import Database, DatabaseError
from billhook_web.services import gaps
from billhook_web.services.connections import Connections
from billhook_web.services.gates import Gates
from billhook_web.services.listing import GatedList
from billhook_web.services.processing import backoff
from billhook_web.services.recording import Recorder
from billhook_web.services.sightings import Look, Looking, ReconciledSource, can_list
from billhook_web.stores import reconcile
from billhook_web.stores.reconcile import Gap, Run, RunStatus

log = structlog.get_logger(__name__)

OVERLAP = timedelta(hours=1)
"""How far a window reaches back into the one before it: lists lag behind, clocks differ."""
FIRST_LOOK = timedelta(days=3)
"""How far the first window reaches back: longer than providers go on delivering. More must be asked for."""
LEASE = timedelta(minutes=5)
TRIES = 5
"""How often a call that may work later is tried again without any page in between."""

Woken = Callable[[Sequence[int]], None]
Progress = Callable[["Tally"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far a run has come since it was taken up: things seen, facts that were new, gaps."""

    seen: int = 0
    facts: int = 0
    gaps: int = 0

    def plus(self, seen: int, facts: int, found: int) -> Tally:
        """Return the sum."""
        return Tally(seen=self.seen + seen, facts=self.facts + facts, gaps=self.gaps + found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a dry run found of one thing: the types of its new facts, and what they would change (nothing: the facts
    say what is known in other words)."""

    connection: str
    gap: Gap
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long one call of :meth:`Reconciler.run` may take. ``budget``: then the rest is left for later; None: until it
    is done. ``patience``: the longest wait for a provider before the rest is left for later. ``wait``: waits seconds."""

    budget: timedelta | None = None
    patience: timedelta = timedelta(minutes=5)
    wait: Callable[[float], None] = pause


UNTIL_DONE = Pace()
IN_BACKGROUND = Pace(budget=timedelta(minutes=1), patience=timedelta(seconds=2))
"""A slice of a run: worker threads have other things to do, too."""


class _Taken(Exception):
    """The lease ended and another process has the run."""


class _Undone(Exception):
    """Undo what was tried."""


FIRST_PAUSE: Final = timedelta(minutes=10)
"""A host that was just set up first hears what is sent to it before it asks; there is time to look at its settings."""


class Reconciler:
    """Runs reconciliations; one at a time for each connection, whoever asks."""

    def __init__(
        self, *, db: Database, clock: Clock, connections: Connections, recorder: Recorder, looking: Looking,
        gates: Gates, redact: Callable[[str], str], every: timedelta | None,
    ) -> None:  # fmt: skip
        self._db = db
        self._clock = clock
        self._connections = connections
        self._recorder = recorder
        self._looking = looking
        self._gates = gates
        self._redact = redact
        self._every = every
        self._first_at = clock.now() + min(every or FIRST_PAUSE, FIRST_PAUSE)

    def names(self) -> tuple[str, ...]:
        """Return the connections that can be reconciled."""
        return tuple(each.name for each in self._connections.all() if can_list(each.source))

    def since_last(self, name: str) -> datetime:
        """Return where the next window begins: where nothing older is missing, and a little before."""
        with self._db.read() as tx:
            mark = reconcile.marked(tx, name)
        return mark - OVERLAP if mark is not None else self._clock.now() - FIRST_LOOK

    def due(self, *, now: datetime) -> tuple[tuple[str, datetime], ...]:
        """List the connections whose time has come, and since when: by schedule, or with a run that stopped."""
        if self._every is None:
            return ()
        with self._db.read() as tx:
            last = {name: reconcile.newest(tx, name) for name in self.names()}
        times = {name: _due_at(run, self._every, first_at=self._first_at) for name, run in last.items()}
        return tuple((name, at) for name, at in times.items() if at <= now)

    def run_due(self, name: str, *, woken: Woken) -> None:
        """Work on a connection whose time has come for a while; nothing when it has not, or somebody else is at it."""
        if any(due == name for due, _ in self.due(now=self._clock.now())):
            self.run(name, since=self.since_last(name), woken=woken, pace=IN_BACKGROUND)

    def run(
        self, name: str, *, since: datetime | None, woken: Woken, progress: Progress = lambda _tally: None,
        pace: Pace = UNTIL_DONE,
    ) -> Run | None:  # fmt: skip
        """Go on with the run that stopped, or look through everything from ``since`` (None: ever) to now.

        Returns how the run stands: done, failed, or stopped to go on later; None: another process is at it.

        :raises Unsupported: the connection cannot be reconciled.   :raises NotFound: there is no such connection.
        """
        source = self._source(name)
        now = self._clock.now()
        with self._db.begin() as tx:
            run = reconcile.take(tx, name, now=now, lease=LEASE)
            run = run or reconcile.begin(tx, name, since=since, now=now, lease=LEASE)
        if run is None:
            return None
        log.info("reconcile.began", connection=name, run_id=run.id, resumed=run.takes > 1)
        self._work(run, source, woken, progress, pace)
        with self._db.read() as tx:
            return reconcile.get(tx, run.id)

    def preview(
        self, name: str, *, since: datetime | None, progress: Progress = lambda _tally: None
    ) -> Iterator[Difference]:
        """Say what a run would find. Nothing is kept: each page is applied in a transaction that is undone.

        :raises ProviderError: the provider could not be asked.   :raises Unsupported: as :meth:`run`.
        """
        source, tally = self._source(name), Tally()
        window = ReconcileWindow(since=since, until=self._clock.now())
        for page, asked_at in self._pages(source, window):
            look = self._looking.look(source, page, asked_at=asked_at)
            differences = self._differences(name, look)
            tally = tally.plus(len(page.sightings), len(look.events), len(differences))
            progress(tally)
            yield from differences

    # --- one run ---------------------------------------------------------------------------------------------------

    def _work(self, run: Run, source: ReconciledSource, woken: Woken, progress: Progress, pace: Pace) -> None:
        """Work until it is done, given up, or to be left for later."""
        try:
            done = self._read_through(run, source, woken, progress, pace)
        except _Taken:
            log.info("reconcile.taken", run_id=run.id)
        except Temporary as exc:
            self._stop(run, error=str(exc), wait=exc.retry_after or backoff(TRIES))
        except KeyboardInterrupt:
            self._stop(run, error="stopped by hand")
            raise
        except DatabaseError:
            raise  # whoever comes when the lease ends goes on
        except (ProviderError, Refused) as exc:
            self._fail(run, str(exc))
        except Exception as exc:  # noqa: BLE001 - the edge: foreign code listed the page; the next run tries anew
            self._fail(run, f"{type(exc).__name__}: {exc}")
        else:
            if not done:
                self._stop(run, error=None)

    def _read_through(
        self, run: Run, source: ReconciledSource, woken: Woken, progress: Progress, pace: Pace
    ) -> bool:
        """Apply page after page; False: the time is used up. Waits for a provider that asks for it."""
        started, tally, tries, cursor = monotonic(), Tally(), 0, run.cursor
        while True:
            window = ReconcileWindow(since=run.since, until=run.until, cursor=cursor)
            try:
                for page, asked_at in self._pages(source, window):
                    tally = self._keep(run, source, page, asked_at, tally, woken)
                    progress(tally)
                    cursor, tries = page.cursor, 0
                    if cursor is None:
                        self._finish(run)
                        return True
                    if pace.budget is not None and monotonic() - started > pace.budget.total_seconds():
                        return False
                    self._rest(page.pause, pace)
            except Temporary as exc:
                tries += 1
                wait = exc.retry_after or backoff(tries)
                if tries > TRIES or wait > pace.patience:
                    raise
                pace.wait(wait.total_seconds())
            else:
                self._finish(run)
                return True

    def _pages(
        self, source: ReconciledSource, window: ReconcileWindow
    ) -> Iterator[tuple[ReconcilePage, datetime]]:
        """Pair each page with when it was asked for: what it says undated holds from then on, not from later."""
        pages = source.reconcile(window)
        while True:
            asked_at = self._clock.now()
            page = next(pages, None)
            if page is None:
                return
            yield page, asked_at

    def _keep(
        self, run: Run, source: ReconciledSource, page: ReconcilePage, asked_at: datetime, tally: Tally, woken: Woken
    ) -> Tally:  # fmt: skip
        look = self._looking.look(source, page, asked_at=asked_at)
        with self._db.begin() as tx:
            before = look.standings(tx)
            applied = self._recorder.hear(tx, look.events, now=asked_at) if look.events else None
            now = self._clock.now()
            found = look.gaps(before, look.standings(tx), now=now)
            new = applied.new if applied else 0
            kept = reconcile.advance(
                tx, run, cursor=page.cursor, seen=len(page.sightings), facts=new, found=found, now=now, lease=LEASE
            )  # fmt: skip
            if not kept:
                raise _Taken
        if applied:
            woken(applied.effects)
        return tally.plus(len(page.sightings), new, len(found))

    def _differences(self, name: str, look: Look) -> list[Difference]:
        differences: list[Difference] = []
        try:
            with self._db.begin() as tx:
                before = look.standings(tx)
                if look.events:
                    self._recorder.hear(tx, look.events, now=look.asked_at)
                after = look.standings(tx)
                for thing in look.touched:
                    gap = replace(thing, changed=gaps.changes(before[thing.ref], after[thing.ref]))
                    types = tuple(event.type for event in look.events if event.ref == thing.ref)
                    differences.append(Difference(connection=name, gap=gap, facts=types))
                raise _Undone
        except _Undone:
            return differences

    def _rest(self, span: timedelta, pace: Pace) -> None:
        """Do as a provider asks that has no calls left; raises Temporary when that is too long to wait here."""
        if span > pace.patience:
            raise Temporary("The provider's rate limit is used up.", retry_after=span)
        if span:
            pace.wait(span.total_seconds())

    def _finish(self, run: Run) -> None:
        with self._db.begin() as tx:
            reconcile.finish(tx, run, status=RunStatus.DONE, now=self._clock.now())
        log.info("reconcile.done", connection=run.connection, run_id=run.id)

    def _fail(self, run: Run, error: str) -> None:
        with self._db.begin() as tx:
            now = self._clock.now()
            reconcile.finish(tx, run, status=RunStatus.FAILED, now=now, error=self._redact(error))
        log.warning("reconcile.failed", connection=run.connection, run_id=run.id)

    def _stop(self, run: Run, *, error: str | None, wait: timedelta = timedelta()) -> None:
        now = self._clock.now()
        with self._db.begin() as tx:
            told = self._redact(error) if error else None
            reconcile.release(tx, run, until=now + wait, now=now, error=told)
        log.info("reconcile.stopped", connection=run.connection, run_id=run.id, wait=wait.total_seconds())

    def _source(self, name: str) -> ReconciledSource:
        source = self._connections.source(name)
        if not can_list(source):
            raise Unsupported(f"The plugin of connection {name!r} cannot list what its provider holds.")
        return GatedList(source, self._gates)


def _due_at(run: Run | None, every: timedelta, *, first_at: datetime) -> datetime:
    if run is None:
        return first_at
    if run.status is RunStatus.RUNNING:
        return run.leased_until or run.updated_at
    return run.started_at + every
