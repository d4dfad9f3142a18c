"""Access over the whole way: an invoice that stays unpaid, timers, payment, and what the integrator is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import text

from billhook.access import parse_policy, policy_to_json
from billhook.events import InvoiceWrittenOff
from billhook.model import Ref
from billhook_web.db import lock
from billhook_web.services.rebuild import rebuild
from billhook_web.stores import access, policies
from billhook_web.stores.access import Cause, Stored, Transition
from tests.flow.flow import Flow

DAY = timedelta(days=1)

POLICY: dict[str, Any] = {
    "rules": [
        {"state": "suspended", "when": {"overdue_days": 30}, "access": "none", "block_changes": True},
        {"state": "restricted", "when": {"overdue_days": 10}, "access": "limited"},
        {"state": "past_due", "when": {"overdue_days": 1}},
    ]
}


def activate(flow: Flow, document: dict[str, Any] = POLICY) -> None:
    now = flow.clock.now()
    with flow.runtime.db.begin() as tx:
        written = policy_to_json(parse_policy(document))
        row = policies.add(tx, name="test", document=written, now=now, by="test")
        policies.assign(
            tx, scope=policies.DEFAULT, customer_id=None, policy_id=row.id, plugin=None, now=now, by="test"
        )
    settled(flow)


def settled(flow: Flow) -> None:
    """Bring every decision up to now, as the timers would."""
    flow.settle()
    for customer_id, _ in flow.runtime.deciding.due(now=flow.clock.now()):
        flow.runtime.deciding.settle([customer_id], woken=flow.wake.effects)
    flow.settle()


def an_invoice(flow: Flow) -> dict[str, Any]:
    flow.api("PUT", "/customers/acct_1", name="Acme & Sons", email="billing@acme.example", currency="EUR")
    flow.settle()
    invoice: dict[str, Any] = flow.lago.issue_invoice("acct_1", 12000)
    settled(flow)
    return invoice


def decision(flow: Flow) -> Stored:
    found = flow.runtime.deciding.answer("acct_1")
    assert found is not None
    return found


def history(flow: Flow) -> list[Transition]:
    with flow.runtime.db.read() as tx:
        return list(reversed(access.history(tx, "acct_1")))


def states(flow: Flow) -> list[tuple[int, str, str, str]]:
    return [(each.version, each.body["state"], each.body["access"], each.cause) for each in history(flow)]


def test_an_unpaid_invoice_descends_by_the_clock_and_payment_restores_at_once(flow: Flow) -> None:
    activate(flow)
    invoice = an_invoice(flow)
    first = decision(flow)
    assert (first.body["standing"], first.body["access"]) == ("clear", "full")
    assert first.body["unpaid"] == {"EUR": 12000}
    for _ in range(40):
        flow.clock.advance(DAY)
        settled(flow)
    assert [state for _, state, _, _ in states(flow)][-3:] == ["past_due", "restricted", "suspended"]
    assert all(each.cause is Cause.TIME for each in history(flow)[-3:])
    gone = decision(flow)
    assert (gone.body["access"], gone.body["block_changes"]) == ("none", True)
    by_hand = {"invoice_id": invoice["lago_id"], "amount_cents": 12000, "reference": "bank transfer"}
    assert flow.lago_client().post("payments", json={"payment": by_hand}).ok
    settled(flow)
    assert flow.invoice(invoice["lago_id"]).balance == 0
    assert decision(flow).body["standing"] == "clear"
    assert decision(flow).version == gone.version + 1


def test_a_timer_that_runs_weeks_late_enters_each_change_at_its_own_instant(flow: Flow) -> None:
    activate(flow)
    an_invoice(flow)
    flow.clock.advance(60 * DAY)
    settled(flow)
    late = history(flow)[-3:]
    assert [each.body["state"] for each in late] == ["past_due", "restricted", "suspended"]
    assert [(later.at - sooner.at).days for sooner, later in pairwise(late)] == [9, 20]
    assert {each.recorded_at for each in late} == {flow.clock.now()}


def test_another_policy_changes_those_it_concerns_and_again_nobody(flow: Flow) -> None:
    activate(flow)
    an_invoice(flow)
    flow.clock.advance(15 * DAY)
    settled(flow)
    before = decision(flow)
    assert before.body["state"] == "restricted"
    activate(flow, {"rules": [{"state": "late", "when": {"overdue_days": 2}, "access": "full"}]})
    after = decision(flow)
    assert (after.body["state"], after.version) == ("late", before.version + 1)
    assert history(flow)[-1].cause is Cause.POLICY
    activate(flow, {"rules": [{"state": "late", "when": {"overdue_days": 2}, "access": "full"}]})
    assert decision(flow).version == after.version


def test_another_time_zone_counts_the_days_anew(flow: Flow) -> None:
    activate(flow)
    an_invoice(flow)
    utc = decision(flow).next_change_at
    flow.api("PUT", "/customers/acct_1", timezone="Pacific/Auckland")
    settled(flow)
    auckland = decision(flow).next_change_at
    assert utc is not None
    assert auckland is not None
    assert utc - auckland == timedelta(hours=12)


def exempted(flow: Flow, *, tag: bool) -> None:
    method = "PUT" if tag else "DELETE"
    flow.api(method, "/customers/acct_1/tags/exempt", reason="agreed on the phone")


def test_a_tag_exempts_at_once_and_stops_exempting_at_once(flow: Flow) -> None:
    activate(flow, {"rules": [{"state": "exempt", "when": {"has_tag": "exempt"}}, *POLICY["rules"]]})
    an_invoice(flow)
    flow.clock.advance(40 * DAY)
    settled(flow)
    assert decision(flow).body["standing"] == "suspended"
    exempted(flow, tag=True)
    assert states(flow)[-1][1:] == ("exempt", "full", "fact")  # in the transaction that heard of it
    flow.clock.advance(DAY)
    exempted(flow, tag=False)
    assert states(flow)[-1][1:] == ("suspended", "none", "fact")


def test_who_is_paid_for_takes_the_payers_standing_and_follows_it(flow: Flow) -> None:
    activate(flow)
    an_invoice(flow)
    flow.api("PUT", "/customers/child", name="Child", email="c@acme.example", currency="EUR")
    settled(flow)
    flow.api("PUT", "/customers/child/payer", pays="acct_1", reason="the parent pays")
    flow.clock.advance(15 * DAY)
    settled(flow)
    with flow.runtime.db.read() as tx:
        child = access.get(tx, "child")
    assert child is not None
    assert child.body["standing"] == "restricted"
    flow.api("POST", f"/invoices/lago:{flow.lago.invoices[0]['lago_id']}/write-off", reason="a gift")
    with flow.runtime.db.read() as tx:
        freed = access.get(tx, "child")
        (last,) = access.history(tx, "child", limit=1)
    assert freed is not None
    assert (freed.body["standing"], freed.version, last.cause) == ("clear", child.version + 1, Cause.FACT)


CANCELING: dict[str, Any] = {
    "rules": [{"state": "gone", "when": {"overdue_days": 20}, "access": "none", "cancel": "immediate"}]
}


def a_subscription(flow: Flow) -> str:
    """Subscribe, and leave the first invoice unpaid; return the invoice's id."""
    flow.lago.add_plan(code="basic", name="Basic", amount_cents=1000)
    flow.api("PUT", "/customers/acct_1", name="Acme & Sons", email="billing@acme.example", currency="EUR")
    flow.settle()
    flow.api("POST", "/subscriptions", customer="acct_1", plan="basic", id="main")
    settled(flow)
    return str(flow.lago.invoices[0]["lago_id"])


