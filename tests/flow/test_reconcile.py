"""What no webhook brought is found by asking, recorded like the rest, and listed as a gap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billhook.model import PaymentStatus, SubscriptionStatus
from billhook.testing.sandbox import Fault, FaultKind
from billhook_web.services.rebuild import rebuild
from billhook_web.services.reconcile import Pace, Tally
from billhook_web.stores import billing, reconcile
from billhook_web.stores.reconcile import GapRow, Run, RunStatus
from tests.flow.flow import START, Backend, Flow

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
AT_ONCE = Pace(patience=timedelta())
ON_ONE_DATABASE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""For what does not depend on the database."""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Flow]:
    """A second host that misses nothing, told the same story."""
    with Flow(Backend("sqlite", f"sqlite:///{tmp_path / 'other.sqlite3'}", None)).running() as running:
        yield running


def drop_everything(flow: Flow, *, lago: bool = True, dodo: bool = False) -> None:
    """From now on no webhook leaves."""
    flow.lago.webhooks.drop = 10**9 if lago else 0
    flow.dodo.sender.drop = 10**9 if dodo else 0


def asked(flow: Flow, name: str = "lago", *, pace: Pace = AT_ONCE, all_of_it: bool = False) -> Run:
    reconciler = flow.runtime.reconciler
    since = None if all_of_it else reconciler.since_last(name)
    run = reconciler.run(name, since=since, woken=flow.wake.effects, pace=pace)
    assert run is not None
    flow.settle()
    return run


def gaps(flow: Flow) -> list[GapRow]:
    with flow.runtime.db.read() as tx:
        return reconcile.page_gaps(tx, limit=1000)


def prepare(flow: Flow) -> None:
    """Two plans, a customer with a subscription, two invoices; all of it delivered."""
    flow.lago.add_plan(code="starter", name="Starter", amount_cents=2900)
    flow.lago.add_plan(code="pro", name="Pro", amount_cents=4900)
    flow.api("PUT", "/customers/acct_1", name="Acme", email="billing@acme.example", currency="EUR")
    flow.settle()
    lago(flow, "POST", "subscriptions", subscription=agreement("sub.1", "starter"))
    flow.lago.issue_invoice("acct_1", 5000)
    flow.lago.issue_invoice("acct_1", 300)
    flow.settle()


def a_busy_day(flow: Flow) -> None:
    """Customers, plan changes, ends, invoices, payments in the engine's books, a void, a credit note."""
    flow.clock.advance(HOUR)
    lago(flow, "POST", "customers", customer={"external_id": "acct_2", "name": "New", "currency": "EUR"})
    lago(flow, "POST", "subscriptions", subscription=agreement("sub.1", "pro"))
    lago(
        flow,
        "POST",
        "subscriptions",
        subscription={**agreement("sub.2", "starter"), "external_customer_id": "acct_2"},
    )
    flow.settle()
    flow.clock.advance(HOUR)
    lago(flow, "PUT", "subscriptions/sub.1", subscription={"ending_at": "2026-12-31T23:59:59Z"})
    lago(flow, "DELETE", "subscriptions/sub.2")
    invoice = flow.lago.issue_invoice("acct_1", 7000)
    flow.settle()
    flow.clock.advance(HOUR)
    paid = {"invoice_id": invoice["lago_id"], "amount_cents": 7000, "reference": "by-hand"}
    lago(flow, "POST", "payments", payment=paid)
    lago(flow, "POST", f"invoices/{invoice_of(flow, 300)['lago_id']}/void")
    flow.settle()
    flow.clock.advance(HOUR)
    fee = next(each for each in flow.lago.invoices if each["lago_id"] == invoice["lago_id"])["fees"][0]
    items = [{"fee_id": fee["lago_id"], "amount_cents": 1000}]
    note = {"invoice_id": invoice["lago_id"], "reason": "other", "credit_amount_cents": 1000, "items": items}
    lago(flow, "POST", "credit_notes", credit_note=note)
    flow.settle()
    flow.clock.advance(DAY - 4 * HOUR)


