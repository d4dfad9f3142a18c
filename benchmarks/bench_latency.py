"""How long it takes from a 200 to what follows: applied to the ledger, and its effect carried out at a provider."""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks import invoices, machines, report
from benchmarks.load import headers, key
from benchmarks.machines import Server
from billhook.model import Ref
from billhook_web.db import Database
from billhook_web.stores import inbox, outbox
from billhook_web.stores.inbox import InboxRow
from billhook_web.stores.outbox import OPEN, EffectRow

APART_SECONDS = 0.05
PATIENCE_SECONDS = 180.0
PROVIDER_MILLISECONDS = 5
"""How long the provider takes to open a checkout; it is part of what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One invoice: what was delivered, and the effect that asked the provider for its checkout."""

    delivery: InboxRow
    effect: EffectRow

    @property
    def applied_ms(self) -> float:
        """Milliseconds from receiving it, shortly before the 200, until it was applied."""
        return _ms(self.delivery.received_at, self.delivery.processed_at)

    @property
    def delivered_ms(self) -> float:
        """Milliseconds from receiving it until the provider's answer was recorded."""
        return _ms(self.delivery.received_at, self.effect.finished_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A host that collects what the billing engine issues, and its database."""

    name: str
    server: Server
    url: str

    def one_by_one(self, count: int) -> list[Outcome]:
        """Issue invoices one by one, apart, and return what came of them."""
        numbers = range(self.server.sent, self.server.sent + count)
        self.server.sent += count
        for number in numbers:
            send(self.server.port, invoices.webhook(number))
            time.sleep(APART_SECONDS)
        return self.outcomes(numbers)

    def outcomes(self, numbers: Sequence[int]) -> list[Outcome]:
        """Wait until everything is carried out, and return what came of these invoices."""
        db = Database(self.url)
        try:
            await_all(db)
            with db.read() as tx:
                deliveries = {row.delivery_key: row for row in inbox.page(tx, limit=len(numbers))}
                rows = outbox.page(tx, kind="collect_invoice", limit=len(numbers))
        finally:
            db.close()
        effects = {Ref.parse(row.subject).id: row for row in rows}
        return [
            Outcome(
                delivery=deliveries[key(invoices.webhook(number))],
                effect=effects[invoices.invoice_id(number)],
            )
            for number in numbers
        ]


def send(port: int, content: bytes) -> None:
    """Deliver one webhook."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("POST", "/webhooks/lago", content, headers(content))
    status = line.getresponse().status
    line.close()
    if status != 200:
        raise RuntimeError(f"a delivery was answered {status}")


def await_all(db: Database) -> None:
    """Wait until every delivery is applied and every effect carried out."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with db.read() as tx:
            waiting = inbox.counts(tx).get(
                "received", 0
            )  # first: what it leads to is planned when it is over
            effects = outbox.counts(tx)
        if not waiting and not any(effects.get(status) for status in OPEN):
            return
        time.sleep(0.05)
    raise SystemExit("not everything was carried out in time")


@contextmanager
def embedded(folder: Path, fakes: Server) -> Iterator[Stage]:
    """The host in one process on SQLite."""
    url = f"sqlite:///{folder / 'latency.sqlite3'}"
    with machines.host("serve", machines.settings(url, **machines.calling(fakes))) as server:
        yield Stage(name="serve, SQLite", server=server, url=url)


@contextmanager
def distributed(folder: Path, fakes: Server) -> Iterator[Stage]:
    """The host in two processes on PostgreSQL and Redis."""
    with machines.databases(folder) as (url, redis):
        env = machines.settings(url, redis_url=redis, **machines.calling(fakes))
        with machines.host("web", env) as server, machines.host("worker", env):
            yield Stage(name="web and worker, PostgreSQL and Redis", server=server, url=url)


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "")
    count = 5 if chosen.quick else 50
    found: dict[str, list[Outcome]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="billhook-bench-") as name,
        machines.fakes(milliseconds=PROVIDER_MILLISECONDS) as fakes,
        embedded(Path(name), fakes) as one,
        distributed(Path(name), fakes) as other,
    ):
        for stage in (one, other):
            stage.one_by_one(5)  # connections are opened, the product is looked at
        for _ in range(chosen.rounds):
            for stage in (one, other):
                found.setdefault(stage.name, []).extend(stage.one_by_one(count))
    head = ("host", "applied, p50 ms", "p99 ms", "effect carried out, p50 ms", "p99 ms")
    rows = [
        (
            label,
            *_percentiles([each.applied_ms for each in some]),
            *_percentiles([each.delivered_ms for each in some]),
        )
        for label, some in found.items()
    ]
    title = f"From the 200 to what follows, at a provider that takes {PROVIDER_MILLISECONDS} ms"
    report.publish(title, report.table(head, rows), quick=chosen.quick)


def _percentiles(waits: Sequence[float]) -> tuple[str, str]:
    return f"{report.percentile(waits, 0.5):.1f}", f"{report.percentile(waits, 0.99):.1f}"


def _ms(since: datetime, until: datetime | None) -> float:
    if until is None:
        raise SystemExit("something was not finished")
    return (until - since).total_seconds() * 1000


if __name__ == "__main__":
    main()
