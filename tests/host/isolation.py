"""A host with a good plugin and a bad one: the bad one does to each hook what a test says, the good one must not notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from billhook.clock import VirtualClock
from billhook.events import Event, Refetch
from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.model import Customer, Ref
from billhook.plugins import Installed, Patience
from billhook.provider import Delivery, WebhookRequest
from billhook.testing.fakes import FakeEngine, FakeSource
from billhook_web.actors import BackgroundWork, Wake
from billhook_web.app import create_app
from billhook_web.db import Database
from billhook_web.runtime import build_runtime
from billhook_web.settings import read_configuration
from billhook_web.stores import inbox, outbox, schema
from billhook_web.stores.inbox import InboxRow
from billhook_web.stores.outbox import EffectRow

START = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
KEY = "bh_test_0123456789abcdef"
Does = Callable[[], Any]


@cache
def empty_database() -> bytes:
    """Return a file with all tables: making them takes longer than most tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite3"
        db = Database(f"sqlite:///{path}")
        schema.upgrade(db)
        db.close()
        return path.read_bytes()


class Engine(FakeEngine):
    """A billing engine; ``does`` replaces what it does when it is told of a customer."""

    does: Does | None = None
    calls = 0

    def upsert_customer(self, customer: Customer) -> Ref:
        self.calls += 1
        return self.does() if self.does else super().upsert_customer(customer)


class Source(FakeSource):
    """A webhook source; ``does`` replaces its methods by name."""

    def __init__(self, connection: str) -> None:
        super().__init__(connection)
        self.does: dict[str, Does] = {}

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        return self.does["verify"]() if "verify" in self.does else super().verify(request, now=now)

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        return self.does["parse"]() if "parse" in self.does else super().parse(body)

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        return self.does["refetch"]() if "refetch" in self.does else super().refetch(thing)


class Plugin:
    """A plugin in order, unless ``does`` says otherwise for one of its start-up hooks."""

    BILLHOOK_API = ">=1.0,<2"

    def __init__(self, **does: Does) -> None:
        self.does = does

    @hookimpl
    def connection_config(self) -> Any:
        return self.does["connection_config"]() if "connection_config" in self.does else None

    @hookimpl
    def billing_engines(self, context: ConnectionContext) -> Iterable[Any]:
        if "billing_engines" in self.does:
            return self.does["billing_engines"]()
        return [Engine(context.name, clock=context.clock)]

    @hookimpl
    def webhook_sources(self, context: ConnectionContext) -> Iterable[Any]:
        return self.does["webhook_sources"]() if "webhook_sources" in self.does else [Source(context.name)]


class Host:
    """The connections ``good`` and ``bad`` on SQLite; time is virtual."""

    def __init__(
        self,
        folder: Path,
        *,
        bad: Does = Plugin,
        more: Sequence[Installed] = (),
        settings: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        env = {
            "BILLHOOK_DATABASE_URL": f"sqlite:///{folder / 'billhook.sqlite3'}",
            "BILLHOOK_CONNECTIONS": "good,bad",
            "BILLHOOK_PLUGINS_ALLOW": ",".join(each.name for each in more),
            "BILLHOOK_API_KEY": KEY,
            **(settings or {}),
        }
        (folder / "billhook.sqlite3").write_bytes(empty_database())
        plugins = [Installed(name="good", load=Plugin), Installed(name="bad", load=bad), *more]
        self.clock = VirtualClock(START)
        self.runtime = build_runtime(
            read_configuration(env), clock=self.clock, installed=plugins,
            patience=Patience(startup=0.3, effects=0.3), **options,
        )  # fmt: skip
        self.wake = Wake(self.runtime)
        self.client = create_app(self.runtime, self.wake).test_client()

    def engine(self, name: str) -> Engine:
        found = self.runtime.connections.engine(name)
        assert isinstance(found, Engine)
        return found

    def source(self, name: str) -> Source:
        found = self.runtime.connections.source(name)
        assert isinstance(found, Source)
        return found

    def put(self, *customers: str) -> None:
        """Register customers by the API."""
        for customer in customers:
            headers = {"Authorization": f"Bearer {KEY}"}
            answer = self.client.put(f"/api/v1/customers/{customer}", json={"name": "Ada"}, headers=headers)
            assert answer.status_code == 201, answer.get_data(as_text=True)

    def post(self, name: str, *said: Event | Refetch, number: int = 1) -> Any:
        """Deliver a webhook of facts."""
        source = FakeSource(name)
        request = source.signed(source.body(*said), self.clock.now(), webhook_id=f"msg_{number}")
        return self.client.post(f"/webhooks/{name}", data=request.body, headers=dict(request.headers))

    def effects(self, connection: str) -> list[EffectRow]:
        """List the effects that go to a connection, oldest first."""
        with self.runtime.db.read() as tx:
            rows = reversed(outbox.page(tx, limit=500))
        return [row for row in rows if f"/{connection}/" in row.key]

    def deliver(self, connection: str) -> None:
        """Try each of a connection's effects once."""
        for row in self.effects(connection):
            self.runtime.delivery.deliver(row.id)

    def deliveries(self, connection: str) -> list[InboxRow]:
        with self.runtime.db.read() as tx:
            return list(reversed(inbox.page(tx, connection=connection, limit=500)))

    def skip(self, span: timedelta) -> None:
        self.clock.advance(span)

    def health(self, name: str) -> dict[str, Any]:
        """Return what the API says of a connection."""
        headers = {"Authorization": f"Bearer {KEY}"}
        data = self.client.get("/api/v1/connections", headers=headers).get_json()["data"]
        return next(each for each in data if each["name"] == name)

    def troubles(self) -> list[dict[str, Any]]:
        answer = self.client.get("/readyz")
        assert answer.status_code == 200
        troubles: list[dict[str, Any]] = answer.get_json()["troubles"]
        return troubles

    def metrics(self) -> str:
        answer = self.client.get("/metrics", headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200
        return str(answer.get_data(as_text=True))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work in the background."""
        work = BackgroundWork(self.runtime, self.wake, sweep_seconds=0.02)
        work.start()
        try:
            yield
        finally:
            work.stop(timeout=3)


def until(claim: Callable[[], bool], *, seconds: float = 45.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.01)


def raises() -> Any:
    raise RuntimeError("the machine is on fire, key sk_1234")


HANG = threading.Event()


def hangs() -> Any:
    """Wait for longer than anybody else does; not for ever, so that the test process ends."""
    HANG.wait(20)


def lazily_hangs() -> Any:
    yield hangs()


def number() -> Any:
    return 42
