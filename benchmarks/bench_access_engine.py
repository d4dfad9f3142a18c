"""Deciding about access: pure decisions a second, and what the timers cost with a million customers of whom 1 % are due."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from benchmarks import machines, report
from billhook.access import Account, Policy, decide, parse_policy
from billhook.access.facts import AccessFact, Finalized, PaymentChanged
from billhook.clock import VirtualClock, monotonic
from billhook.events import InvoiceFinalized
from billhook.model import Ref
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.services.enacting import Scope
from billhook_web.settings import read_configuration
from billhook_web.stores import access

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECONDS = 2.0
INVOICES = 24
DOCUMENT = {
    "rules": [
        {"state": "suspended", "when": {"overdue_days": 30}, "access": "none", "block_changes": True},
        {"state": "restricted", "when": {"unpaid_balance": {"EUR": 50_000}}, "access": "limited"},
        {"state": "past_due", "when": {"overdue_days": 10}},
    ]
}
TEMPLATE = "cus-template"
FILLS = (
    """INSERT INTO customers (id, given, observed, version, created_at, updated_at)
       SELECT 'cus-' || n, '{}', '{}', 0, now(), now() FROM generate_series(1, :count) AS n""",
    """INSERT INTO invoices (ref, connection, customer_id, status, at, body)
       SELECT 'acme:in-' || n, connection, 'cus-' || n, status, at,
              replace(replace(body, 'cus-template', 'cus-' || n), 'in-template', 'in-' || n)
       FROM invoices, generate_series(1, :count) AS n WHERE ref = 'acme:in-template'""",
    """INSERT INTO facts (key, type, at, seen_at, connection, subject, invoice, customer_id, inbox_id, body)
       SELECT md5(key || n), type, at, seen_at, connection, 'acme:in-' || n, 'acme:in-' || n, 'cus-' || n, inbox_id,
              replace(replace(body, 'cus-template', 'cus-' || n), 'in-template', 'in-' || n)
       FROM facts, generate_series(1, :count) AS n WHERE subject = 'acme:in-template'""",
    """INSERT INTO access_decisions (customer_id, version, state, access, body, policy, changed_at, settled_at,
                                     next_change_at, fresh_until, block_changes)
       SELECT 'cus-' || n, version, state, access,
              replace(replace(body, 'cus-template', 'cus-' || n), 'in-template', 'in-' || n), policy, changed_at,
              settled_at, CASE WHEN n % 100 = 0 THEN next_change_at ELSE next_change_at + interval '9 years' END,
              fresh_until, block_changes
       FROM access_decisions, generate_series(1, :count) AS n WHERE customer_id = 'cus-template'""",
    "DELETE FROM access_decisions WHERE customer_id = 'cus-template'",
)


def account(invoices: int) -> Account:
    """Return an account that pays its monthly invoices a week late; the last three are still open."""
    return Account(id="A", facts=tuple(_facts(invoices)))


def _facts(invoices: int) -> Iterator[AccessFact]:
    for number in range(invoices):
        at = BEGIN + number * 30 * DAY
        name = f"I{number}"
        yield Finalized(
            at=at, invoice=name, amount=4_900, currency="EUR", issue_date=at.date(), due_date=at.date()
        )
        if number < invoices - 3:
            yield PaymentChanged(
                type="payment.succeeded", at=at + 7 * DAY, payment=f"P{number}", invoice=name, amount=4_900,
                currency="EUR",
            )  # fmt: skip


def decisions_a_second(of: Account, policy: Policy, *, seconds: float) -> float:
    """Decide again and again at the end of the account's facts."""
    at = max(fact.at for fact in of.facts) + 15 * DAY
    done, started = 0, monotonic()
    while (passed := monotonic() - started) < seconds:
        decide(of, policy, at)
        done += 1
    return done / passed