def test_a_rule_that_cancels_ends_the_subscription_at_the_engine_once(flow: Flow) -> None:
    activate(flow, CANCELING)
    a_subscription(flow)
    flow.clock.advance(25 * DAY)
    settled(flow)
    (effect,) = flow.effects("cancel_subscription")
    assert effect.status == "done"
    assert [each["status"] for each in flow.lago.subscriptions] == ["terminated"]
    flow.clock.advance(DAY)
    settled(flow)
    assert len(flow.effects("cancel_subscription")) == 1


def test_a_customer_who_paid_meanwhile_is_not_canceled(flow: Flow) -> None:
    activate(flow, CANCELING)
    invoice = a_subscription(flow)
    with flow.runtime.db.begin() as tx:  # the debt is gone before anybody carries out what the timer planned
        lock(tx, [f"invoice/lago:{invoice}"])
        lock(tx, ["customer/acct_1"])
        now = flow.clock.advance(25 * DAY)
        planned = flow.runtime.judge.settle(tx, "acct_1", now=now)
        gone = InvoiceWrittenOff(ref=Ref("lago", invoice), customer_id="acct_1", at=now)
        flow.runtime.recorder.hear(tx, [gone], now=now)
    assert len(planned) == 1
    flow.wake.effects(planned)
    settled(flow)
    (effect,) = flow.effects("cancel_subscription")
    assert effect.status != "pending"
    assert [each["status"] for each in flow.lago.subscriptions] == ["active"]


def test_workers_at_once_make_one_version_of_a_change(flow: Flow) -> None:
    activate(flow)
    an_invoice(flow)
    flow.clock.advance(15 * DAY)
    with ThreadPoolExecutor(6) as workers:
        list(workers.map(lambda _: flow.runtime.deciding.settle_one("acct_1"), range(12)))
    settled(flow)
    assert [state for _, state, _, _ in states(flow)][-2:] == ["past_due", "restricted"]
    assert [version for version, *_ in states(flow)] == list(range(1, len(states(flow)) + 1))


def test_what_is_forgotten_of_a_person_leaves_the_decision_and_a_rebuild_equal(flow: Flow) -> None:
    activate(flow)
    flow.api("PUT", "/customers/acct_1", name="Acme & Sons", timezone="Pacific/Auckland", currency="EUR")
    flow.settle()
    flow.lago.issue_invoice("acct_1", 12000)
    settled(flow)
    flow.clock.advance(15 * DAY)
    settled(flow)
    before, told = decision(flow).body, states(flow)
    flow.runtime.erasure.erase("acct_1", note=lambda _tx: None)
    flow.runtime.deciding.settle_one("acct_1")
    assert (decision(flow).body, states(flow)) == (before, told)
    runtime = flow.runtime
    made = rebuild(runtime.db, runtime.connections, runtime.recorder, runtime.judge, check=True)
    assert made.differences == ()


def test_a_history_that_was_lost_is_made_again_and_nothing_is_told_twice(flow: Flow) -> None:
    activate(flow)
    an_invoice(flow)
    flow.clock.advance(40 * DAY)
    settled(flow)
    before, effects = history(flow), len(flow.effects())
    with flow.runtime.db.begin() as tx:
        tx.execute(text("DELETE FROM access_history WHERE version > 1"))
        tx.execute(text("UPDATE access_decisions SET state = 'clear', access = 'full'"))
    runtime = flow.runtime
    made = rebuild(runtime.db, runtime.connections, runtime.recorder, runtime.judge, check=False)
    assert {each.table for each in made.differences} == {"access_decisions", "access_history"}
    assert [(each.at, each.body) for each in history(flow)] == [(each.at, each.body) for each in before]
    assert len(flow.effects()) == effects
    assert (
        rebuild(runtime.db, runtime.connections, runtime.recorder, runtime.judge, check=True).differences
        == ()
    )
