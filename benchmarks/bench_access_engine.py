"""Deciding about access: pure decisions, and what the timers cost with a million customers of whom 1 % are due."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from time import process_time

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url

from benchmarks import machines, report
from billhook.access import Account, Policy, decide, parse_policy
from billhook.access.facts import AccessFact, Finalized, PaymentChanged
from billhook.clock import VirtualClock, monotonic
from billhook.events import InvoiceFinalized
from billhook.model import Ref
from billhook_web.db import Tx
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.services.enacting import Scope
from billhook_web.settings import read_configuration
from billhook_web.stores import access

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DUE = BEGIN + 10 * DAY
"""When the first 1 % are looked at; the next 1 % a day later, and so on."""

SECONDS = 0.1
TURNS = 4
"""Turns of so many seconds that each account has in a round."""
BUDGET_SECONDS = 150.0
"""No further round is begun after so long."""

INVOICES = 24
OPEN = 3
DOCUMENT = {
    "rules": [
        {"state": "suspended", "when": {"overdue_days": 30}, "access": "none", "block_changes": True},
        {"state": "restricted", "when": {"unpaid_balance": {"EUR": 50_000}}, "access": "limited"},
        {"state": "past_due", "when": {"overdue_days": 10}},
    ]
}
TEMPLATE = "cus-template"
FILLED = ("customers", "invoices", "facts", "access_decisions")
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
              settled_at,
              next_change_at + CASE WHEN n % 100 < :groups THEN n % 100 * interval '1 day' ELSE interval '9 years' END,
              fresh_until, block_changes
       FROM access_decisions, generate_series(1, :count) AS n WHERE customer_id = 'cus-template'""",
)
INDEXES = """SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(:tables)
             AND indexname NOT IN (SELECT conname FROM pg_constraint)"""


def account(invoices: int, *, unpaid: int = OPEN) -> Account:
    """Return an account that pays its monthly invoices a week late; the last ``unpaid`` ones are still open."""
    return Account(id="A", facts=tuple(_facts(invoices, unpaid)))


def _facts(invoices: int, unpaid: int) -> Iterator[AccessFact]:
    for number in range(invoices):
        at = BEGIN + number * 30 * DAY
        name = f"I{number}"
        yield Finalized(
            at=at, invoice=name, amount=4_900, currency="EUR", issue_date=at.date(), due_date=at.date()
        )
        if number < invoices - unpaid:
            yield PaymentChanged(
                type="payment.succeeded", at=at + 7 * DAY, payment=f"P{number}", invoice=name, amount=4_900,
                currency="EUR",
            )  # fmt: skip


def seconds_to_decide(of: Account, policy: Policy, *, seconds: float) -> float:
    """Decide again and again at the end of the account's facts; return the processor time of one decision."""
    at = max(fact.at for fact in of.facts) + 15 * DAY
    done, started = 0, process_time()
    while (passed := process_time() - started) < seconds:
        decide(of, policy, at)
        done += 1
    return passed / done


