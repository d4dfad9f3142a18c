"""One gate per connection: how many calls at a time, none while its provider is down, and what its plugin did wrong.

A provider that is slow or down then costs only itself: its effects and look-ups wait, in the database, without a thread
and without an attempt, while those of others go on. What is counted here is this process's own; what an operator must
see is told to the database (:mod:`billhook_web.stores.conditions`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, TypeVar

import structlog

from billhook.clock import Clock, monotonic
from billhook.errors import Permanent, ProviderError, Refused, Temporary
from billhook_web.broker import TimeLimitExceeded
from billhook_web.db import Database, DatabaseError
from billhook_web.services.breaker import Breaker, BreakerState
from billhook_web.stores import conditions
from billhook_web.stores.conditions import Condition

log = structlog.get_logger(__name__)
T = TypeVar("T")

Waiter = tuple[str, int]
"""What waits for a free place: ``("effect", id)`` or ``("inbox", id)``."""

PARKED_AT_MOST = 10_000  # rows beyond are woken by the sweeper
ASKING_AT_MOST = 4
"""Calls at a time to one connection for people who wait for the answer: each holds a thread that answers others."""

ASKING_SECONDS = 2.0
"""How long somebody waits for such a place."""

FAULT_SECONDS = 10.0  # faults are told to the database at most this often: a stranger may cause them


class Ask(Protocol):
    """Calls a provider for somebody who waits for the answer."""

    def __call__(self, connection: str, call: Callable[[], T], /) -> T:
        """Return the answer; raises :class:`Temporary` at once while the provider is down, besides what it raises."""
        ...


class NotNow(Exception):
    """A connection may not be called now. ``until``: when it may; None: when a call under way has ended."""

    def __init__(self, connection: str, until: datetime | None) -> None:
        self.connection = connection
        self.until = until
        super().__init__(connection)


@dataclass(slots=True)
class _Gate:
    breaker: Breaker = field(default_factory=Breaker)
    running: int = 0
    asking: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(ASKING_AT_MOST))
    parked: dict[Waiter, None] = field(default_factory=dict)
    told: BreakerState | None = None  # what the database has from this process
    faults: int = 0  # not yet told
    faults_told_at: float | None = None


class Visit:
    """One place at a gate, given back when the block ends. ``counted`` False: a place for people, counted elsewhere."""

    def __init__(self, gates: Gates, connection: str, *, probe: bool, counted: bool = True) -> None:
        self._gates = gates
        self._connection = connection
        self._probe = probe
        self._counted = counted

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gates._leave(self._connection, probe=self._probe, counted=self._counted)

    def call(self, ask: Callable[[], T]) -> T:
        """Call the provider through its plugin; how it ends is remembered, and raised on."""
        try:
            answer = ask()
        except (Refused, Permanent):
            self._settle(None)
            raise
        except (ProviderError, TimeLimitExceeded) as exc:
            self._settle(exc)
            raise
        except DatabaseError:
            raise
        except Exception as exc:
            self._gates.fault(self._connection, exc)
            if self._probe:
                self._settle(exc)
            raise
        self._settle(None)
        return answer

    def _settle(self, failure: BaseException | None) -> None:
        self._gates._settle(self._connection, failure, probe=self._probe)
        self._probe = False


class Gates:
    """The gates of one process. Its lock is held for bookkeeping only, never during a call or a transaction."""

    def __init__(self, *, db: Database, clock: Clock, limit: int, redact: Callable[[str], str]) -> None:
        self._db = db
        self._clock = clock
        self._limit = limit
        self._redact = redact
        self._lock = threading.Lock()
        self._gates: dict[str, _Gate] = {}
        self._wake: Callable[[Waiter], None] = lambda _waiter: None

    def when_free(self, wake: Callable[[Waiter], None]) -> None:
        """Say who wakes what was parked."""
        self._wake = wake

    def states(self) -> Mapping[str, BreakerState]:
        """Return the breaker's state of every connection this process called."""
        with self._lock:
            return {name: gate.breaker.state for name, gate in self._gates.items()}

    def running(self) -> Mapping[str, int]:
        """Count the calls under way, by connection."""
        with self._lock:
            return {name: gate.running for name, gate in self._gates.items()}

    def enter(self, connection: str) -> Visit:
        """Take a place; raises :class:`NotNow`."""
        with self._lock:
            gate = self._gate(connection)
            probe = self._pass(connection, gate, free=gate.running < self._limit)
            gate.running += 1
        return Visit(self, connection, probe=probe)

    def ask(self, connection: str, call: Callable[[], T], /) -> T:
        """Call the provider for somebody who waits for the answer, beside the work in the background.

        :raises Temporary: the provider is down, or others wait for it already; besides what ``call`` raises.
        """
        with self._lock:
            places = self._gate(connection).asking
        if not places.acquire(timeout=ASKING_SECONDS):
            raise Temporary(f"{connection} is slow: others wait for it already.")
        try:
            with self._enter_beside(connection) as visit:
                return visit.call(call)
        finally:
            places.release()

    def _enter_beside(self, connection: str) -> Visit:
        try:
            with self._lock:
                probe = self._pass(connection, self._gate(connection), free=True)
        except NotNow as exc:
            after = exc.until - self._clock.now() if exc.until else None
            raise Temporary(f"{connection} does not answer.", retry_after=after) from exc
        return Visit(self, connection, probe=probe, counted=False)

    def _pass(self, connection: str, gate: _Gate, *, free: bool) -> bool:
        """Let a call through and return whether it is the probe; raises :class:`NotNow`. The lock is held."""
        now = self._clock.now()
        if gate.breaker.shut(now):
            raise NotNow(connection, None if gate.breaker.probing else gate.breaker.probe_at)
        if not free:
            raise NotNow(connection, None)
        probe = gate.breaker.state is not BreakerState.CLOSED
        if probe:
            gate.breaker = gate.breaker.probe(now)
        return probe

    def park(self, connection: str, waiter: Waiter) -> None:
        """Have a row woken when a place is free: at once, if it is by now."""
        with self._lock:
            gate = self._gate(connection)
            waits = gate.breaker.probing or gate.running >= self._limit
            if waits and len(gate.parked) < PARKED_AT_MOST:
                gate.parked[waiter] = None
        if not waits:
            self._wake(waiter)

    def fault(self, connection: str, exc: BaseException) -> None:
        """Count what a plugin raised or returned against its contract."""
        log.warning("connection.fault", connection=connection, error=type(exc).__name__)
        now = monotonic()
        with self._lock:
            gate = self._gate(connection)
            gate.faults += 1
            if gate.faults_told_at is not None and now - gate.faults_told_at < FAULT_SECONDS:
                return
            count, gate.faults, gate.faults_told_at = gate.faults, 0, now
        text = self._redact(f"{type(exc).__name__}: {exc}")
        try:
            with self._db.begin() as tx:
                conditions.add_faults(tx, connection, count=count, fault=text, now=self._clock.now())
        except DatabaseError as error:
            log.warning("connection.fault_not_kept", connection=connection, error=type(error).__name__)

    def _gate(self, connection: str) -> _Gate:
        return self._gates.setdefault(connection, _Gate())

    def _leave(self, connection: str, *, probe: bool, counted: bool) -> None:
        """Give a place back and wake who waited for it. A ``probe`` that called nobody leaves its turn to the next."""
        now = self._clock.now()
        with self._lock:
            gate = self._gate(connection)
            gate.running -= counted
            if probe:
                gate.breaker = replace(gate.breaker, probing=False, probe_at=now)
            if gate.breaker.shut(now):
                gate.parked.clear()  # they are due in the database, where they are put off until the next probe
            free = self._limit - gate.running
            woken = list(gate.parked)[:free]
            for waiter in woken:
                del gate.parked[waiter]
        for waiter in woken:
            self._wake(waiter)

    def _settle(self, connection: str, failure: BaseException | None, *, probe: bool) -> None:
        now = self._clock.now()
        with self._lock:
            gate = self._gate(connection)
            before = gate.breaker
            if failure is None:
                gate.breaker = before.answered()
            else:
                after = getattr(failure, "retry_after", None)
                gate.breaker = before.failed(now, probe=probe, retry_after=after)
            changed = gate.breaker.state is not gate.told or gate.breaker.probe_at != before.probe_at
            gate.told, breaker = gate.breaker.state, gate.breaker
        if changed:
            self._tell(connection, breaker, failure)

    def _tell(self, connection: str, breaker: Breaker, failure: BaseException | None) -> None:
        reason = None if failure is None else self._redact(f"{type(failure).__name__}: {failure}")
        condition = Condition(
            connection=connection,
            state=breaker.state,
            failures=breaker.failures,
            probe_at=breaker.probe_at,
            reason=reason,
            changed_at=self._clock.now(),
        )
        if breaker.state is BreakerState.OPEN:
            log.warning("connection.down", connection=connection, failures=breaker.failures)
        try:
            with self._db.begin() as tx:
                conditions.put(tx, condition)
        except DatabaseError as exc:
            log.warning("connection.state_not_kept", connection=connection, error=type(exc).__name__)