@contextmanager
def filled(server: str, name: str, customers: int) -> Iterator[tuple[Runtime, VirtualClock]]:
    """Run a host with so many customers; each owes an invoice, and 1 % change state ten days from the beginning."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    machines.settings(url)
    clock = VirtualClock(BEGIN)
    runtime = build_runtime(read_configuration({"BILLHOOK_DATABASE_URL": url}), clock=clock)
    try:
        _fill(runtime, customers)
        yield runtime, clock
    finally:
        runtime.close()


def _fill(runtime: Runtime, customers: int) -> None:
    note = _unnoted
    runtime.enacting.create("bench", DOCUMENT, by="bench", reason=None, note=note)
    runtime.enacting.activate(Scope(), name="bench", version=None, by="bench", reason=None, note=note)
    invoice = InvoiceFinalized(
        ref=Ref("acme", "in-template"), customer_id=TEMPLATE, at=BEGIN, currency="EUR", total=4_900, taxes=0,
        due=4_900, issued_on=date(2026, 1, 1), due_on=date(2026, 1, 1),
    )  # fmt: skip
    with runtime.db.begin() as tx:
        runtime.recorder.hear(tx, [invoice], now=BEGIN)
    with runtime.db.begin() as tx:
        for statement in FILLS:
            tx.execute(text(statement), {"count": customers} if ":count" in statement else {})
    with runtime.db.read() as tx:
        for table in ("customers", "invoices", "facts", "access_decisions"):
            tx.execute(text(f"VACUUM ANALYZE {table}"))


def _unnoted(*_args: object, **_details: object) -> None:
    """Nobody asks for this audit."""


def settle_due(runtime: Runtime, clock: VirtualClock) -> tuple[int, float, float]:
    """Let the time of the due ones come and settle them; return how many, and the seconds to find and to settle."""
    clock.advance(12 * DAY)
    count, finding, settling = 0, 0.0, 0.0
    while True:
        started = monotonic()
        due = runtime.deciding.due(now=clock.now())
        found = monotonic()
        finding += found - started
        if not due:
            break
        runtime.deciding.settle([customer for customer, _ in due], woken=lambda _effects: None)
        settling += monotonic() - found
        count += len(due)
    with runtime.db.read() as tx:
        last = access.get(tx, "cus-100")
    if last is None or last.body["state"] != "past_due":
        raise RuntimeError("the due ones were not settled")
    return count, finding, settling


def pure(rounds: int, seconds: float) -> list[tuple[str, str, str]]:
    """Measure pure decisions for an account and one ten times as long, in turn."""
    policy = parse_policy(DOCUMENT)
    sizes = {size: account(size) for size in (INVOICES, 10 * INVOICES)}
    speeds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size, each in sizes.items():
            speeds[size].append(decisions_a_second(each, policy, seconds=seconds))
    first = median(speeds[INVOICES])
    return [
        (
            f"{size} invoices, {len(sizes[size].facts)} facts",
            report.spread(found),
            f"{first / median(found):.1f}",
        )
        for size, found in speeds.items()
    ]


def timers(sizes: Sequence[int]) -> list[tuple[str, str, str, str]]:
    """Measure the timers with each number of customers."""
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="billhook-bench-") as folder,
        machines.databases(Path(folder)) as (server, _redis),
    ):
        for size in sizes:
            with filled(server, f"customers_{size}", size) as (runtime, clock):
                count, finding, settling = settle_due(runtime, clock)
            found, settled = finding / count * 1e6, settling / count * 1e3
            rows.append((f"{size:,}", f"{count:,}", f"{found:,.1f} µs", f"{settled:.2f} ms"))
    return rows


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "")
    decided = pure(chosen.rounds, 0.05 if chosen.quick else SECONDS)
    head = ("account", "decisions a second", "times the cost")
    report.publish("Decisions about access, pure", report.table(head, decided), quick=chosen.quick)
    rows = timers((200, 1_000) if chosen.quick else (100_000, 1_000_000))
    columns = ("customers", "due", "to find one", "to settle one")
    report.publish("The timers of access, on PostgreSQL", report.table(columns, rows), quick=chosen.quick)


if __name__ == "__main__":
    main()
