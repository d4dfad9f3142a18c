"""From a stored delivery to applied facts: lease, understand, apply. Every step survives a crash after it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from billhook.clock import Clock, jitter
from billhook.errors import NotFound, PayloadInvalid, ProviderError, Refused
from billhook.events import DisputeChanged, Event, PaymentEvent, Refetch, RefundChanged
from billhook.model import Ref
from billhook.provider import WebhookSource
from billhook_web.broker import TimeLimitExceeded
from billhook_web.db import Database
from billhook_web.services.connections import Connections
from billhook_web.services.gates import Gates, NotNow
from billhook_web.services.guarded import GuardedSource
from billhook_web.services.meters import Meters
from billhook_web.services.recording import Recorder
from billhook_web.stores import billing, inbox, told
from billhook_web.stores.inbox import InboxRow
from billhook_web.stores.ledger import Statement

log = structlog.get_logger(__name__)

PROVIDER_PATIENCE = 100  # tries while a provider cannot be asked: about four days
ERROR_PATIENCE = 8  # tries when something is wrong on our side


class Processing:
    """Processes deliveries, one at a time each."""

    def __init__(
        self, *, db: Database, clock: Clock, connections: Connections, recorder: Recorder,
        redact: Callable[[str], str], meters: Meters, gates: Gates, lease: timedelta,
    ) -> None:  # fmt: skip
        self._db = db
        self._clock = clock
        self._connections = connections
        self._recorder = recorder
        self._redact = redact
        self._meters = meters
        self._gates = gates
        self._lease = lease

    def process(self, inbox_id: int) -> tuple[int, ...]:
        """Process a delivery if it is waiting and nobody else does; return the effects to wake."""
        with self._db.begin() as tx:
            row = inbox.claim(tx, inbox_id, now=self._clock.now(), lease=self._lease)
        if row is None:
            return ()
        try:
            return self._process(row)
        except NotNow as exc:
            self._hand_back(row, exc)
        except PayloadInvalid as exc:
            self._bury(row, f"not readable: {exc}")
        except ProviderError as exc:
            self._postpone(row, str(exc), patience=PROVIDER_PATIENCE)
        except Refused as exc:
            self._bury(row, f"{type(exc).__name__}: {exc}")
        except (Exception, TimeLimitExceeded):  # noqa: BLE001 - the edge: whatever it was, the delivery stays
            self._postpone(row, traceback.format_exc(limit=8), patience=ERROR_PATIENCE)
        return ()

    def _process(self, row: InboxRow) -> tuple[int, ...]:
        said, fetched = self._meaning(row)
        kept = told.merge(told.read(row.told, heard_at=row.received_at), fetched)
        with self._db.begin() as tx:
            now = self._clock.now()  # not before: who waited for the database learned of it later
            applied = self._recorder.enter(
                tx, [*said, *kept], now=row.received_at, inbox_id=row.id, known_at=now
            )
            forget = applied.about_erased and row.has_body
            kept = list(applied.said) if applied.about_erased else kept
            text = told.write(kept) if kept else row.told
            inbox.finish(tx, row.id, now=now, facts=applied.new, told=text, forget_body=forget)
        self._meters.processed(row.connection, lag=now - row.received_at)
        log.info("inbox.processed", inbox_id=row.id, connection=row.connection, facts=applied.new)
        return applied.effects

    def _meaning(self, row: InboxRow) -> tuple[list[Statement], list[Statement]]:
        """Return what a delivery says and what was fetched besides; nothing more when only its facts are kept.

        :raises PayloadInvalid: its body was erased before it was understood.
        """
        if not row.has_body:
            if row.told is None:
                raise PayloadInvalid("its body was erased with a customer's personal data")
            return [], []
        source = GuardedSource(self._connections.source(row.connection), self._gates)
        said, fetched = self._understand(source, row.body)
        return _statements(said, row), _statements(fetched, row)

    def _understand(self, source: WebhookSource, body: bytes) -> tuple[list[Event], list[Event]]:
        """Return what the body says, and what had to be asked for: the answers are kept, they cannot be had again."""
        parts = source.parse(body)
        said = [part for part in parts if not isinstance(part, Refetch)]
        fetched = [event for part in parts if isinstance(part, Refetch) for event in source.refetch(part)]
        return said, [*fetched, *self.missing_payments(source, [*said, *fetched])]

    def missing_payments(self, source: WebhookSource, events: Sequence[Event]) -> list[Event]:
        """A refund or dispute names only its payment: ask for one we never heard of, to learn its invoice."""
        heard = {event.ref for event in events if isinstance(event, PaymentEvent)}
        named = {event.payment for event in events if isinstance(event, RefundChanged | DisputeChanged)}
        with self._db.read() as tx:
            missing = [ref for ref in sorted(named - heard) if billing.payments.get(tx, ref) is None]
        return [event for ref in missing for event in self._ask_for_payment(source, ref)]

    def _ask_for_payment(self, source: WebhookSource, payment: Ref) -> Sequence[Event]:
        try:
            return source.refetch(Refetch(kind="payment", id=payment.id))
        except NotFound:
            return ()  # not ours, or a test event with placeholder ids: the fact is kept, it belongs to no invoice

    def _hand_back(self, row: InboxRow, exc: NotNow) -> None:
        """Its provider may not be asked now. Deliveries that say everything themselves go on meanwhile."""
        now = self._clock.now()
        due_at = now + jitter(exc.until - now) if exc.until else row.due_at or now
        with self._db.begin() as tx:
            inbox.hand_back(tx, row.id, due_at=due_at)
        if exc.until is None:
            self._gates.park(exc.connection, ("inbox", row.id))

    def _postpone(self, row: InboxRow, error: str, *, patience: int) -> None:
        if row.attempts >= patience:
            self._bury(row, error)
            return
        due_at = self._clock.now() + jitter(backoff(row.attempts))
        with self._db.begin() as tx:
            inbox.postpone(tx, row.id, due_at=due_at, error=self._redact(error))
        log.warning("inbox.postponed", inbox_id=row.id, connection=row.connection, attempts=row.attempts)

    def _bury(self, row: InboxRow, error: str) -> None:
        with self._db.begin() as tx:
            inbox.bury(tx, row.id, now=self._clock.now(), error=self._redact(error))
        log.warning("inbox.dead", inbox_id=row.id, connection=row.connection, attempts=row.attempts)


def _statements(events: Sequence[Event], row: InboxRow) -> list[Statement]:
    return [Statement.of(event, heard_at=row.received_at) for event in events]


def backoff(attempts: int) -> timedelta:
    """Return the wait after so many failed tries: 2, 4, 8… seconds, at most an hour."""
    return min(timedelta(seconds=2 ** min(attempts, 12)), timedelta(hours=1))