def invoice_of(flow: Flow, amount: int) -> dict[str, Any]:
    """The engine's invoice of this total."""
    return next(each for each in flow.lago.invoices if each["total_amount_cents"] == amount)


def pay(flow: Flow, invoice: dict[str, Any]) -> dict[str, Any]:
    """The customer pays an invoice at its checkout."""
    (checkout,) = [
        each for each in flow.dodo.checkouts if each["metadata"]["lago_invoice_id"] == invoice["lago_id"]
    ]
    return flow.dodo.pay(checkout["session_id"])


def agreement(external_id: str, plan: str) -> dict[str, str]:
    return {"external_customer_id": "acct_1", "plan_code": plan, "external_id": external_id}


def lago(flow: Flow, method: str, path: str, **body: Any) -> Any:
    """What somebody does in the billing engine."""
    client, segments = flow.lago_client(), path.split("/")
    call = {"POST": client.post, "PUT": client.put, "DELETE": client.delete}[method]
    answer = call(*segments, **({"json": body} if body else {}))
    assert answer.ok, answer.body
    return answer.json()


def books(flow: Flow) -> dict[str, Any]:
    """The billing engine's things as the host holds them, without when it last heard of them. An old row's period is
    only told while it is current."""
    moves = ("observed_at", "current_period")
    with flow.runtime.db.read() as tx:
        kept = {
            "invoices": billing.invoices.all(tx),
            "subscriptions": billing.subscriptions.all(tx),
            "credit_notes": billing.credit_notes.all(tx),
        }
    return {
        kind: sorted(
            ({name: each for name, each in asdict(value).items() if name not in moves} for value in values),
            key=repr,
        )
        for kind, values in kept.items()
    }


def test_a_day_without_webhooks_is_made_up_for(flow: Flow, other: Flow) -> None:
    for each in (flow, other):
        prepare(each)
    drop_everything(flow)
    for each in (flow, other):
        a_busy_day(each)
    assert books(flow) != books(other)
    run = asked(flow)
    assert run.status is RunStatus.DONE
    assert books(flow) == books(other)
    found = {(gap.kind, gap.changed == ("new",)) for gap in gaps(flow)}
    assert {("customer", True), ("subscription", True), ("invoice", True), ("credit_note", True)} <= found
    assert ("subscription", False) in found  # the old half of the plan change
    assert run.gaps == len(gaps(flow))
    names = flow.api("GET", "/gaps?connection=lago&kind=credit_note")["data"]
    assert {tuple(each["changed"]) for each in names} == {("new",)}


def test_asked_again_nothing_changes(flow: Flow) -> None:
    prepare(flow)
    drop_everything(flow)
    a_busy_day(flow)
    asked(flow)
    before, effects, known = flow.books(), flow.effects(), len(gaps(flow))
    flow.clock.advance(HOUR)
    again = asked(flow)
    assert again.seen > 0
    assert (again.facts, again.gaps) == (0, 0)
    assert (flow.books(), flow.effects(), len(gaps(flow))) == (before, effects, known)


def test_what_was_found_is_in_the_inbox_so_the_ledger_can_be_made_anew(flow: Flow) -> None:
    prepare(flow)
    drop_everything(flow)
    a_busy_day(flow)
    asked(flow)
    runtime = flow.runtime
    rebuilt = rebuild(runtime.db, runtime.connections, runtime.recorder, runtime.judge, check=True)
    assert rebuilt.facts > 0
    assert rebuilt.differences == ()


@ON_ONE_DATABASE
def test_a_run_stopped_by_hand_can_go_on_at_once(flow: Flow) -> None:
    prepare(flow)
    drop_everything(flow)
    a_busy_day(flow)
    reconciler = flow.runtime.reconciler

    def interrupted(_tally: Tally) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconciler.run("lago", since=None, woken=flow.wake.effects, progress=interrupted)
    done = asked(flow)
    assert (done.status, done.takes) == (RunStatus.DONE, 2)
    assert {"customer", "invoice", "credit_note"} <= {gap.kind for gap in gaps(flow)}


