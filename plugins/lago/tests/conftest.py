"""A sandboxed Lago on loopback, a virtual clock, and a receiver that keeps what it gets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse

from billhook.clock import VirtualClock
from billhook.hookspecs import ConnectionContext
from billhook.http import ApiClient
from billhook.testing.connection import MemoryState
from billhook.testing.sandbox import Headers
from billhook_lago.config import LagoConfig
from billhook_lago.sandbox import LagoSandbox

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass
class Receiver:
    """Takes webhooks; answers with ``status``."""

    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)

    def __call__(self, body: bytes, headers: Headers) -> int:
        self.bodies.append(body)
        self.headers.append(headers)
        return self.status

    def types(self) -> list[str]:
        return [json.loads(body)["webhook_type"] for body in self.bodies]

    def last(self, webhook_type: str) -> dict[str, Any]:
        found = [event for event in map(json.loads, self.bodies) if event["webhook_type"] == webhook_type]
        return found[-1][found[-1]["object_type"]]


@dataclass
class Api:
    """Calls the sandbox in process, as a client with the right key."""

    sandbox: LagoSandbox
    receiver: Receiver

    def __call__(
        self, method: str, path: str, body: Any = None, *, key: str = "lago-sandbox-key"
    ) -> TestResponse:
        headers = {"Authorization": f"Bearer {key}"}
        return Client(self.sandbox).open(f"/api/v1{path}", method=method, json=body, headers=headers)

    def ok(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = self(method, path, body)
        assert response.status_code == 200, response.get_data(as_text=True)
        answer = response.get_json()
        return next(iter(answer.values())) if len(answer) == 1 else answer

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the error details, or the code where there are none."""
        response = self(method, path, body)
        answer = response.get_json()
        return response.status_code, answer.get("error_details", answer.get("code"))

    def heard(self) -> list[str]:
        """Deliver what waits and return the types that came, forgetting them."""
        self.sandbox.deliver_webhooks()
        types = self.receiver.types()
        self.receiver.bodies.clear()
        self.receiver.headers.clear()
        return types


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 7, 1, tzinfo=UTC))


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def sandbox(clock: VirtualClock, receiver: Receiver) -> LagoSandbox:
    return LagoSandbox(clock=clock, post=receiver, tax_rate=20.0)


@pytest.fixture
def api(sandbox: LagoSandbox, receiver: Receiver) -> Api:
    return Api(sandbox, receiver)


@pytest.fixture
def story(api: Api) -> Api:
    """Two plans and a customer, nothing waiting to be delivered."""
    api.sandbox.add_plan(code="starter", name="Starter", amount_cents=2900)
    api.sandbox.add_plan(code="pro", name="Pro", amount_cents=4900)
    metadata = [{"key": "dodo_customer_id", "value": "cus_1"}]
    api.ok(
        "POST",
        "/customers",
        {"customer": {"external_id": "acct_1", "name": "Acme & Sons", "metadata": metadata}},
    )
    api.heard()
    return api


@pytest.fixture
def base_url(sandbox: LagoSandbox) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, sandbox, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(timeout=5)
    server.server_close()


@pytest.fixture
def payload() -> Callable[[str], dict[str, Any]]:
    """Return a reader of the stored webhook bodies."""
    return lambda name: dict(json.loads((FIXTURES / f"{name}.json").read_text()))


Connect = Callable[..., ConnectionContext]


@pytest.fixture
def connect(sandbox: LagoSandbox, clock: VirtualClock) -> Connect:
    """Return a maker of connections called ``lago`` whose calls go to the sandbox, or to ``app``, in process."""

    def connection(*, app: Any = sandbox, name: str = "lago", **settings: Any) -> ConnectionContext:
        values = {
            "api_url": "http://lago.sandbox",
            "api_key": "lago-sandbox-key",
            "webhook_secret": "lago-sandbox-hmac-key",
            **settings,
        }
        return ConnectionContext(
            name=name,
            settings=LagoConfig(**values),
            clock=clock,
            http=partial(ApiClient, app=app),
            state=MemoryState(),
        )

    return connection
