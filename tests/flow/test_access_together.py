"""Many customers whose time came are judged together, and none of them is in another's way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from billhook.clock import VirtualClock, monotonic, pause
from billhook.events import CustomerDelegated, InvoiceFinalized
from billhook.model import Ref
from billhook_web.db import Database, lock
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.services.deciding import TOGETHER
from billhook_web.services.enacting import Scope
from billhook_web.settings import read_configuration
from billhook_web.stores import access, schema
from tests.flow.flow import Backend

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PATIENCE_SECONDS = 60.0
POLICY: dict[str, Any] = {
    "rules": [
        {"state": "suspended", "when": {"overdue_days": 20}, "access": "none"},
        {"state": "past_due", "when": {"overdue_days": 10}},
    ]
}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(BEGIN)


@pytest.fixture
def runtime(backend: Backend, clock: VirtualClock) -> Iterator[Runtime]:
    db = Database(backend.database_url)
    schema.upgrade(db)
    db.close()
    made = build_runtime(read_configuration({"BILLHOOK_DATABASE_URL": backend.database_url}), clock=clock)
    made.enacting.create("late", POLICY, by="test", reason=None, note=unnoted)
    made.enacting.activate(Scope(), name="late", version=None, by="test", reason=None, note=unnoted)
    yield made
    made.close()


def unnoted(*_args: object, **_details: object) -> None:
    """Nobody asks for this audit."""


def owing(runtime: Runtime, count: int, *, first: int = 0) -> list[str]:
    """Have customers owe an invoice that is due at the beginning."""
    names = [f"cus_{number:03d}" for number in range(first, first + count)]
    invoices = [
        InvoiceFinalized(
            ref=Ref("acme", f"in_{name}"), customer_id=name, at=BEGIN, currency="EUR", total=4_900, taxes=0,
            due=4_900, issued_on=date(2026, 1, 1), due_on=date(2026, 1, 1),
        )
        for name in names
    ]  # fmt: skip
    with runtime.db.begin() as tx:
        runtime.recorder.hear(tx, invoices, now=BEGIN)
    return names


def settle(runtime: Runtime, names: list[str]) -> None:
    runtime.deciding.settle(names, woken=lambda _effects: None)


def history(runtime: Runtime, name: str) -> list[tuple[int, datetime, str]]:
    with runtime.db.read() as tx:
        return [(each.version, each.at, each.body["state"]) for each in reversed(access.history(tx, name))]


CLEAR = (1, BEGIN, "clear")
LATE = (2, datetime(2026, 1, 11, tzinfo=UTC), "past_due")
GONE = (3, datetime(2026, 1, 21, tzinfo=UTC), "suspended")


@contextmanager
def counted(runtime: Runtime) -> Iterator[list[str]]:
    """Collect the statements that are sent while the block runs; what is sent many times over in one go counts once."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(runtime.db.engine, "before_cursor_execute", note)
    yield sent
    event.remove(runtime.db.engine, "before_cursor_execute", note)


def test_ten_times_as_many_who_are_due_take_no_more_statements(runtime: Runtime, clock: VirtualClock) -> None:
    few, many = owing(runtime, 4), owing(runtime, 40, first=100)
    clock.advance(15 * DAY)
    costs = []
    for names in (few, many):
        with counted(runtime) as sent:
            settle(runtime, names)
        costs.append(len(sent))
    assert costs[0] == costs[1] < 20
    assert [history(runtime, name) for name in few + many] == [[CLEAR, LATE]] * 44


def test_more_than_are_judged_together_are_all_judged_and_then_nobody_is_due(
    runtime: Runtime, clock: VirtualClock
) -> None:
    names = owing(runtime, TOGETHER + 3)
    now = clock.advance(30 * DAY)
    assert [name for name, _ in runtime.deciding.due(now=now)] == names
    settle(runtime, names)
    assert [history(runtime, name) for name in names] == [[CLEAR, LATE, GONE]] * len(names)
    assert runtime.deciding.due(now=now) == []
    settle(runtime, names)
    assert history(runtime, names[0]) == [CLEAR, LATE, GONE]


def test_who_cannot_be_judged_costs_nobody_else_and_is_judged_when_it_can_be(
    runtime: Runtime, clock: VirtualClock
) -> None:
    names = owing(runtime, 5)
    with runtime.db.begin() as tx:
        whole = tx.execute(
            text("SELECT body FROM access_decisions WHERE customer_id = 'cus_002'")
        ).scalar_one()
        tx.execute(text("UPDATE access_decisions SET body = 'broken' WHERE customer_id = 'cus_002'"))
    clock.advance(15 * DAY)
    settle(runtime, names)
    others = [name for name in names if name != "cus_002"]
    assert [history(runtime, name) for name in others] == [[CLEAR, LATE]] * 4
    assert history(runtime, "cus_002") == [CLEAR]
    assert [name for name, _ in runtime.deciding.due(now=clock.now())] == ["cus_002"]
    with runtime.db.begin() as tx:
        mended = text("UPDATE access_decisions SET body = :body WHERE customer_id = 'cus_002'")
        tx.execute(mended, {"body": whole})
    settle(runtime, names)
    assert [history(runtime, name) for name in names] == [[CLEAR, LATE]] * 5


def test_payers_and_those_they_pay_for_are_judged_together(runtime: Runtime, clock: VirtualClock) -> None:
    first, second = owing(runtime, 2)
    told = CustomerDelegated(ref=Ref("billhook", "payer"), customer_id="child", at=BEGIN, pays=first)
    with runtime.db.begin() as tx:
        runtime.recorder.hear(tx, [told], now=BEGIN)
    clock.advance(30 * DAY)
    settle(runtime, ["child", first, second])
    for name in ("child", first, second):
        assert [(at, state) for _, at, state in history(runtime, name)][1:] == [LATE[1:], GONE[1:]]


@pytest.mark.parametrize(
    "backend", ["postgres"], indirect=True
)  # on SQLite nobody is busy while another writes
def test_whoever_is_busy_is_waited_for_alone(runtime: Runtime, clock: VirtualClock) -> None:
    names = owing(runtime, 4)
    clock.advance(15 * DAY)
    work = threading.Thread(target=settle, args=(runtime, names))
    with runtime.db.begin() as tx:
        lock(tx, ["customer/cus_001"])
        work.start()
        until(lambda: all(len(history(runtime, name)) == 2 for name in names if name != "cus_001"))
        assert history(runtime, "cus_001") == [CLEAR]
    work.join(PATIENCE_SECONDS)
    assert history(runtime, "cus_001") == [CLEAR, LATE]


def until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while not holds():
        assert monotonic() < deadline
        pause(0.02)
