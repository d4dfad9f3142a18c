"""A sandbox, a client that speaks to it in process, and a place its webhooks arrive."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse

from billhook.clock import VirtualClock
from billhook.hookspecs import ConnectionContext, ConnectionState
from billhook.testing.connection import make_context
from billhook.testing.mailbox import Mailbox
from billhook_dodo.config import DodoConfig
from billhook_dodo.sandbox import API_KEY, WEBHOOK_SECRET, DodoSandbox

Json = dict[str, Any]
MakeContext = Callable[..., ConnectionContext]
DODO_URL = "http://dodo.test"


class Api:
    """A JSON client with the right key; ``status`` and ``code`` are of the last answer."""

    def __init__(self, sandbox: DodoSandbox) -> None:
        self._client = Client(sandbox)
        self.status = 0
        self.code: str | None = None

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        given = {"Authorization": f"Bearer {API_KEY}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        response = self._client.open(path, method=method, json=body, headers=given)
        self.status = response.status_code
        self.code = (response.get_json(silent=True) or {}).get("code")
        return response

    def get(self, path: str) -> Json:
        return self.call("GET", path).get_json()

    def post(self, path: str, body: Json | None = None, **headers: str) -> Json:
        return self.call("POST", path, body or {}, **headers).get_json(silent=True)

    def product(self, currency: str = "EUR", *, least: int = 50, **price: Any) -> str:
        """Create a pay-what-you-want product, tax included, and return its id."""
        whole = {"type": "one_time_price", "currency": currency, "price": least, "pay_what_you_want": True}
        whole |= {"tax_inclusive": True} | price
        body = {"name": f"Invoice {currency}", "tax_category": "saas", "price": whole}
        return self.post("/products", body)["product_id"]

    def checkout(self, product_id: str, amount: int | None = 12000, **more: Any) -> Json:
        """Open a checkout for one item."""
        item = {"product_id": product_id, "quantity": 1}
        if amount is not None:
            item["amount"] = amount
        return self.post("/checkouts", {"product_cart": [item]} | more)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 9, 1, 10, tzinfo=UTC))


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def sandbox(clock: VirtualClock, mailbox: Mailbox) -> DodoSandbox:
    return DodoSandbox(clock=clock, post=mailbox, public_url="http://dodo.test")


@pytest.fixture
def api(sandbox: DodoSandbox) -> Api:
    return Api(sandbox)


@pytest.fixture
def served(sandbox: DodoSandbox) -> Iterator[str]:
    """The sandbox on a loopback port; yields its base URL."""
    server = make_server("127.0.0.1", 0, sandbox, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    sandbox.environment(url)
    yield url
    server.shutdown()
    thread.join(timeout=5)
    server.server_close()


@pytest.fixture
def fixture_event() -> Any:
    """Load one of the recorded webhook bodies by name, such as ``payment.succeeded``."""
    folder = Path(__file__).parent / "fixtures"

    def load(name: str) -> Json:
        return json.loads((folder / f"{name}.json").read_text())

    return load


@pytest.fixture
def context(sandbox: DodoSandbox, clock: VirtualClock) -> MakeContext:
    """Make a connection called ``dodo`` to the sandbox; keywords are settings, ``app`` stands before the sandbox."""

    def make(*, app: Any = None, state: ConnectionState | None = None, **settings: Any) -> ConnectionContext:
        known = {"api_key": API_KEY, "mode": "test", "webhook_secret": WEBHOOK_SECRET, "api_url": DODO_URL}
        config = DodoConfig(**(known | settings))
        return make_context("dodo", config, apps={DODO_URL: app or sandbox.wsgi}, clock=clock, state=state)

    return make
