"""How long it takes to go through what a billing engine holds, in how much memory: all new to us, and nearly all known."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from benchmarks import invoices, machines, report
from benchmarks.machines import Server
from billhook_web.db import Database
from billhook_web.stores import reconcile

LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 900.0
MISSED = 100
"""Of so many invoices that are known otherwise, no webhook ever came for one."""

_ID = invoices.invoice_id(0).rpartition("-")[0] + "-"
_OURS = (
    "replace(replace(replace({column}, :id || lpad('0', 12, '0'), :id || lpad(n::text, 12, '0')), "
    "'acct-00000', 'acct-' || lpad((n % :customers)::text, 5, '0')), 'BEN-00000000', 'BEN-' || lpad(n::text, 8, '0'))"
)
KNOWN = f"""
INSERT INTO facts (key, type, at, seen_at, connection, subject, payment, invoice, customer_id, inbox_id, body)
SELECT md5(key || n), type, at, seen_at, connection, {_OURS.format(column="subject")}, payment,
       {_OURS.format(column="invoice")}, {_OURS.format(column="customer_id")}, inbox_id, {_OURS.format(column="body")}
FROM facts, generate_series(1, :last) AS n
WHERE CASE WHEN invoice IS NULL THEN n < :customers ELSE n % :missed <> 0 END
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One run: things seen, facts that were new, how long it took, and the most memory it was seen with."""

    seen: int
    facts: int
    seconds: float
    mebibytes: float


def read_in(env: Mapping[str, str]) -> Reading:
    """Run ``billhook reconcile`` over everything there is."""
    command = ["reconcile", "--connection", "lago", "--since", "all"]
    began, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(
        [sys.executable, "-c", "from billhook_web.cli import main; main()", *command],
        env=machines.inherited() | dict(env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            if time.perf_counter() - began > PATIENCE_SECONDS:
                raise SystemExit("the reconciliation does not end")
            peak = max(peak, machines.resident(process.pid))
            time.sleep(LOOK_SECONDS)
    finally:
        process.kill()
        process.wait(10)
    seconds = time.perf_counter() - began
    db = Database(env["BILLHOOK_DATABASE_URL"])
    with db.read() as tx:
        run = reconcile.newest(tx, "lago")
    db.close()
    if run is None or run.status != "done":
        raise SystemExit(f"the reconciliation did not end well: {run!r}")
    return Reading(seen=run.seen, facts=run.facts, seconds=seconds, mebibytes=peak)


def know(url: str, held: int) -> None:
    """Enter what webhooks would have told of so many invoices but the missed ones, from what is there of the first."""
    db = Database(url)
    values = {"id": _ID, "customers": invoices.CUSTOMERS, "last": held - 1, "missed": MISSED}
    with db.begin() as tx:
        tx.execute(text(KNOWN), values)
    with db.read() as tx:
        tx.execute(text("VACUUM ANALYZE facts"))
    db.close()


def settings(url: str, redis: str, fakes: Server) -> dict[str, str]:
    """Return the environment of a host that calls these fakes."""
    return machines.settings(url, redis_url=redis, **machines.calling(fakes))


def all_new(folder: Path, held: int) -> Reading:
    """Read so many invoices into an empty database."""
    with machines.databases(folder) as (url, redis), machines.fakes(invoices=held) as fakes:
        return read_in(settings(url, redis, fakes))


def nearly_known(folder: Path, held: int) -> Reading:
    """Go through so many invoices that are known but for the missed ones."""
    with machines.databases(folder) as (url, redis):
        with machines.fakes(invoices=1) as fakes:
            read_in(settings(url, redis, fakes))
        know(url, held)
        with machines.fakes(invoices=held) as fakes:
            return read_in(settings(url, redis, fakes))


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "", rounds=1)
    new, few, many = (50, 100, 200) if chosen.quick else (2_000, 5_000, 50_000)
    rows = []
    for label, held, run in (
        (f"{new:,}, all new", new, all_new),
        (f"{few:,}, {few // MISSED} missed", few, nearly_known),
        (f"{many:,}, {many // MISSED} missed", many, nearly_known),
    ):
        for _ in range(chosen.rounds):
            with tempfile.TemporaryDirectory(prefix="billhook-bench-") as name:
                found = run(Path(name), held)
            rows.append(
                (
                    label,
                    f"{found.facts:,}",
                    f"{found.seconds:,.0f}",
                    f"{held / found.seconds:,.0f}",
                    f"{found.mebibytes:.0f}",
                )
            )
    head = ("invoices", "new facts", "seconds", "invoices a second", "MiB at most")
    report.publish("Reconciling with a billing engine", report.table(head, rows), quick=chosen.quick)


if __name__ == "__main__":
    main()
