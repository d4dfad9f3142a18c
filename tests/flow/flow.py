"""A running host with its sandboxes, for telling stories: everything goes over real wire formats, time is virtual."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from billhook.clock import VirtualClock
from billhook.http import ApiClient
from billhook.model import CreditNote, Dispute, Invoice, Payment, Ref, Refund, Subscription
from billhook.testing.story import PaymentStory
from billhook_dodo.sandbox import DodoSandbox
from billhook_lago.sandbox import LagoSandbox
from billhook_stripe.sandbox import StripeSandbox
from billhook_web.actors import BackgroundWork, Wake
from billhook_web.app import create_app
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.settings import read_configuration
from billhook_web.stores import billing, inbox, ledger, outbox, schema
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.outbox import OPEN, EffectRow, EffectStatus
from billhook_web.stores.tables import effects as effects_table

START = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
PATIENCE_SECONDS = 60.0
BUSY, BUSY_TRIES, BUSY_SECONDS = 503, 20, 0.1
"""A host that is too busy to take a webhook is asked again, so often, after so many seconds."""
API_KEY = "bh_test_0123456789abcdef"
PAYERS = ("dodo", "stripe")
"""The payment providers that the same stories are told with."""


@dataclass(frozen=True)
class Backend:
    """Where the host keeps its rows and messages."""

    name: str
    database_url: str
    redis_url: str | None


class Flow:
    """One host, one billing engine sandbox, one payment provider sandbox, one clock.

    ``payer`` names the provider that collects: ``dodo`` or ``stripe``. Stories that are the same for both speak to
    ``till``, its part in the story, whoever it is.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        payer: str = "dodo",
        settings: Mapping[str, str] | None = None,
        apps: Mapping[str, Any] | None = None,
    ) -> None:
        self.clock = VirtualClock(START)
        self.lago = LagoSandbox(clock=self.clock, post=self._poster("lago"))
        self.dodo = DodoSandbox(clock=self.clock, public_url="http://dodo.test", post=self._poster("dodo"))
        self.stripe = StripeSandbox(
            clock=self.clock, public_url="http://stripe.test", post=self._poster("stripe")
        )
        self.payer: DodoSandbox | StripeSandbox = self.stripe if payer == "stripe" else self.dodo
        self.till: PaymentStory = self.payer.story
        routes = {
            "http://lago.test": self.lago,
            "http://dodo.test": self.dodo,
            "http://stripe.test": self.stripe,
            **(apps or {}),
        }
        env = {
            "BILLHOOK_CONNECTIONS": f"lago,{payer}",
            "BILLHOOK_DATABASE_URL": backend.database_url,
            "BILLHOOK_PUBLIC_URL": "https://billing.test",
            "BILLHOOK_API_KEY": API_KEY,
            "BILLHOOK_WORKER_THREADS": "4",
            "BILLHOOK_RECONCILE_EVERY": "never",  # a story that wants it says so
            **({"BILLHOOK_REDIS_URL": backend.redis_url} if backend.redis_url else {}),
            "LAGO_API_URL": "http://lago.test/api/v1",
            "LAGO_API_KEY": "lago-sandbox-key",
            "LAGO_WEBHOOK_SECRET": "lago-sandbox-hmac-key",
            **{f"DODO_{name}": value for name, value in self.dodo.environment("http://dodo.test").items()},
            **{
                f"STRIPE_{name}": value
                for name, value in self.stripe.environment("http://stripe.test").items()
            },
            **(settings or {}),
        }

        def http(*, base_url: str, **options: Any) -> ApiClient:
            options = {name: value for name, value in options.items() if value is not None}
            app = next(app for url, app in routes.items() if base_url.startswith(url))
            return ApiClient(base_url=base_url, app=app, **options)

        self.runtime: Runtime = build_runtime(read_configuration(env), clock=self.clock, http=http)
        schema.upgrade(self.runtime.db)
        self.wake = Wake(self.runtime)
        self.client = create_app(self.runtime, self.wake).test_client()
        self.online = True
        self._work = BackgroundWork(self.runtime, self.wake, sweep_seconds=0.02)

    @contextmanager
    def working(self) -> Iterator[Flow]:
        """Work in the background while the block runs."""
        self._work.start()
        try:
            yield self
        finally:
            self._work.stop(timeout=10)

    @contextmanager
    def running(self) -> Iterator[Flow]:
        """Work in the background while the block runs, then give everything back."""
        try:
            with self.working():
                yield self
        finally:
            self.runtime.close()

    def _poster(self, connection: str) -> Any:
        def post(body: bytes, headers: Mapping[str, str]) -> int:
            status = self.post(connection, body, headers) if self.online else 0
            for _ in range(BUSY_TRIES):
                if status != BUSY:
                    break
                time.sleep(
                    BUSY_SECONDS
                )  # the provider would wait too, but by the story's clock, which stands
                status = self.post(connection, body, headers)
            return status

        return post

    def post(self, connection: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Deliver one webhook to the host; return the status."""
        return self.client.post(f"/webhooks/{connection}", data=body, headers=dict(headers)).status_code

    def api(self, method: str, path: str, **json_body: Any) -> Any:
        """Call the API with the bootstrap key; return the answer's JSON."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        answer = self.client.open(f"/api/v1{path}", method=method, headers=headers, json=json_body or None)
        assert answer.status_code < 300, answer.get_data(as_text=True)
        return answer.get_json()

    def lago_client(self) -> ApiClient:
        """Return a client for the billing engine's own API: what an operator does there."""
        headers = {"Authorization": "Bearer lago-sandbox-key"}
        return ApiClient(name="lago", base_url="http://lago.test/api/v1", headers=headers, app=self.lago)

    # --- time ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything that is due now happen: webhooks, processing, effects, and what follows from them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        quiet = 0
        while quiet < 2:
            sent = self.lago.deliver_webhooks() + self.payer.deliver_webhooks()
            quiet = 0 if sent or not self.idle() else quiet + 1
            if time.monotonic() > deadline:
                raise AssertionError(f"not settled: {self.waiting()}")
            time.sleep(0.01)

    def skip(self, span: timedelta) -> None:
        """Move time on and let what became due happen."""
        self.clock.advance(span)
        self.lago.tick()
        self.payer.tick()
        self.settle()

    def idle(self) -> bool:
        """Say whether nothing is due or being done now.

        ``outbox.due`` would not tell: on PostgreSQL it passes over what is locked, by a worker that is just taking it or
        by the sweep that is just finding it.
        """
        now = self.clock.now()
        t = effects_table.c
        with self.runtime.db.read() as tx:
            received = inbox.page(tx, status=InboxStatus.RECEIVED, limit=500)
            open_ = select(t.lane, t.status, t.due_at).where(t.status.in_(OPEN)).order_by(t.id)
            turns = {row.lane: row for row in reversed(tx.execute(open_).all())}.values()
        due = (row.status == EffectStatus.RUNNING or row.due_at <= now for row in turns)
        return not (
            any(due)
            or any(row.due_at is None or row.due_at <= now for row in received)
            or self.runtime.deciding.due(now=now)
        )

    def waiting(self) -> list[dict[str, Any]]:
        """List what is not finished."""
        with self.runtime.db.read() as tx:
            deliveries = inbox.page(tx, status=InboxStatus.RECEIVED, limit=500)
            effects = [row for status in OPEN for row in outbox.page(tx, status=status, limit=500)]
        return [
            *({"inbox": row.id, "due_at": row.due_at, "error": row.error} for row in deliveries),
            *({"effect": row.key, "due_at": row.due_at, "error": row.error} for row in effects),
        ]

    # --- what the host holds -------------------------------------------------------------------------------------

    def invoice(self, lago_id: str) -> Invoice:
        """Return an invoice as the host holds it."""
        with self.runtime.db.read() as tx:
            found = billing.invoices.get(tx, Ref("lago", lago_id))
        assert found is not None, f"the host does not know invoice {lago_id}"
        return found

    def effects(self, kind: str | None = None) -> list[EffectRow]:
        """List effects, oldest first."""
        with self.runtime.db.read() as tx:
            return list(reversed(outbox.page(tx, kind=kind, limit=1000)))

    def dead(self) -> list[str | None]:
        """List why effects and deliveries were given up."""
        with self.runtime.db.read() as tx:
            effects = outbox.page(tx, status="dead", limit=1000)
            deliveries = inbox.page(tx, status="dead", limit=1000)
        return [*(row.error for row in effects), *(row.error for row in deliveries)]

    def books(self) -> dict[str, Any]:
        """Return everything that must not depend on the order of deliveries."""
        with self.runtime.db.read() as tx:
            return {
                "facts": sorted((about.subject, repr(event)) for about, event in ledger.all_facts(tx)),
                "projections": {
                    kind.__name__: sorted(map(repr, projection.all(tx)))
                    for kind, projection in (
                        (Subscription, billing.subscriptions),
                        (Invoice, billing.invoices),
                        (Payment, billing.payments),
                        (Refund, billing.refunds),
                        (Dispute, billing.disputes),
                        (CreditNote, billing.credit_notes),
                    )
                },
                "effects": sorted((row.key, repr(row.effect)) for row in outbox.page(tx, limit=1000)),
            }
