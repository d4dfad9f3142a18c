"""The outbox at work: lease an effect, make its call outside any transaction, record what came of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from billhook.clock import Clock, jitter, monotonic
from billhook.errors import OutcomeUnknown, Permanent, ProviderError, Refused, Temporary
from billhook_web.db import Database, Tx
from billhook_web.services.jobs import Job, Jobs, Outcome, Skip
from billhook_web.services.meters import Meters
from billhook_web.services.processing import ERROR_PATIENCE, LEASE, PROVIDER_PATIENCE, backoff
from billhook_web.stores import outbox
from billhook_web.stores.outbox import EffectRow, EffectStatus

log = structlog.get_logger(__name__)


class Delivery:
    """Carries out effects, one at a time each."""

    def __init__(
        self, *, db: Database, clock: Clock, jobs: Jobs, redact: Callable[[str], str], meters: Meters
    ) -> None:
        self._db = db
        self._clock = clock
        self._jobs = jobs
        self._redact = redact
        self._meters = meters

    def deliver(self, effect_id: int) -> tuple[int, ...]:
        """Carry out an effect if it is its turn and nobody else does; return the effects to wake."""
        now = self._clock.now()
        with self._db.begin() as tx:
            row = outbox.claim(tx, effect_id, now=now, lease=LEASE)
        if row is None:
            return ()
        started = monotonic()
        try:
            woken = self._deliver(row, now, started)
        except Temporary as exc:
            self._postpone(row, exc, started, retry_after=exc.retry_after)
        except OutcomeUnknown as exc:
            self._postpone(row, exc, started, status=EffectStatus.UNKNOWN)
        except (Permanent, Refused) as exc:
            self._close(row, EffectStatus.DEAD, now, started, error=f"{type(exc).__name__}: {exc}")
        except Exception as exc:  # noqa: BLE001 - the edge: nobody knows how far it got, so it counts as unknown
            self._postpone(row, exc, started, status=EffectStatus.UNKNOWN, patience=ERROR_PATIENCE)
        else:
            return woken
        return self._next(row)

    def _deliver(self, row: EffectRow, now: datetime, started: float) -> tuple[int, ...]:
        with self._db.begin() as tx:
            job = self._jobs.prepare(tx, row.effect, again=row.attempts > 1, since=row.created_at)
        if isinstance(job, Skip):
            self._close(row, EffectStatus.SUPERSEDED, now, started, note=job.why)
            return self._next(row)
        result = self._call(row, job)
        with self._db.begin() as tx:
            outcome = job.record(tx, result)
            if outcome.again:
                outbox.go_round_again(tx, row.id, due_at=self._clock.now())
            else:
                self._finish(tx, row, EffectStatus.DONE, started, outcome)
        woken = (*outcome.effects, *((row.id,) if outcome.again else ()))
        return (*woken, *self._next(row))

    def _call(self, row: EffectRow, job: Job) -> object:
        try:
            return job.call()
        except Refused as exc:
            with self._db.begin() as tx:
                job.refused(tx, exc)
            raise

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
        self, row: EffectRow, exc: Exception, started: float,
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
        wait = max(backoff(row.attempts), retry_after or timedelta())
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
