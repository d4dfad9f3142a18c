"""Receivers of our webhooks on the loopback interface, and a host that sends to them, for telling stories."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from billhook.clock import VirtualClock
from billhook.http import AllowedTargets, Sender
from billhook.http.sending import addresses_of
from billhook_web.db import Tx
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.sealing import new_key
from billhook_web.services.publishing import publish
from billhook_web.services.receivers import Changes
from billhook_web.settings import read_configuration
from billhook_web.stores import endpoints, outgoing, schema, webhook_log
from billhook_web.stores.endpoints import Endpoint
from billhook_web.stores.webhook_log import DeliveryRow
from tests.flow.flow import Backend

START = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One request that arrived."""

    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]


Reply = tuple[int, Mapping[str, str], bytes]
OK: Reply = (200, {}, b"thanks")


@dataclass
class Receiver:
    """What a receiver heard; ``reply`` decides its answer."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    reply: Callable[[Heard], Reply] = lambda _heard: OK

    def numbers(self, customer: str) -> list[int]:
        """The numbers of a customer's events, in the order in which they came."""
        return [each.data["n"] for each in self.heard if each.data.get("customer") == customer]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(path=self.path, headers=headers, body=body)
            receiver.heard.append(heard)
            status, more, answer = receiver.reply(heard)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A caller that hung up is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


class Telling:
    """A host that tells receivers; time is virtual, and nothing is sent but by :meth:`settle`."""

    def __init__(
        self,
        backend: Backend,
        *,
        start: datetime = START,
        allow: Sequence[str] = ("127.0.0.0/8",),
        resolve: Callable[[str, int], Sequence[str]] | None = None,
        seconds: float = 30.0,
    ) -> None:
        self.clock = VirtualClock(start)
        env = {
            "BILLHOOK_DATABASE_URL": backend.database_url,
            "BILLHOOK_SECRET_KEY": new_key(),
            "BILLHOOK_WEBHOOK_ALLOW_HOSTS": ",".join(allow),
            **({"BILLHOOK_REDIS_URL": backend.redis_url} if backend.redis_url else {}),
        }
        allowed = AllowedTargets.of(allow)
        self.sender = Sender(allowed=allowed, seconds=seconds, resolve=resolve or addresses_of)
        self.runtime: Runtime = build_runtime(
            read_configuration(env), clock=self.clock, installed=[], post=self.sender
        )
        schema.upgrade(self.runtime.db)

    def close(self) -> None:
        self.runtime.close()
        self.sender.close()

    def note(self, tx: Tx, action: str, subject: object, **detail: Any) -> None:
        """The audit is not what is told here."""

    def add(self, url: str) -> tuple[int, str]:
        """Add an endpoint that wants everything; return its id and secret."""
        made, secret = self.runtime.receivers.create(
            url=url, description="", event_types=(), enabled=True, note=self.note
        )
        return made.id, secret

    def switch(self, endpoint_id: int, *, on: bool) -> None:
        self.runtime.receivers.change(endpoint_id, Changes(enabled=on), note=self.note)

    def publish(self, customer: str, *numbers: int) -> None:
        """Let events of a customer happen, each in a transaction of its own."""
        for number in numbers:
            with self.runtime.db.begin() as tx:
                data = {"customer": customer, "n": number}
                publish(tx, type="access.changed", customer_id=customer, data=data, now=self.clock.now())

    def settle(self) -> None:
        """Send all that is due now."""
        while True:
            with self.runtime.db.read() as tx:
                due = outgoing.due_endpoints(tx, now=self.clock.now())
            if not due:
                return
            for endpoint_id, _ in due:
                self.runtime.dispatcher.work(endpoint_id)

    def skip(self, span: timedelta, *, step: timedelta = timedelta(hours=1)) -> None:
        """Let time pass, and what becomes due happen."""
        end = self.clock.now() + span
        while self.clock.now() < end:
            self.clock.advance(min(step, end - self.clock.now()))
            self.settle()

    def endpoint(self, endpoint_id: int) -> Endpoint:
        with self.runtime.db.read() as tx:
            found = endpoints.get(tx, endpoint_id)
        assert found is not None
        return found

    def deliveries(self, endpoint_id: int) -> list[DeliveryRow]:
        """All deliveries to an endpoint, the oldest first."""
        with self.runtime.db.read() as tx:
            return list(reversed(webhook_log.page(tx, endpoint_id=endpoint_id, limit=1000)))

    def statuses(self, endpoint_id: int) -> list[str]:
        return [str(each.status) for each in self.deliveries(endpoint_id)]

    def attempts(self, endpoint_id: int) -> list[Any]:
        """All attempts at an endpoint's deliveries, those of the oldest delivery first."""
        ids = [each.id for each in self.deliveries(endpoint_id)]
        with self.runtime.db.read() as tx:
            found = webhook_log.attempts_of(tx, ids)
        return [attempt for each in ids for attempt in found[each]]
