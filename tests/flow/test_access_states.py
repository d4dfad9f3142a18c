"""Access over the whole way: an invoice that stays unpaid, timers, payment, and what the integrator is told."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

from billhook.access import parse_policy, policy_to_json
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
