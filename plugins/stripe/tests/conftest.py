"""A sandbox, a client that speaks to it in process, and a place its webhooks arrive."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.serving import make_server
from werkzeug.test import Client

from billhook.clock import VirtualClock
from billhook.hookspecs import ConnectionContext, ConnectionState
from billhook.testing.connection import make_context
from billhook.testing.mailbox import Mailbox
from billhook_stripe.config import StripeConfig
from billhook_stripe.sandbox import API_KEY, PUBLISHABLE_KEY, WEBHOOK_SECRET, StripeSandbox

Json = dict[str, Any]
MakeContext = Callable[..., ConnectionContext]
STRIPE_URL = "http://stripe.test"
FIXTURES = Path(__file__).parent / "fixtures"


class Api:
    """A form-encoding client with the secret key; ``status`` and ``code`` are of the last answer."""

    def __init__(self, sandbox: StripeSandbox) -> None:
        self._client = Client(sandbox)
        self.status = 0
        self.code: str | None = None
        self.headers: Mapping[str, str] = {}

    def call(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        *,
        key: str = API_KEY,
        **headers: str,
    ) -> Json:
        given = {"Authorization": f"Bearer {key}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if method == "GET":
            answer = self._client.open(f"{path}?{urlencode(form or {})}", method=method, headers=given)
        else:
            answer = self._client.open(
                path,
                method=method,
                data=urlencode(form or {}),
                content_type="application/x-www-form-urlencoded",
                headers=given,
            )
        self.status, self.headers = answer.status_code, answer.headers
        body = answer.get_json()
        self.code = body.get("error", {}).get("code")
        return body

    def get(self, path: str, **query: str) -> Json:
        return self.call("GET", path, query)

    def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Json:
        return self.call("POST", path, form, **headers)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 9, 1, 10, tzinfo=UTC))


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def sandbox(clock: VirtualClock, mailbox: Mailbox) -> StripeSandbox:
    return StripeSandbox(clock=clock, post=mailbox, public_url=STRIPE_URL)


@pytest.fixture
def api(sandbox: StripeSandbox) -> Api:
    return Api(sandbox)


@pytest.fixture
def served(sandbox: StripeSandbox) -> Iterator[str]:
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
def fixture_event() -> Callable[[str], Json]:
    """Load one of the webhook bodies by name, such as ``payment_intent.succeeded``."""
    return lambda name: json.loads((FIXTURES / "events" / f"{name}.json").read_text())


@pytest.fixture
def context(sandbox: StripeSandbox, clock: VirtualClock) -> MakeContext:
    """Make a connection called ``stripe`` to the sandbox; keywords are settings, ``app`` stands before the sandbox."""

    def make(*, app: Any = None, state: ConnectionState | None = None, **settings: Any) -> ConnectionContext:
        known = {
            "api_key": API_KEY,
            "publishable_key": PUBLISHABLE_KEY,
            "webhook_secret": WEBHOOK_SECRET,
            "api_url": STRIPE_URL,
            "js_url": f"{STRIPE_URL}/js/stripe.js",
        }
        config = StripeConfig(**(known | settings))
        return make_context(
            "stripe", config, apps={STRIPE_URL: app or sandbox.wsgi}, clock=clock, state=state
        )

    return make
