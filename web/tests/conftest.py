"""A host on an SQLite file with plugins in memory, and a caller that holds every answer against the OpenAPI document."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from pydantic import Field, SecretStr
from werkzeug.test import TestResponse

from billhook.clock import VirtualClock
from billhook.config import ConnectionConfig
from billhook.errors import Conflict
from billhook.events import Event
from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.http import Post
from billhook.model import Period, Plan, Ref, Subscription, SubscriptionStatus, Usage, UsageLine
from billhook.money import Money
from billhook.plugins import Installed
from billhook.provider import CancelWhen, Finding, Severity
from billhook.testing.fakes import FakeEngine, FakeProvider, FakeSource
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.auth import create_key
from billhook_web.db import Database
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.settings import read_configuration
from billhook_web.stores import schema

START = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
BOOTSTRAP_KEY = "bh_test_0123456789abcdef"
ENGINE_SECRET = "engine-secret-0123456789"


class EngineConfig(ConnectionConfig):
    """Settings with something to hide."""

    api_key: SecretStr = Field(description="the key")
    region: str = Field("eu", description="where")


class FullEngine(FakeEngine):
    """A billing engine with every operation; ``refusal`` is raised by the next one."""

    def __init__(self, connection: str, *, clock: VirtualClock) -> None:
        super().__init__(connection, clock=clock)
        self.refusal: Exception | None = None
        self.pdf: bytes | None = None
        self.asked: list[tuple[str, Any]] = []
        self.findings: Sequence[Finding] = (Finding(severity=Severity.OK, what="It answers."),)

    def _note(self, operation: str, value: Any) -> None:
        self.asked.append((operation, value))
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise refusal

    def check(self) -> Sequence[Finding]:
        self._note("check", None)
        return self.findings

    def plans(self) -> Sequence[Plan]:
        self._note("plans", None)
        ref = Ref(self.connection, "plan_1")
        return [Plan(ref=ref, code="team", name="Team", amount=Money(9900, "EUR"), interval="monthly")]

    def subscriptions(self, customer_id: str) -> Sequence[Subscription]:
        return ()

    def subscribe(self, *, customer_id: str, plan: str, external_id: str) -> Subscription:
        self._note("subscribe", (customer_id, plan, external_id))
        return Subscription(
            ref=Ref(self.connection, f"row_{external_id}"),
            external_id=external_id,
            customer_id=customer_id,
            plan=plan,
            status=SubscriptionStatus.ACTIVE,
        )

    def change_plan(self, subscription: Subscription, *, plan: str) -> Subscription:
        self._note("change_plan", plan)
        return replace(subscription, next_plan=plan)

    def cancel_pending_change(self, subscription: Subscription) -> None:
        self._note("cancel_pending_change", subscription.ref)

    def cancel(self, subscription: Subscription, *, when: CancelWhen | datetime) -> Subscription:
        self._note("cancel", when)
        return replace(subscription, status=SubscriptionStatus.ENDED)

    def undo_cancel(self, subscription: Subscription) -> Subscription:
        self._note("undo_cancel", subscription.ref)
        return replace(subscription, ends_at=None)

    def invoice_pdf(self, invoice: Ref) -> bytes | None:
        self._note("invoice_pdf", invoice)
        return self.pdf

    def usage(self, *, customer_id: str, external_id: str) -> Usage:
        self._note("usage", external_id)
        line = UsageLine(code="calls", name="Calls", units="12.5", amount=Money(125, "EUR"))
        period = Period(start=START, end=datetime(2026, 10, 1, tzinfo=UTC))
        return Usage(period=period, amount=Money(125, "EUR"), lines=(line,))


class EnginePlugin:
    """A billing engine with settings."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def connection_config(self) -> type[ConnectionConfig]:
        return EngineConfig

    @hookimpl
    def billing_engines(self, context: ConnectionContext) -> Iterable[FullEngine]:
        assert isinstance(context.clock, VirtualClock)
        return [FullEngine(context.name, clock=context.clock)]


class BarePlugin:
    """A billing engine with only what every engine has."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def billing_engines(self, context: ConnectionContext) -> Iterable[object]:
        fake = FakeEngine(context.name, clock=context.clock)
        names = ("upsert_customer", "fetch_invoice", "record_payment", "record_failure")
        return [
            SimpleNamespace(connection=context.name, info=fake.info, **{n: getattr(fake, n) for n in names})
        ]


class PayPlugin:
    """A payment provider that sends webhooks."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def payment_providers(self, context: ConnectionContext) -> Iterable[FakeProvider]:
        return [FakeProvider(context.name, clock=context.clock)]

    @hookimpl
    def webhook_sources(self, context: ConnectionContext) -> Iterable[FakeSource]:
        return [FakeSource(context.name)]


