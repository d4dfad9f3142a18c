"""Results: a table on the terminal and a dated Markdown file, with the machine named."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("granian", "flask", "sqlalchemy", "psycopg", "dramatiq")


def options(purpose: str, *, rounds: int = 5) -> argparse.Namespace:
    """Read the command line: ``--quick`` checks that it runs, ``--rounds`` how often each is measured."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--quick", action="store_true", help="one small round: whether it runs, not how fast")
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds, alternating; the medians count")
    chosen = parser.parse_args()
    chosen.rounds = 1 if chosen.quick else chosen.rounds
    return chosen


def machine() -> str:
    """Return what this was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores {_processor()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {packages}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[at]) for row in lines) for at in range(len(head))]
    written = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in lines
    ]
    return "\n".join([written[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *written[1:]])


def publish(title: str, text: str, *, quick: bool) -> None:
    """Print the results and, unless it was only a try, add them to the file of the day."""
    at = datetime.now(UTC)
    written = f"## {title}\n\n{machine()}; {at:%Y-%m-%d %H:%M} UTC\n\n{text}\n"
    print(written)
    if quick:
        return
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{at:%Y-%m-%d}.md").open("a") as file:
        file.write(written + "\n")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> str:
    """Return the median with the least and the greatest."""
    return f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
