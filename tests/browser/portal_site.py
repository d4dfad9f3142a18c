"""The portal and the pay page with Stripe's sandbox, on loopback: everything a browser test needs to add a card."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from web.tests.keeping import BillingPlugin
from werkzeug.serving import make_server

import billhook_stripe
from billhook.clock import SystemClock
from billhook.events import PaymentFailed
from billhook.model import Ref
from billhook.money import Money
from billhook.plugins import Installed
from billhook.testing.fakes import FakeEngine
from billhook.testing.fakes.provider import DECLINED
from billhook.testing.sandbox import post_to
from billhook_stripe.sandbox import Settings, StripeSandbox
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.services.sweep import sweep
from billhook_web.settings import read_configuration
from billhook_web.stores import billing, schema

NOW = Settings(debit_delay=timedelta())
"""Banks answer as soon as somebody looks at the clock, which only the tests do."""


@dataclass
class PortalSite:
    """Everything that is running. Each test takes customers of its own."""

    url: str
    runtime: Runtime
    sandbox: StripeSandbox
    wake: Wake

    def customer(self, name: str, **about: object) -> str:
        """Register somebody."""
        self.runtime.customers.upsert(name, {"name": "Ada Byrne", "currency": "EUR", **about})
        return name

    def way_in(self, customer: str, page: str = "payment-methods") -> str:
        """Return a fresh link."""
        token = self.runtime.portal.issue(customer, page=page, return_url=None).token
        return f"{self.url}/portal/enter/{token}"

    def owner(self, customer: str) -> str:
        """Return the customer's id at the provider."""
        provider: Any = self.runtime.connections.provider("stripe")
        owner: str = self.runtime.breakers.ask(
            "stripe", lambda: provider.provider_customer(self._customer(customer))
        )
        return owner

    def forget(self, customer: str, method: Ref) -> None:
        """Let the provider forget one of a customer's methods, as from its own dashboard."""
        provider: Any = self.runtime.connections.provider("stripe")
        provider.remove_method(self.owner(customer), method)

    def kept(self, customer: str) -> list[tuple[str | None, bool]]:
        """Return the last digits of what is kept, and whether it is the default."""
        held = self.runtime.methods.wallet(customer).held
        return [(each.saved.method.last4, each.saved.default) for each in held]

    def bill(self, customer: str, minor: int = 4_900) -> Ref:
        """Let an invoice be issued and asked for; return it."""
        engine = self.runtime.connections.engine("acme")
        assert isinstance(engine, FakeEngine)
        ref = engine.bill(customer, Money(minor, "EUR"))
        self.hear(*engine.facts_of(ref))
        return ref

    def decline(self, invoice: Ref) -> None:
        """Let the newest attempt on an invoice fail."""
        with self.runtime.db.read() as tx:
            attempt = billing.attempts_of(tx, invoice)[-1]
        self.hear(
            PaymentFailed(
                at=self.runtime.clock.now(), ref=Ref("stripe", f"pi_of_{invoice.id}"), amount=attempt.amount,
                applied=attempt.amount, session=attempt.session, decline=DECLINED,
                metadata=self.runtime.connections.metadata_for(
                    invoice, number=None, customer_id=None, key=attempt.key
                ),
            )
        )  # fmt: skip

    def hear(self, *facts: Any) -> None:
        """Let the host hear facts, and do what they call for."""
        with self.runtime.db.begin() as tx:
            self.runtime.recorder.apply(tx, facts, now=self.runtime.clock.now())
        self.work()

    def work(self) -> None:
        """Do what is due, webhooks included."""
        self.sandbox.deliver_webhooks()
        due = sweep(self.runtime.db, now=self.runtime.clock.now())
        for row, _ in due.inbox:
            self.runtime.processing.process(row)
        for row, _ in sweep(self.runtime.db, now=self.runtime.clock.now()).effects:
            self.runtime.delivery.deliver(row)

    def pay_url(self, invoice: Ref) -> str:
        """Return the invoice's stable link."""
        with self.runtime.db.begin() as tx:
            return self.runtime.collecting.pay_url(tx, invoice)

    def _customer(self, name: str) -> Any:
        from billhook_web.stores import accounts

        with self.runtime.db.read() as tx:
            row = accounts.get_customer(tx, name)
        assert row is not None
        return row.customer


@contextmanager
def portal_site(folder: Path, *, name: str = "portal") -> Iterator[PortalSite]:
    """Run it."""
    hosts: list[Any] = []
    with _listening(lambda environ, start: hosts[0](environ, start)) as url:
        sandbox = StripeSandbox(clock=SystemClock(), post=post_to(f"{url}/webhooks/stripe"), settings=NOW)
        with _listening(sandbox) as stripe_url:
            env = {
                "BILLHOOK_DATABASE_URL": f"sqlite:///{folder / f'{name}.sqlite3'}",
                "BILLHOOK_CONNECTIONS": "acme,stripe",
                "BILLHOOK_PUBLIC_URL": url,
                **{f"STRIPE_{name}": value for name, value in sandbox.environment(stripe_url).items()},
            }
            installed = [
                Installed(name="acme", load=BillingPlugin),
                Installed(name="stripe", load=lambda: billhook_stripe),
            ]
            runtime = build_runtime(read_configuration(env), installed=installed)
            schema.upgrade(runtime.db)
            wake = Wake(runtime)
            hosts.append(create_app(runtime, wake))
            yield PortalSite(url, runtime, sandbox, wake)
            runtime.close()


@contextmanager
def _listening(app: Callable[..., Any]) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
