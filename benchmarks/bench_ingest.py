"""How many deliveries a second are stored durably, over the barest WSGI application on the same server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks import machines, report
from benchmarks.machines import Server

SECONDS = 2.5
"""How long each load takes, about."""


def measure(servers: Sequence[Server], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Load each in turn, round after round, for so long; a first load warms up, and says how much that is."""
    first = max(20, round(400 * seconds))
    counts = {server.name: max(first, round(server.load(first) * seconds)) for server in servers}
    speeds: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            speeds[server.name].append(server.load(counts[server.name]))
    return speeds


@contextmanager
def on_postgres(folder: Path) -> Iterator[list[Server]]:
    """The host as ``web`` beside Redis, the host as ``serve``, and the barest, on one PostgreSQL."""
    with machines.databases(folder) as (postgres, redis), ExitStack() as stack:
        web = machines.settings(postgres, redis_url=redis)
        yield [
            stack.enter_context(machines.barest(postgres)),
            stack.enter_context(machines.host("web", web, name="billhook web (Redis)")),
        ]


@contextmanager
def on_sqlite(folder: Path) -> Iterator[list[Server]]:
    """The host that only receives, the host as ``serve``, which processes meanwhile, and the barest; a file each."""
    with machines.databases(folder) as (_, redis), ExitStack() as stack:
        web = machines.settings(f"sqlite:///{folder / 'web.sqlite3'}", redis_url=redis)
        serve = machines.settings(f"sqlite:///{folder / 'serve.sqlite3'}")
        yield [
            stack.enter_context(machines.barest(f"sqlite:///{folder / 'barest.sqlite3'}")),
            stack.enter_context(machines.host("web", web, name="billhook web (Redis)")),
            stack.enter_context(machines.host("serve", serve, name="billhook serve (processing too)")),
        ]


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "")
    seconds = 0.1 if chosen.quick else SECONDS
    for engine, servers_on in (("PostgreSQL", on_postgres), ("SQLite", on_sqlite)):
        with (
            tempfile.TemporaryDirectory(prefix="billhook-bench-") as folder,
            servers_on(Path(folder)) as servers,
        ):
            speeds = measure(servers, rounds=chosen.rounds, seconds=seconds)
            bare = median(speeds["barest"])
            rows = [
                (
                    each.name,
                    report.spread(speeds[each.name]),
                    f"{median(speeds[each.name]) / bare:.2f}",
                    f"{each.memory():.0f}",
                )
                for each in servers
            ]
        head = ("receiver", "deliveries a second", "ratio", "MiB resident")
        report.publish(f"Durable ingest on {engine}", report.table(head, rows), quick=chosen.quick)


if __name__ == "__main__":
    main()
