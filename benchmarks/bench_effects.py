"""How many effects a second are carried out by one worker process and by two, at a provider that takes its time."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import machines, report
from benchmarks.bench_latency import PROVIDER_MILLISECONDS, Outcome, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What worker processes came to: effects a second, and the resident memory of the largest in MiB."""

    speed: float
    mebibytes: float


def carried_out(stage: Stage, env: Mapping[str, str], *, workers: int, count: int) -> Work:
    """Store a heap of issued invoices, then let so many worker processes at it.

    From the first that was applied to the last effect, so starting the processes does not count: each invoice is applied,
    and a checkout is opened for it.
    """
    numbers = range(stage.server.sent, stage.server.sent + count)
    stage.server.load(count, kind="invoices")
    with ExitStack() as stack:
        at_work = [stack.enter_context(machines.host("worker", env)) for _ in range(workers)]
        seconds = _seconds(stage.outcomes(numbers))
        return Work(speed=count / seconds, mebibytes=max(each.memory() for each in at_work))


def _seconds(found: Sequence[Outcome]) -> float:
    begins = [each.delivery.processed_at for each in found if each.delivery.processed_at]
    ends = [each.effect.finished_at for each in found if each.effect.finished_at]
    return (max(ends) - min(begins)).total_seconds()


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "")
    heap = 20 if chosen.quick else 500
    found: dict[int, list[Work]] = {1: [], 2: []}
    with (
        tempfile.TemporaryDirectory(prefix="billhook-bench-") as name,
        machines.fakes(milliseconds=PROVIDER_MILLISECONDS) as fakes,
        machines.databases(Path(name)) as (url, redis),
    ):
        env = machines.settings(url, redis_url=redis, **machines.calling(fakes))
        with machines.host("web", env) as server:
            stage = Stage(name="PostgreSQL", server=server, url=url)
            for _ in range(chosen.rounds):
                for workers, measured in found.items():
                    measured.append(carried_out(stage, env, workers=workers, count=heap))
    speeds = {workers: [each.speed for each in measured] for workers, measured in found.items()}
    alone = median(speeds[1])
    rows = [
        (
            workers,
            report.spread(measured),
            f"{median(measured) / alone:.2f}",
            f"{max(each.mebibytes for each in found[workers]):.0f}",
        )
        for workers, measured in speeds.items()
    ]
    title = f"Effects on PostgreSQL and Redis, at a provider that takes {PROVIDER_MILLISECONDS} ms"
    head = ("worker processes", "effects a second", "over one", "MiB resident")
    report.publish(title, report.table(head, rows), quick=chosen.quick)


if __name__ == "__main__":
    main()
