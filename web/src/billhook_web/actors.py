"""Background work: a few Dramatiq actors, and the loop that wakes what is due. They only translate."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import dramatiq
import structlog

from billhook.clock import monotonic
from billhook_web.db import DatabaseError
from billhook_web.runtime import Runtime
from billhook_web.services.gates import Waiter
from billhook_web.services.places import THREADS
from billhook_web.services.sweep import sweep
from billhook_web.services.unknowns import tell_overdue

log = structlog.get_logger(__name__)
T = TypeVar("T")

SWEEP_SECONDS = 0.5
QUEUE = "default"
WEBHOOKS = "webhooks"
# One wake-up's work on webhooks: within their lease, longer than a turn and a time-out together.
TURN_MILLISECONDS = 80_000
DECIDED_TOGETHER = 50  # customers in one message: one for each would cost more than judging them
TELL_SECONDS = 5.0
PRUNE_SECONDS = 60.0
MORE_TO_PRUNE_SECONDS = 1.0
REMIND_SECONDS = (
    15.0  # a row that was woken is not woken again before this: its message is probably in the queue
)


class Wake:
    """Sends wake-up calls. Call it after the commit, never inside the transaction."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._process = dramatiq.actor(actor_name="process_inbox", broker=runtime.broker)(self._process_inbox)
        self._deliver = dramatiq.actor(actor_name="deliver_effect", broker=runtime.broker)(
            self._deliver_effect
        )
        self._webhooks = dramatiq.actor(
            actor_name="deliver_webhooks",
            queue_name=WEBHOOKS,
            time_limit=TURN_MILLISECONDS,
            broker=runtime.webhook_broker,
        )(self._deliver_webhooks)
        runtime.breakers.when_free(self.waiter)
        self._decide = dramatiq.actor(actor_name="decide_access", broker=runtime.broker)(self._decide_access)
        self._reconcile = dramatiq.actor(actor_name="reconcile", broker=runtime.broker)(self._reconcile_due)

    def waiter(self, waiter: Waiter) -> None:
        """Wake what waited for a place at a connection's gate."""
        match waiter:
            case ("inbox", inbox_id):
                self.inbox(inbox_id)
            case (_, effect_id):
                self.effects([effect_id])

    def inbox(self, inbox_id: int) -> None:
        """Have a delivery processed."""
        self._send(self._process, inbox_id)

    def effects(self, effect_ids: Iterable[int]) -> None:
        """Have effects carried out."""
        for effect_id in effect_ids:
            self._send(self._deliver, effect_id)

    def webhooks(self, endpoint_ids: Iterable[int]) -> None:
        """Have what is due for these endpoints sent."""
        for endpoint_id in endpoint_ids:
            self._send(self._webhooks, endpoint_id)

    def access(self, customer_ids: Sequence[str]) -> None:
        """Have decisions about access brought up to now."""
        for start in range(0, len(customer_ids), DECIDED_TOGETHER):
            self._send(self._decide, list(customer_ids[start : start + DECIDED_TOGETHER]))

    def reconcile(self, connection: str) -> None:
        """Have a connection's provider asked what was missed, if its time has come."""
        self._send(self._reconcile, connection)

    def _send(self, actor: dramatiq.Actor[[T], None], row: T) -> None:
        """A queue that is down delays: the row is committed, and the sweeper sends again."""
        try:
            actor.send(row)
        except (OSError, dramatiq.DramatiqError) as exc:
            log.warning("queue.unreachable", actor=actor.actor_name, row_id=row, error=type(exc).__name__)

    def _process_inbox(self, inbox_id: int) -> None:
        self.effects(self._runtime.processing.process(inbox_id))

    def _deliver_effect(self, effect_id: int) -> None:
        self.effects(self._runtime.delivery.deliver(effect_id))

    def _deliver_webhooks(self, endpoint_id: int) -> None:
        self.webhooks(self._runtime.dispatcher.work(endpoint_id))

    def _decide_access(self, customer_ids: list[str]) -> None:
        self._runtime.deciding.settle(customer_ids, woken=self.effects)

    def _reconcile_due(self, connection: str) -> None:
        self._runtime.reconciler.run_due(connection, woken=self.effects)


