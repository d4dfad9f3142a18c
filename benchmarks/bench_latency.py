"""How long a delivery waits from its 200 until it is applied, and how many a second are applied by one process and by two."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import machines, report
from benchmarks.machines import Server
from billhook_web.db import Database
from billhook_web.stores import inbox

APART_SECONDS = 0.02
PATIENCE_SECONDS = 120.0


def lags(server: Server, url: str, count: int) -> list[float]:
    """Send deliveries one by one, apart; return the milliseconds each waited, by the times that the host stored."""
    before = _last(url)
    for _ in range(count):
        server.load(1, connections=1)
        time.sleep(APART_SECONDS)
    await_all(url)
    db = Database(url)
    with db.read() as tx:
        rows = [row for row in inbox.page(tx, limit=count) if row.id > before]
    db.close()
    return [(row.processed_at - row.received_at).total_seconds() * 1000 for row in rows if row.processed_at]


def await_all(url: str) -> float:
    """Wait until everything stored is applied; return the seconds it took."""
    db, began = Database(url), time.perf_counter()
    try:
        while time.perf_counter() - began < PATIENCE_SECONDS:
            with db.read() as tx:
                if not inbox.counts(tx).get("received"):
                    return time.perf_counter() - began
            time.sleep(0.02)
    finally:
        db.close()
    raise SystemExit("not everything was applied in time")


def applied(server: Server, url: str, workers: int, env: Mapping[str, str], count: int) -> float:
    """Store a heap first, then let so many worker processes at it; return deliveries applied a second."""
    server.load(count)
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(machines.host("worker", env))
        while _received(url) == count:  # until the first of them has started
            time.sleep(0.01)
        return count / await_all(url)


@contextmanager
def embedded(folder: Path) -> Iterator[tuple[Server, str]]:
    """The host in one process on SQLite."""
    url = f"sqlite:///{folder / 'latency.sqlite3'}"
    with machines.host("serve", machines.settings(url)) as server:
        yield server, url


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "")
    count, heap = (5, 20) if chosen.quick else (100, 2000)
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory(prefix="billhook-bench-") as name, embedded(Path(name)) as (server, url):
        rows.append(("serve, SQLite", *_row(lags(server, url, count))))
    with (
        tempfile.TemporaryDirectory(prefix="billhook-bench-") as name,
        machines.databases(Path(name)) as (url, redis),
    ):
        env = machines.settings(url, redis_url=redis)
        with machines.host("web", env) as server:
            with machines.host("worker", env):
                rows.append(("web and worker, PostgreSQL and Redis", *_row(lags(server, url, count))))
            report.publish(
                "From the 200 to applied",
                report.table(("host", "p50 ms", "p99 ms"), rows),
                quick=chosen.quick,
            )
            speeds: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(chosen.rounds):
                for workers, measured in speeds.items():
                    measured.append(applied(server, url, workers, env, heap))
    text = report.table(
        ("worker processes", "deliveries applied a second"),
        [(workers, report.spread(measured)) for workers, measured in speeds.items()],
    )
    report.publish("Working off a heap on PostgreSQL", text, quick=chosen.quick)


def _row(waits: list[float]) -> tuple[str, str]:
    return f"{report.percentile(waits, 0.5):.1f}", f"{report.percentile(waits, 0.99):.1f}"


def _last(url: str) -> int:
    db = Database(url)
    with db.read() as tx:
        rows = inbox.page(tx, limit=1)
    db.close()
    return rows[0].id if rows else 0


def _received(url: str) -> int:
    db = Database(url)
    with db.read() as tx:
        counted = inbox.counts(tx)
    db.close()
    return counted.get("received", 0)


if __name__ == "__main__":
    main()