def test_after_a_day_on_which_everything_came_there_is_no_gap(flow: Flow) -> None:
    prepare(flow)
    payment = pay(flow, invoice_of(flow, 5000))
    flow.settle()
    flow.dodo.refund(payment["payment_id"], 500)
    dispute = flow.dodo.dispute(payment["payment_id"])
    flow.settle()
    flow.dodo.dispute_event(dispute["dispute_id"], "won")
    a_busy_day(flow)
    flow.clock.advance(HOUR)
    runs = [
        asked(flow),
        asked(flow, "dodo"),
        asked(flow, all_of_it=True),
        asked(flow, "dodo", all_of_it=True),
    ]
    assert [(run.status, run.gaps) for run in runs] == [(RunStatus.DONE, 0)] * 4
    assert gaps(flow) == []


@ON_ONE_DATABASE
def test_a_payment_that_nobody_told_of_is_recorded_as_paid(flow: Flow) -> None:
    prepare(flow)
    drop_everything(flow, lago=False, dodo=True)
    invoice = invoice_of(flow, 5000)
    pay(flow, invoice)
    flow.clock.advance(HOUR)
    flow.settle()
    before = flow.invoice(invoice["lago_id"])
    asked(flow, "dodo")
    after = flow.invoice(invoice["lago_id"])
    assert (before.payment_status, after.payment_status) == (PaymentStatus.PENDING, PaymentStatus.SUCCEEDED)
    assert invoice_of(flow, 5000)["payment_status"] == "succeeded"
    assert [gap.kind for gap in gaps(flow)] == ["payment"]
    assert flow.dead() == []


@ON_ONE_DATABASE
def test_what_has_just_happened_is_recorded_and_is_no_gap(flow: Flow) -> None:
    prepare(flow)
    drop_everything(flow)
    invoice = flow.lago.issue_invoice("acct_1", 4000)
    flow.clock.advance(timedelta(minutes=5))
    run = asked(flow)
    assert run.facts > 0
    assert flow.invoice(invoice["lago_id"]).due == 4000
    assert gaps(flow) == []


@ON_ONE_DATABASE
def test_a_run_that_stopped_in_the_middle_goes_on_where_it_was(flow: Flow) -> None:
    prepare(flow)
    drop_everything(flow)
    for number in range(130):
        lago(flow, "POST", "customers", customer={"external_id": f"many_{number}", "name": "X"})
    flow.clock.advance(HOUR)
    flow.lago.faults.add(Fault(kind=FaultKind.UNAVAILABLE, path="subscriptions"))
    stopped = asked(flow)
    assert (stopped.status, stopped.cursor) == (RunStatus.RUNNING, "subscriptions:1")
    assert stopped.error is not None
    assert stopped.seen == 131
    listed = len([each for each in flow.lago.requests if each.path.endswith("/customers")])
    flow.clock.advance(timedelta(minutes=10))
    done = asked(flow)
    assert (done.id, done.status, done.takes) == (stopped.id, RunStatus.DONE, 2)
    assert len([each for each in flow.lago.requests if each.path.endswith("/customers")]) == listed
    assert len([gap for gap in gaps(flow) if gap.kind == "customer"]) == 130


@ON_ONE_DATABASE
def test_a_rate_limit_is_waited_for(flow: Flow) -> None:
    prepare(flow)
    flow.lago.faults.add(Fault(kind=FaultKind.RATE_LIMITED, path="invoices", times=2))
    waited: list[float] = []
    run = asked(flow, pace=Pace(wait=waited.append))
    assert run.status is RunStatus.DONE
    assert len(waited) == 2


def test_only_one_process_runs_a_connection(flow: Flow) -> None:
    prepare(flow)
    with flow.runtime.db.begin() as tx:
        taken = reconcile.begin(tx, "lago", since=None, now=flow.clock.now(), lease=HOUR)
    assert taken is not None
    reconciler = flow.runtime.reconciler
    assert reconciler.run("lago", since=None, woken=flow.wake.effects) is None
    flow.clock.advance(2 * HOUR)
    run = asked(flow)
    assert (run.id, run.status) == (taken.id, RunStatus.DONE)
    with flow.runtime.db.begin() as tx:  # the first one wakes up late: it may write nothing any more
        late = reconcile.advance(
            tx, taken, cursor="x", seen=1, facts=1, found=[], now=flow.clock.now(), lease=HOUR
        )
    assert late is False


