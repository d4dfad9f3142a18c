"""A connection for a plugin's objects in tests: its settings, a clock that waits, memory, and calls that stay inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from billhook.clock import Clock, VirtualClock
from billhook.config import ConnectionConfig
from billhook.hookspecs import ConnectionContext, ConnectionState
from billhook.http import ApiClient, Timeouts
from billhook.model import Address, Customer, Mandate, Ref
from billhook.money import Money
from billhook.provider import CollectRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

START = datetime(2026, 8, 1, 9, 0, tzinfo=UTC)
"""What time it is in tests that do not care."""


class MemoryState:
    """What a connection remembers, for as long as the test runs. The first value put under a key stays."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """Return what was remembered, or None."""
        return self._values.get(key)

    def put(self, key: str, value: str) -> str:
        """Remember ``value`` unless something is remembered already; return what is remembered now."""
        return self._values.setdefault(key, value)


class InProcessClients:
    """API clients whose calls are answered by WSGI apps in this process, by base URL (or the beginning of one).

    A call to any other URL fails the test: nothing leaves.
    """

    def __init__(self, apps: Mapping[str, WSGIApplication] | None = None) -> None:
        self._apps = dict(apps or {})

    def __call__(
        self,
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        secrets: Iterable[str],
        timeouts: Timeouts | None = None,
    ) -> ApiClient:
        """Return a client for one provider's API."""
        app = next(
            (app for url, app in self._apps.items() if base_url.startswith(url.rstrip("/"))), _no_network
        )
        return ApiClient(
            name=name, base_url=base_url, headers=headers, secrets=secrets, timeouts=timeouts, app=app
        )


def _no_network(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    url = f"{environ.get('HTTP_HOST')}{environ.get('PATH_INFO')}"
    raise AssertionError(f"{environ['REQUEST_METHOD']} {url} was called, but nothing may be called here")


def make_context(
    name: str,
    settings: ConnectionConfig,
    *,
    apps: Mapping[str, WSGIApplication] | None = None,
    clock: Clock | None = None,
    state: ConnectionState | None = None,
) -> ConnectionContext:
    """Return a connection called ``name``; without ``apps`` whatever calls the network fails the test."""
    return ConnectionContext(
        name=name,
        settings=settings,
        clock=clock or VirtualClock(START),
        http=InProcessClients(apps),
        state=state or MemoryState(),
    )


def make_customer(customer_id: str = "acme", *, currency: str = "EUR") -> Customer:
    """Return a customer with everything a provider may ask for."""
    return Customer(
        id=customer_id,
        name="Acme GmbH",
        email=f"{customer_id}@example.com",
        address=Address(
            line1="Lindenstr. 1", city="Berlin", state="Berlin", postal_code="10969", country="DE"
        ),
        currency=currency,
        locale="de",
        timezone="Europe/Berlin",
    )


def make_collect_request(
    amount: int,
    currency: str,
    *,
    invoice: str,
    connection: str = "acme",
    attempt: int = 1,
    mandates: tuple[Mandate, ...] = (),
    present: bool = False,
) -> CollectRequest:
    """Return the ``attempt``-th try to collect ``amount`` minor units for an invoice, as the host would ask for it."""
    key = f"{connection}-inv-{invoice}" + (f"-attempt-{attempt}" if attempt > 1 else "")
    return CollectRequest(
        key=key,
        attempt=attempt,
        invoice=Ref(connection, invoice),
        number=f"TEST-{invoice}",
        amount=Money(amount, currency),
        taxes=0,
        customer=make_customer(currency=currency),
        metadata={f"{connection}_invoice_id": invoice, "billhook_key": key},
        return_url="https://billing.example.com/pay/token",
        since=START,
        mandates=mandates,
        present=present,
    )
