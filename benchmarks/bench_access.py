"""What an answer about access costs over a bare Flask JSON route on the same server, and a preview over everybody."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from pydantic import TypeAdapter
from sqlalchemy import insert, text

from benchmarks import machines, report
from benchmarks.machines import Server
from billhook.access import Account, Policy, decide
from billhook.accounting import Entry, access_facts
from billhook.events import InvoiceFinalized, SubscriptionStarted, fact_key, to_json
from billhook.model import Invoice, Ref
from billhook.projections import project_invoice
from billhook_web.db import Database
from billhook_web.stores import tables
from billhook_web.stores.access_tables import access_decisions

KEY = "bh_bench_0123456789abcdef0123456789"
BATCH = 2000
ISSUED = date(2026, 9, 1)
POLICY = {
    "rules": [
        {"state": "late", "when": {"overdue_days": 1, "overdue_balance": {"EUR": 15000}}, "access": "none"}
    ]
}
_INVOICE = TypeAdapter(Invoice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One way to ask: of whom, and how."""

    name: str
    server: Server
    how: str
    status: str = "200"

    def speed(self, first: int, count: int) -> float:
        """Ask so many times from another process; return how often a second that was answered."""
        arguments = [self.server.port, KEY, self.how, first, count]
        command = [sys.executable, "-m", "benchmarks.asking", *map(str, arguments)]
        done = subprocess.run(command, cwd=machines.ROOT, capture_output=True, check=True, timeout=150)
        said = json.loads(done.stdout)
        if said["statuses"] != {self.status: count}:
            raise RuntimeError(
                f"{self.name} answered {said['statuses']} instead of {count} times {self.status}"
            )
        return count / float(said["seconds"])


@contextmanager
def bare() -> Iterator[Server]:
    """Run what the answers are compared with."""
    port = machines.free_port()
    arguments = ["-m", "benchmarks.bare_json", str(port), str(machines.THREADS)]
    with machines.running("bare Flask JSON", arguments, port=port) as server:
        yield server


def fill(url: str, count: int) -> None:
    """Store so many customers with a subscription, an unpaid invoice, and the decision about them."""
    now = datetime.now(UTC)
    db = Database(url)
    for start in range(0, count, BATCH):
        rows = [_customer(number, now) for number in range(start, min(count, start + BATCH))]
        with db.begin() as tx:
            for table in (tables.customers, tables.facts, tables.invoices, access_decisions):
                tx.execute(insert(table), [row for each in rows for row in each[table.name]])
    if not db.is_sqlite:
        with db.read() as tx:
            tx.execute(text("VACUUM ANALYZE"))
    db.close()


def _customer(number: int, now: datetime) -> Mapping[str, list[dict[str, object]]]:
    name, at = f"cus_{number:07d}", datetime.combine(ISSUED, datetime.min.time(), UTC)
    invoice = Ref("lago", f"inv_{number:07d}")
    started = SubscriptionStarted(
        at=at,
        ref=Ref("lago", f"sub_{number:07d}"),
        external_id=f"agr_{number:07d}",
        customer_id=name,
        plan="team",
    )
    finalized = InvoiceFinalized(
        at=at, ref=invoice, customer_id=name, number=f"N-{number}", currency="EUR", total=10000 + number % 10000,
        taxes=0, due=10000 + number % 10000, issued_on=ISSUED, due_on=ISSUED + timedelta(days=14),
    )  # fmt: skip
    projected = project_invoice([finalized])
    assert projected is not None
    account = Account(
        id=name, facts=access_facts([Entry(event=started), Entry(event=finalized, invoice=invoice)], {})
    )
    decision = decide(account, Policy(), now)
    return {
        "customers": [{"id": name, "given": "{}", "observed": "{}", "version": 0, "created_at": now, "updated_at": now}],
        "facts": [
            {
                "key": fact_key(fact), "type": fact.type, "at": fact.at, "seen_at": now, "connection": "lago",
                "subject": str(fact.ref), "invoice": str(invoice) if fact is finalized else None,
                "customer_id": name, "body": to_json(fact),
            }
            for fact in (started, finalized)
        ],
        "invoices": [
            {
                "ref": str(invoice), "connection": "lago", "customer_id": name, "status": projected.payment_status,
                "at": at, "body": _INVOICE.dump_json(projected).decode(),
            }
        ],
        "access_decisions": [
            {
                "customer_id": name, "version": 1, "state": decision.state, "access": decision.access.value,
                "body": json.dumps(decision.to_json(), separators=(",", ":")), "policy": 0, "changed_at": at,
                "settled_at": now, "block_changes": 0,
            }
        ],
    }  # fmt: skip