@ON_ONE_DATABASE
def test_a_dry_run_tells_the_difference_and_keeps_nothing(flow: Flow) -> None:
    prepare(flow)
    drop_everything(flow)
    a_busy_day(flow)
    before = flow.books()
    reconciler = flow.runtime.reconciler
    found = list(reconciler.preview("lago", since=reconciler.since_last("lago")))
    assert flow.books() == before
    assert gaps(flow) == []
    assert flow.api("GET", "/reconcile-runs")["data"] == []
    assert {"invoice.finalized", "credit_note.issued"} <= {name for each in found for name in each.facts}
    run = asked(flow)
    assert {each.gap.ref for each in found if each.gap.changed} == {gap.ref for gap in gaps(flow)}
    assert run.gaps > 0


@ON_ONE_DATABASE
def test_an_organisation_of_some_hundreds_is_read_in_page_by_page(flow: Flow) -> None:
    drop_everything(flow)
    flow.lago.add_plan(code="starter", name="Starter", amount_cents=2900)
    for number in range(250):
        lago(flow, "POST", "customers", customer={"external_id": f"many_{number}", "name": "X"})
    row = {**agreement("sub.1", "starter"), "external_customer_id": "many_7"}
    lago(flow, "POST", "subscriptions", subscription=row)
    flow.clock.advance(HOUR)
    told: list[int] = []
    reconciler = flow.runtime.reconciler
    reconciler.run(
        "lago", since=None, woken=flow.wake.effects, progress=lambda tally: told.append(tally.seen)
    )
    assert told[:3] == [100, 200, 250]
    with flow.runtime.db.read() as tx:
        (subscription,) = billing.subscriptions.of_customer(tx, "many_7")
    assert subscription.status is SubscriptionStatus.ACTIVE


@ON_ONE_DATABASE
def test_the_window_joins_the_one_before_unless_a_run_left_a_hole(flow: Flow) -> None:
    reconciler, woken = flow.runtime.reconciler, flow.wake.effects
    assert reconciler.since_last("lago") == START - 3 * DAY
    reconciler.run("lago", since=None, woken=woken)
    flow.clock.advance(5 * DAY)
    assert reconciler.since_last("lago") == START - HOUR
    reconciler.run("lago", since=flow.clock.now() - DAY, woken=woken)
    assert reconciler.since_last("lago") == START - HOUR
    asked(flow)
    assert reconciler.since_last("lago") == flow.clock.now() - HOUR


def test_a_host_asks_by_itself_every_hour(backend: Backend) -> None:
    with Flow(backend, settings={"BILLHOOK_RECONCILE_EVERY": "PT1H"}).running() as flow:
        drop_everything(flow)
        flow.clock.advance(timedelta(minutes=9))
        assert flow.runtime.reconciler.due(now=flow.clock.now()) == ()
        flow.clock.advance(timedelta(minutes=1))
        wait_for_runs(flow, 2)
        flow.lago.add_plan(code="starter", name="Starter", amount_cents=2900)
        lago(flow, "POST", "customers", customer={"external_id": "acct_9", "name": "Quiet"})
        flow.clock.advance(HOUR)
        wait_for_runs(flow, 4)
        assert flow.api("GET", "/customers/acct_9")["name"] == "Quiet"


def wait_for_runs(flow: Flow, count: int) -> None:
    """Wait until this many runs were done."""
    import time

    deadline = time.monotonic() + 60
    while True:
        runs = flow.api("GET", "/reconcile-runs?status=done")["data"]
        if len(runs) >= count:
            return
        assert time.monotonic() < deadline, flow.api("GET", "/reconcile-runs")
        time.sleep(0.05)
