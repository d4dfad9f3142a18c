"""The outbox at work: lease an effect, make its call outside any transaction, record what came of it."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta

import structlog

from billhook.clock import Clock, jitter, monotonic
from billhook.errors import OutcomeUnknown, Permanent, ProviderError, Refused, Temporary
from billhook_web.broker import TimeLimitExceeded
from billhook_web.db import Database, Tx
from billhook_web.services.gates import Gates, NotNow, Visit
from billhook_web.services.jobs import Job, Jobs, Outcome, Skip
from billhook_web.services.meters import Meters
from billhook_web.services.processing import ERROR_PATIENCE, PROVIDER_PATIENCE, backoff
from billhook_web.stores import outbox
from billhook_web.stores.outbox import EffectRow, EffectStatus

log = structlog.get_logger(__name__)

SETTLED = 3
"""An unknown outcome is looked up after this many times the time that was waited for the answer.

A provider that let us wait for so long may be at it still, and what it has not done yet a look does not find.
"""


class Delivery:
    """Carries out effects, one at a time each."""

    def __init__(
        self, *, db: Database, clock: Clock, jobs: Jobs, redact: Callable[[str], str], meters: Meters,
        gates: Gates, lease: timedelta,
    ) -> None:  # fmt: skip
        self._db = db
        self._clock = clock
        self._jobs = jobs
        self._redact = redact
        self._meters = meters
        self._gates = gates
        self._lease = lease
        self._under_way: dict[int, float] = {}
        self._lock = threading.Lock()

    def deliver(self, effect_id: int) -> tuple[int, ...]:
        """Carry out an effect if it is its turn and nobody else does; return the effects to wake."""
        with self._alone(effect_id) as alone:
            return self._deliver_next(effect_id) if alone else ()

    @contextmanager
    def _alone(self, effect_id: int) -> Iterator[bool]:
        """Say whether no other thread here is at this effect, and keep others away while the block runs.

        The lease in the database says so too, by the clock; when that jumps ahead, a lease is over too early. This one
        goes by a clock that cannot jump. A thread that hangs is waited for no longer than a lease.
        """
        started = monotonic()
        with self._lock:
            since = self._under_way.get(effect_id)
            alone = since is None or started - since > self._lease.total_seconds()
            if alone:
                self._under_way[effect_id] = started
        try:
            yield alone
        finally:
            with self._lock:
                if alone and self._under_way.get(effect_id) == started:
                    del self._under_way[effect_id]

    def _deliver_next(self, effect_id: int) -> tuple[int, ...]:
        now = self._clock.now()
        with ExitStack() as held:
            try:
                with self._db.begin() as tx:
                    row = outbox.claim(tx, effect_id, now=now, lease=self._lease)
                    if row is None:
                        return ()
                    visit = held.enter_context(self._gates.enter(self._jobs.target(tx, row.effect)))
            except NotNow as exc:  # the claim is undone: nothing was tried
                self._put_off(effect_id, exc)
                return ()
            return self._try(row, visit, now)

    def _put_off(self, effect_id: int, exc: NotNow) -> None:
        if exc.until is None:
            self._gates.park(exc.connection, ("effect", effect_id))
            return
        now = self._clock.now()
        with self._db.begin() as tx:
            outbox.put_off(tx, effect_id, now=now, due_at=now + jitter(exc.until - now))

    def _try(self, row: EffectRow, visit: Visit, now: datetime) -> tuple[int, ...]:
        started = monotonic()
        try:
            woken = self._deliver(row, visit, now, started)
        except Temporary as exc:
            self._postpone(row, exc, started, retry_after=exc.retry_after)
        except OutcomeUnknown as exc:
            self._postpone(row, exc, started, status=EffectStatus.UNKNOWN)
        except Permanent as exc:  # if it was looking for an earlier try's outcome, that is still unknown
            self._give_up(row, started, error=self._redact(f"{type(exc).__name__}: {exc}"), unknown=False)
        except Refused as exc:
            self._close(row, EffectStatus.DEAD, now, started, error=f"{type(exc).__name__}: {exc}")
        except (Exception, TimeLimitExceeded) as exc:  # noqa: BLE001 - the edge: nobody knows how far it got, so it counts as unknown
            self._postpone(row, exc, started, status=EffectStatus.UNKNOWN, patience=ERROR_PATIENCE)
        else:
            return woken
        return self._next(row)

    def _deliver(self, row: EffectRow, visit: Visit, now: datetime, started: float) -> tuple[int, ...]:
        with self._db.begin() as tx:
            job = self._jobs.prepare(tx, row.effect, again=row.attempts > 1, since=row.created_at)
        if isinstance(job, Skip):
            self._close(row, EffectStatus.SUPERSEDED, now, started, note=job.why)
            return self._next(row)
        result = self._call(visit, job)
        with self._db.begin() as tx:
            outcome = job.record(tx, result)
            if outcome.again:
                outbox.go_round_again(tx, row.id, due_at=self._clock.now())
            else:
                self._finish(tx, row, EffectStatus.DONE, started, outcome)
        woken = (*outcome.effects, *((row.id,) if outcome.again else ()))
        return (*woken, *self._next(row))

    def _call(self, visit: Visit, job: Job) -> object:
        try:
            return visit.call(job.call)
        except Refused as exc:
            self._hide(exc)  # what is recorded of it is shown to people
            with self._db.begin() as tx:
                job.refused(tx, exc)
            raise

    def _hide(self, exc: Refused) -> None:
        exc.args = (self._redact(str(exc)),)
        exc.code = self._redact(exc.code) if exc.code else exc.code
        exc.field = self._redact(exc.field) if exc.field else exc.field

    def _finish(self, tx: Tx, row: EffectRow, status: EffectStatus, started: float, outcome: Outcome) -> None:
        outbox.finish(tx, row.id, status=status, now=self._clock.now(), note=outcome.note)
        self._note(tx, row, status, started, outcome.note)

    def _close(
        self, row: EffectRow, status: EffectStatus, now: datetime, started: float,
        *, note: str | None = None, error: str | None = None,
    ) -> None:  # fmt: skip
        error = self._redact(error) if error else None
        with self._db.begin() as tx:
            outbox.finish(tx, row.id, status=status, now=now, note=note, error=error)
            self._note(tx, row, status, started, error or note)

    def _postpone(
        self, row: EffectRow, exc: BaseException, started: float,
        *, status: EffectStatus = EffectStatus.PENDING, retry_after: timedelta | None = None,
        patience: int = PROVIDER_PATIENCE,
    ) -> None:  # fmt: skip
        foreign = isinstance(exc, ProviderError)
        error = (
            f"{type(exc).__name__}: {exc}" if foreign else "".join(traceback.format_exception(exc, limit=8))
        )
        error = self._redact(error)
        if row.attempts >= patience:
            self._give_up(row, started, error=error, unknown=status is EffectStatus.UNKNOWN)
            return
        rest = timedelta(seconds=SETTLED * (monotonic() - started))
        wait = max(backoff(row.attempts), retry_after or timedelta())
        wait = max(wait, rest) if status is EffectStatus.UNKNOWN else wait
        with self._db.begin() as tx:
            now = self._clock.now()
            outbox.postpone(tx, row.id, status=status, now=now, due_at=now + jitter(wait), error=error)
            self._note(tx, row, status, started, error)

    def _give_up(self, row: EffectRow, started: float, *, error: str, unknown: bool) -> None:
        with self._db.begin() as tx:
            outbox.give_up(tx, row.id, now=self._clock.now(), error=error, unknown=unknown)
            self._note(tx, row, EffectStatus.DEAD, started, error)

    def _note(self, tx: Tx, row: EffectRow, status: EffectStatus, started: float, detail: str | None) -> None:
        took = round((monotonic() - started) * 1000)
        outbox.note_attempt(
            tx, row.id, at=self._clock.now(), milliseconds=took, outcome=status, detail=detail
        )
        self._meters.effect(row.kind, outcome=status, seconds=took / 1000)
        log.info(
            "effect.tried",
            effect_id=row.id,
            kind=row.kind,
            outcome=str(status),
            attempt=row.attempts,
            ms=took,
        )

    def _next(self, row: EffectRow) -> tuple[int, ...]:
        with self._db.read() as tx:
            following = outbox.next_in_lane(tx, row.lane, now=self._clock.now())
        return () if following is None or following == row.id else (following,)