class BackgroundWork:
    """Worker threads and the sweeper of one process."""

    def __init__(self, runtime: Runtime, wake: Wake, *, sweep_seconds: float = SWEEP_SECONDS) -> None:
        self._runtime = runtime
        self._wake = wake
        self._sweep_seconds = sweep_seconds
        self._worker = dramatiq.Worker(
            runtime.broker,
            queues={QUEUE},
            worker_threads=runtime.configuration.host.worker_threads,
            worker_timeout=200,
        )
        # Threads of their own: a receiver that hangs takes none from the work that is about money. And a broker of
        # their own: Dramatiq advises against two workers on one.
        self._sender = dramatiq.Worker(
            runtime.webhook_broker, queues={WEBHOOKS}, worker_threads=THREADS, worker_timeout=200
        )
        self._stop = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_forever, name="billhook-sweeper", daemon=True)
        self._woken: dict[tuple[str, int | str, datetime], float] = {}
        self._told = monotonic() - TELL_SECONDS
        self._prune_at = monotonic()

    def start(self) -> None:
        """Begin to work."""
        # TimeLimit watches only after this signal, which Dramatiq's own command line sends and a Worker does not.
        self._runtime.broker.emit_after("process_boot")
        self._runtime.webhook_broker.emit_after("process_boot")
        self._worker.start()
        self._sender.start()
        self._sweeper.start()

    def stop(self, *, timeout: float = 30.0) -> None:
        """Finish what is being done and begin nothing new; waits at most ``timeout`` seconds."""
        self._stop.set()
        self._sweeper.join(timeout=5)
        sender = threading.Thread(target=self._sender.stop, args=(int(timeout * 1000),), daemon=True)
        sender.start()  # beside the other, not after it: the time is for both
        self._worker.stop(timeout=int(timeout * 1000))
        sender.join(timeout=timeout)

    def _sweep_forever(self) -> None:
        while not self._stop.wait(self._sweep_seconds):
            try:
                self.sweep_once()
                self._tell_operators()
                self._prune()
            except DatabaseError as exc:
                log.warning("sweep.failed", error=type(exc).__name__)

    def sweep_once(self) -> None:
        """Wake everything that is due and was not woken lately."""
        due = sweep(self._runtime.db, now=self._runtime.clock.now())
        now = monotonic()
        self._woken = {row: at for row, at in self._woken.items() if now - at < REMIND_SECONDS}
        for inbox_id, since in due.inbox:
            if self._is_new(("inbox", inbox_id, since), now):
                self._wake.inbox(inbox_id)
        for effect_id, since in due.effects:
            if self._is_new(("effect", effect_id, since), now):
                self._wake.effects([effect_id])
        for endpoint_id, since in due.webhooks:
            if self._is_new(("webhooks", endpoint_id, since), now):
                self._wake.webhooks([endpoint_id])
        deciding = self._runtime.deciding.due(now=self._runtime.clock.now())
        self._wake.access(
            [customer for customer, since in deciding if self._is_new(("access", customer, since), now)]
        )
        for connection, since in self._runtime.reconciler.due(now=self._runtime.clock.now()):
            if self._is_new((f"reconcile {connection}", 0, since), now):
                self._wake.reconcile(connection)

    def _tell_operators(self) -> None:
        if monotonic() - self._told < TELL_SECONDS:
            return
        self._told = monotonic()
        deadline = self._runtime.configuration.host.patience_with_unknown()
        tell_overdue(self._runtime.db, now=self._runtime.clock.now(), deadline=deadline)

    def _prune(self) -> None:
        """A batch at a time, so that nothing else waits; the next one soon while there is more."""
        if monotonic() < self._prune_at:
            return
        pruned = self._runtime.retention.prune_some()
        self._prune_at = monotonic() + (MORE_TO_PRUNE_SECONDS if pruned.total else PRUNE_SECONDS)

    def _is_new(self, row: tuple[str, int | str, datetime], now: float) -> bool:
        return self._woken.setdefault(row, now) == now