def pure(rounds: int, seconds: float) -> list[tuple[str, ...]]:
    """Measure pure decisions for accounts and ones ten times as long, in turn.

    How the cost grows is told by the fastest turn of each: what else the machine does can only make one slower.
    """
    policy, many = parse_policy(DOCUMENT), 10 * INVOICES
    kinds = {
        f"{INVOICES} invoices, {OPEN} open": account(INVOICES),
        f"{many} invoices, {OPEN} open": account(many),
        f"{INVOICES} invoices, all open": account(INVOICES, unpaid=INVOICES),
        f"{many} invoices, all open": account(many, unpaid=many),
    }
    took: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds * TURNS):
        for name, each in kinds.items():
            took[name].append(seconds_to_decide(each, policy, seconds=seconds))
    rows: list[tuple[str, ...]] = []
    names = list(kinds)
    for small, name in zip((names[0], names[0], names[2], names[2]), names, strict=True):
        facts = len(kinds[name].facts)
        rows.append(
            (
                name, f"{facts}", report.spread([1 / each for each in took[name]]),
                f"{median(took[name]) / facts * 1e6:.1f} µs", f"{facts / len(kinds[small].facts):.1f}",
                f"{min(took[name]) / min(took[small]):.1f}",
            )
        )  # fmt: skip
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one percent of the customers took: seconds to find and to settle, our processor time for both, statements."""

    customers: int
    finding: float
    settling: float
    processor: float
    statements: int


@dataclass(slots=True, kw_only=True)
class Filled:
    """A host with so many customers, and the rounds so far."""

    customers: int
    runtime: Runtime
    clock: VirtualClock
    rounds: list[Round] = field(default_factory=list)

    def settle_due(self) -> None:
        """Let the time of the next 1 % come, find them and settle them."""
        self.clock.advance(DUE + len(self.rounds) * DAY - self.clock.now())
        done, finding, settling, processor = 0, 0.0, 0.0, process_time()
        with _counted(self.runtime) as sent:
            while True:
                started = monotonic()
                due = self.runtime.deciding.due(now=self.clock.now())
                found = monotonic()
                finding += found - started
                if not due:
                    break
                self.runtime.deciding.settle([customer for customer, _ in due], woken=lambda _effects: None)
                settling += monotonic() - found
                done += len(due)
        self._check()
        self.rounds.append(
            Round(
                customers=done, finding=finding, settling=settling, processor=process_time() - processor,
                statements=len(sent),
            )
        )  # fmt: skip

    def _check(self) -> None:
        group = len(self.rounds)
        with self.runtime.db.read() as tx:
            last = access.get(tx, f"cus-{100 + group}")
        if last is None or last.body["state"] != "past_due":
            raise RuntimeError("the due ones were not settled")


@contextmanager
def _counted(runtime: Runtime) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(runtime.db.engine, "before_cursor_execute", note)
    yield sent
    event.remove(runtime.db.engine, "before_cursor_execute", note)


@contextmanager
def filled(server: str, name: str, customers: int, *, groups: int = 1) -> Iterator[Filled]:
    """Run a host with so many customers; each owes an invoice, and 1 % change state on each of the next days.

    :param groups: on how many days.
    """
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    machines.settings(url)
    clock = VirtualClock(BEGIN)
    runtime = build_runtime(read_configuration({"BILLHOOK_DATABASE_URL": url}), clock=clock)
    try:
        _fill(runtime, {"count": customers, "groups": groups})
        yield Filled(customers=customers, runtime=runtime, clock=clock)
    finally:
        runtime.close()


def _fill(runtime: Runtime, wanted: Mapping[str, int]) -> None:
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
        _multiply(tx, wanted)
    with runtime.db.read() as tx:
        for table in FILLED:
            tx.execute(text(f"VACUUM ANALYZE {table}"))
        tx.execute(text("CHECKPOINT"))  # what was filled in is not written out while something is measured


def _multiply(tx: Tx, wanted: Mapping[str, int]) -> None:
    """Copy what the template has for everybody; indexes are made afterwards, which takes a fraction of the time."""
    tx.execute(text("SET LOCAL maintenance_work_mem = '256MB'"))
    indexes = tx.execute(text(INDEXES), {"tables": list(FILLED)}).all()
    for index in indexes:
        tx.execute(text(f"DROP INDEX {index.indexname}"))
    for table, statement in zip(FILLED, FILLS, strict=True):
        say(f"{wanted['count']:,} rows of {table}")
        tx.execute(
            text(statement), {name: value for name, value in wanted.items() if f":{name}" in statement}
        )
    tx.execute(text("DELETE FROM access_decisions WHERE customer_id = 'cus-template'"))
    say(f"{len(indexes)} indexes")
    for index in indexes:
        tx.execute(text(index.indexdef))


def _unnoted(*_args: object, **_details: object) -> None:
    """Nobody asks for this audit."""


def say(what: str) -> None:
    """Tell whoever waits what is being done."""
    print(f"... {what}", file=sys.stderr, flush=True)


def timers(sizes: Sequence[int], rounds: int, *, deadline: float) -> list[tuple[str, ...]]:
    """Measure the timers with each number of customers, in turn; no round is begun after the deadline."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="billhook-bench-"))
        server, _redis = stack.enter_context(machines.databases(Path(folder)))
        stages = [
            stack.enter_context(filled(server, f"customers_{size}", size, groups=rounds)) for size in sizes
        ]
        for number in range(rounds):
            if number and monotonic() > deadline:
                say(f"stopped after {number} of {rounds} rounds, to end in time")
                break
            for stage in stages:
                stage.settle_due()
                last = stage.rounds[-1]
                say(
                    f"round {number + 1}: {stage.customers:,} customers, {last.settling:.1f} s for {last.customers:,}"
                )
    rows = [_figures(stage) for stage in stages]
    written = [
        (f"{stage.customers:,}", f"{stage.rounds[0].customers:,}", f"{find:.1f} µs", f"{settle:.2f} ms", f"{cpu:.2f} ms", f"{sent:.2f}")
        for stage, (find, settle, cpu, sent) in zip(stages, rows, strict=True)
    ]  # fmt: skip
    ratios = [f"{after / before:.2f}" for before, after in zip(rows[0], rows[-1], strict=True)]
    return [*written, ("times", "", *ratios)]


def _figures(stage: Filled) -> tuple[float, float, float, float]:
    """Return what one customer took, the median of all rounds: µs to find, ms to settle, ms of our processor, statements."""
    return (
        median(each.finding / each.customers for each in stage.rounds) * 1e6,
        median(each.settling / each.customers for each in stage.rounds) * 1e3,
        median(each.processor / each.customers for each in stage.rounds) * 1e3,
        median(each.statements / each.customers for each in stage.rounds),
    )


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "")
    deadline = monotonic() + BUDGET_SECONDS
    say("pure decisions")
    decided = pure(chosen.rounds, 0.05 if chosen.quick else SECONDS)
    head = ("account", "facts", "decisions a second", "for a fact", "times the facts", "times the cost")
    report.publish("Decisions about access, pure", report.table(head, decided), quick=chosen.quick)
    sizes = (200, 1_000) if chosen.quick else (100_000, 1_000_000)
    rows = timers(sizes, chosen.rounds, deadline=deadline)
    columns = ("customers", "due", "to find one", "to settle one", "of our processor", "statements for one")
    report.publish("The timers of access, on PostgreSQL", report.table(columns, rows), quick=chosen.quick)


if __name__ == "__main__":
    main()