class BrokenPlugin:
    """Fails when it is connected."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def billing_engines(self, context: ConnectionContext) -> Iterable[object]:
        raise RuntimeError("the machine is on fire")


PLUGINS = {"acme": EnginePlugin, "bare": BarePlugin, "fakepay": PayPlugin, "broken": BrokenPlugin}


def make_runtime(
    database_url: str, connections: str, *, post: Post | None = None, **settings: str
) -> Runtime:
    """Return a host that knows the plugins above; its tables are not made yet."""
    env = {
        "BILLHOOK_DATABASE_URL": database_url,
        "BILLHOOK_CONNECTIONS": connections,
        "BILLHOOK_API_KEY": BOOTSTRAP_KEY,
        "BILLHOOK_PUBLIC_URL": "https://billing.test",
        "ACME_API_KEY": ENGINE_SECRET,
        **settings,
    }
    installed = [Installed(name=name, load=plugin) for name, plugin in PLUGINS.items()]
    return build_runtime(read_configuration(env), clock=VirtualClock(START), installed=installed, post=post)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables and no row, to be copied: making the tables takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "billhook.sqlite3"
    db = Database(f"sqlite:///{path}")
    schema.upgrade(db)
    with db.read() as tx:
        tx.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path


@pytest.fixture
def runtime(tmp_path: Path, empty_database: Path) -> Iterator[Runtime]:
    path = shutil.copy(empty_database, tmp_path / "billhook.sqlite3")
    made = make_runtime(f"sqlite:///{path}", "acme,bare,fakepay")
    yield made
    made.close()


@pytest.fixture
def app(runtime: Runtime) -> Flask:
    return create_app(runtime, Wake(runtime))


@pytest.fixture
def engine(runtime: Runtime) -> FullEngine:
    found = runtime.connections.engine("acme")
    assert isinstance(found, FullEngine)
    return found


@pytest.fixture
def payments(runtime: Runtime) -> FakeProvider:
    found = runtime.connections.provider("fakepay")
    assert isinstance(found, FakeProvider)
    return found


@pytest.fixture
def api(runtime: Runtime, app: Flask) -> Api:
    return Api(runtime, app)


class Api:
    """Calls the API with the bootstrap key, or with one of some ``scopes``; every answer must be as documented."""

    def __init__(self, runtime: Runtime, app: Flask) -> None:
        self.runtime = runtime
        self.app = app
        self.client = app.test_client()
        self.key = BOOTSTRAP_KEY
        self.document: dict[str, Any] = json.loads(self.client.get("/api/v1/openapi.json").data)
        self._components = _strict(self.document["components"])

    def with_scopes(self, *scopes: str) -> Api:
        """Return a caller whose key has only these scopes."""
        other = Api(self.runtime, self.app)
        now = self.runtime.clock.now()
        other.key = create_key(self.runtime.db, name="test", scopes=scopes, now=now)
        return other

    def answer(self, method: str, path: str, *, body: Any = None, **options: Any) -> TestResponse:
        """Call; return the answer, whatever its status."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        answer = self.client.open(f"/api/v1{path}", method=method, headers=headers, json=body, **options)
        self._check(method, path, answer)
        return answer

    def ok(self, method: str, path: str, *, body: Any = None, status: int = 200) -> Any:
        """Call; return the JSON of an answer with this status."""
        answer = self.answer(method, path, body=body)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.get_json()

    def get(self, path: str) -> Any:
        """Read something that is there."""
        return self.ok("GET", path)

    def refused(self, method: str, path: str, status: int, *, body: Any = None, **options: Any) -> Any:
        """Call; return the problem, whose status must be this."""
        answer = self.answer(method, path, body=body, **options)
        assert answer.status_code == status, answer.get_data(as_text=True)
        assert answer.content_type == "application/problem+json"
        return json.loads(answer.data)

    def apply(self, *events: Event) -> tuple[int, ...]:
        """Let the host hear facts; return the effects it planned."""
        with self.runtime.db.begin() as tx:
            return self.runtime.recorder.apply(tx, events, now=self.runtime.clock.now()).effects

    def _check(self, method: str, path: str, answer: TestResponse) -> None:
        """Hold an answer against the document."""
        assert answer.headers["X-Request-Id"]
        if answer.content_type not in ("application/json", "application/problem+json"):
            return
        if answer.status_code >= 400:
            found: Any = {"$ref": "#/components/schemas/Problem"}
        else:
            responses = self.operation(method, path)["responses"]
            found = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
        Draft202012Validator({**_strict(found), "components": self._components}).validate(
            json.loads(answer.data)
        )

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """Return what the document says of a call."""
        rule, _ = self.app.url_map.bind("test").match(
            f"/api/v1{path.partition('?')[0]}", method=method, return_rule=True
        )
        parts = [each for converter, each in rule._trace]
        documented = "".join(f"{{{name}}}" if is_name else name for is_name, name in rule._trace).lstrip("|")
        assert parts
        found: dict[str, Any] = self.document["paths"][documented][method.lower()]
        return found


def _strict(schema_part: Any) -> Any:
    """Return a schema that allows no key which is not documented."""
    made = deepcopy(schema_part)

    def close(part: Any) -> None:
        if isinstance(part, dict):
            if part.get("type") == "object" and "properties" in part:
                part.setdefault("additionalProperties", False)
            for each in part.values():
                close(each)
        elif isinstance(part, list):
            for each in part:
                close(each)

    close(made)
    return made


@pytest.fixture
def conflict() -> Conflict:
    return Conflict("the plan is gone", code="plan_not_found", field="plan")