def measure(ways: Sequence[Asked], *, rounds: int, count: int, stored: int) -> dict[str, list[float]]:
    """Ask in each way in turn, round after round; a first time warms up. No customer is asked for twice within rounds."""
    speeds: dict[str, list[float]] = {way.name: [] for way in ways}
    first = 0
    for at in range(rounds + 1):
        for way in ways:
            speed = way.speed(first, count)
            first = (first + count) % max(1, stored - count)
            if at:
                speeds[way.name].append(speed)
    return speeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """What a preview came to: seconds to its first line and to its last, customers, MiB that the host grew by."""

    first_seconds: float
    seconds: float
    customers: int
    changed: int
    mebibytes: float


def preview(server: Server) -> Previewed:
    """Preview a policy over everybody, as a caller does."""
    before, began, first = server.memory(), time.monotonic(), 0.0
    most = before
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/access/policies/preview", json.dumps({"policy": POLICY}), headers)
    answer = connection.getresponse()
    last = b""
    for number, line in enumerate(answer):
        last, first = line, first or time.monotonic() - began
        if number % 5000 == 0:
            most = max(most, server.memory())
    connection.close()
    said = json.loads(last)
    return Previewed(
        first_seconds=first,
        seconds=time.monotonic() - began,
        customers=said["looked_at"],
        changed=said["now"] + said["later"],
        mebibytes=most - before,
    )


def main() -> None:
    """Fill, measure and print."""
    chosen = report.options(__doc__ or "")
    stored, count = (400, 40) if chosen.quick else (100_000, 4000)
    with (
        tempfile.TemporaryDirectory(prefix="billhook-bench-") as name,
        machines.databases(Path(name)) as (url, redis),
    ):
        env = machines.settings(url, redis_url=redis, BILLHOOK_API_KEY=KEY)
        fill(url, stored)
        with machines.host("web", env) as host, bare() as plain:
            ways = (
                Asked(name="bare Flask JSON", server=plain, how="new"),
                Asked(name="not seen before", server=host, how="new"),
                Asked(name="again within a second", server=host, how="again"),
                Asked(name="If-None-Match, a second later", server=host, how="unchanged", status="304"),
            )
            speeds = measure(ways, rounds=chosen.rounds, count=count, stored=stored)
            seen = preview(host)
    base = median(speeds["bare Flask JSON"])
    rows = [(name, report.spread(each), f"{median(each) / base:.2f}") for name, each in speeds.items()]
    load = f"Load average while it ran: {os.getloadavg()[0]:.1f}."
    report.publish(
        "An answer about access on PostgreSQL",
        report.table(("question", "answers a second", "ratio"), rows) + f"\n\n{load}",
        quick=chosen.quick,
    )
    head = ("customers", "change", "seconds to the first line", "seconds", "customers a second", "MiB more")
    row = (
        f"{seen.customers:,}", f"{seen.changed:,}", f"{seen.first_seconds:.2f}", f"{seen.seconds:.1f}",
        f"{seen.customers / seen.seconds:,.0f}", f"{seen.mebibytes:.0f}",
    )  # fmt: skip
    report.publish(
        "A policy previewed over everybody", report.table(head, [row]) + f"\n\n{load}", quick=chosen.quick
    )


if __name__ == "__main__":
    main()
