"""Events, effects and connections: what operators look at and set going again."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from billhook.errors import Refused, Temporary
from billhook.events import InvoiceFinalized, PaymentSucceeded
from billhook.model import Ref
from billhook.money import Money
from billhook.provider import Finding, Severity
from billhook.testing.fakes import FakeSource
from billhook_web.stores import inbox, outbox
from billhook_web.stores.outbox import EffectStatus

from .conftest import ENGINE_SECRET, START, Api

AMOUNT = Money(12000, "EUR")
PAID = PaymentSucceeded(
    at=START,
    ref=Ref("fakepay", "p1"),
    amount=AMOUNT,
    applied=AMOUNT,
    metadata={"billhook_invoice": "acme:i1"},
)


def deliver(api: Api, body: bytes, name: str) -> int:
    """Have the payment provider send a webhook; return its id."""
    source = api.runtime.connections.source("fakepay")
    assert isinstance(source, FakeSource)
    request = source.signed(body, START, webhook_id=name)
    answer = api.client.post("/webhooks/fakepay", data=request.body, headers=dict(request.headers))
    assert answer.status_code == 200
    with api.runtime.db.read() as tx:
        return inbox.page(tx, limit=1)[0].id


def a_delivery(api: Api, name: str = "msg_1") -> int:
    source = api.runtime.connections.source("fakepay")
    assert isinstance(source, FakeSource)
    return deliver(api, source.body(PAID), name)


def test_a_delivery_shows_what_it_told_us_and_its_body_only_when_asked(api) -> None:
    event_id = a_delivery(api)
    waiting = api.get(f"/events/{event_id}")
    assert (waiting["status"], waiting["facts"], waiting["due_at"]) == (
        "received",
        [],
        "2026-09-01T09:00:00Z",
    )
    api.runtime.processing.process(event_id)
    event = api.get(f"/events/{event_id}")
    assert (event["status"], event["new_facts"], event["body"], event["due_at"]) == (
        "processed",
        1,
        None,
        None,
    )
    (fact,) = event["facts"]
    assert (fact["type"], fact["subject"]) == ("payment.succeeded", "fakepay:p1")
    assert fact["values"]["amount"] == {"minor": 12000, "currency": "EUR"}
    assert json.loads(api.get(f"/events/{event_id}?include=body")["body"])["events"]
    api.refused("GET", f"/events/{event_id}?include=secrets", 422)
    api.refused("GET", "/events/4711", 404)
    api.refused("GET", f"/events/{2**63}", 404)


def test_deliveries_are_listed_by_connection_status_type_and_time_in_pages(api) -> None:
    ids = [a_delivery(api, f"msg_{number}") for number in range(5)]
    with api.runtime.db.begin() as tx:
        inbox.bury(tx, ids[0], now=START, error="not readable")
    seen, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/events?limit=2{cursor and '&cursor=' + cursor}")
        seen += [each["id"] for each in page["data"]]
        cursor = page["next_cursor"]
        if len(seen) == 2:
            a_delivery(api, "msg_in_between")
    assert seen == ids[::-1]
    (dead,) = api.get("/events?status=dead&connection=fakepay")["data"]
    assert (dead["id"], dead["error"]) == (ids[0], "not readable")
    assert "body" not in dead
    assert api.get("/events?connection=acme")["data"] == []
    assert api.get("/events?since=2026-09-02")["data"] == []
    assert api.get("/events?type=nothing")["data"] == []


def test_a_replay_processes_a_delivery_again_and_changes_nothing_twice(api) -> None:
    event_id = a_delivery(api)
    api.runtime.processing.process(event_id)
    before = api.get("/payments/fakepay:p1")
    replayed = api.ok("POST", f"/events/{event_id}/replay", status=202)
    assert (replayed["status"], replayed["attempt_count"]) == ("received", 0)
    api.runtime.processing.process(event_id)
    assert api.get(f"/events/{event_id}")["status"] == "processed"
    assert api.get("/payments/fakepay:p1") == before
    api.refused("POST", "/events/4711/replay", 404)


def test_a_replay_wakes_the_worker(api) -> None:
    event_id = a_delivery(api)
    before = api.runtime.broker.queues["default"].qsize()
    api.ok("POST", f"/events/{event_id}/replay", status=202)
    assert api.runtime.broker.queues["default"].qsize() == before + 1


def test_everything_that_was_given_up_can_be_replayed_at_once(api) -> None:
    dead = [deliver(api, b"no json", f"msg_{number}") for number in range(3)]
    alive = a_delivery(api, "msg_alive")
    for event_id in [*dead, alive]:
        api.runtime.processing.process(event_id)
    assert api.ok("POST", "/events/replay", body={"status": "dead", "connection": "acme"}, status=202) == {
        "replayed": 0, "more": False,
    }  # fmt: skip
    assert api.ok("POST", "/events/replay", body={"status": "dead"}, status=202) == {
        "replayed": 3,
        "more": False,
    }
    assert {each["id"] for each in api.get("/events?status=received")["data"]} == set(dead)
    assert api.get(f"/events/{alive}")["status"] == "processed"


@pytest.mark.parametrize("body", [{}, {"status": "processed"}, {"status": "dead", "all": True}])
def test_a_replay_of_many_says_what_it_takes(api, body) -> None:
    api.refused("POST", "/events/replay", 422, body=body)


def a_collection(api: Api) -> int:
    finalized = InvoiceFinalized(
        at=START, ref=Ref("acme", "i1"), customer_id="acct_1", currency="EUR", total=12000, taxes=0, due=12000
    )
    (effect_id,) = api.apply(finalized)
    return effect_id


def test_an_effect_shows_every_try_at_it(api) -> None:
    effect_id = a_collection(api)
    waiting = api.get(f"/effects/{effect_id}")
    assert (waiting["kind"], waiting["subject"], waiting["attempts"]) == ("collect_invoice", "acme:i1", [])
    assert waiting["values"]["invoice"] == {"connection": "acme", "id": "i1"}
    assert waiting["values"]["attempt"] == 1
    assert "kind" not in waiting["values"]
    api.runtime.delivery.deliver(effect_id)
    done = api.get(f"/effects/{effect_id}")
    assert (done["status"], done["attempt_count"]) == ("done", 1)
    assert [each["outcome"] for each in done["attempts"]] == ["done"]
    api.refused("GET", "/effects/4711", 404)


def test_effects_are_listed_by_status_kind_and_whom_they_are_about(api) -> None:
    effect_id = a_collection(api)
    api.ok("PUT", "/customers/acct_1", body={}, status=201)

    def ids(query: str) -> list[int]:
        return [each["id"] for each in api.get(f"/effects?{query}")["data"]]

    assert ids("kind=collect_invoice") == [effect_id]
    assert ids("subject=acme:i1") == [effect_id]
    assert len(ids("customer=acct_1")) == 2
    assert ids("status=done") == []
    assert len(ids("since=2026-09-01&until=2026-09-02")) == 3
    api.refused("GET", "/effects?customer=a&subject=b", 422)
    assert "sync_customer" in api.refused("GET", "/effects?kind=nothing", 422)["errors"][0]["allowed"]
    first = api.get("/effects?limit=2")
    rest = api.get(f"/effects?limit=2&cursor={first['next_cursor']}")
    assert [each["id"] for each in (*first["data"], *rest["data"])] == ids("limit=200")


def test_an_effect_that_was_given_up_is_tried_again(api) -> None:
    effect_id = a_collection(api)
    with api.runtime.db.begin() as tx:
        outbox.finish(tx, effect_id, status=EffectStatus.DEAD, now=START, error="refused")
    before = api.runtime.broker.queues["default"].qsize()
    assert api.ok("POST", f"/effects/{effect_id}/retry", status=202)["status"] == "pending"
    assert api.runtime.broker.queues["default"].qsize() == before + 1


@pytest.mark.parametrize("status", [EffectStatus.DONE, EffectStatus.SUPERSEDED])
def test_an_effect_that_is_finished_is_not_tried_again(api, status: EffectStatus) -> None:
    effect_id = a_collection(api)
    with api.runtime.db.begin() as tx:
        outbox.finish(tx, effect_id, status=status, now=START)
    assert str(status) in api.refused("POST", f"/effects/{effect_id}/retry", 409)["detail"]
    api.refused("POST", "/effects/4711/retry", 404)


def test_an_effect_that_is_running_is_not_tried_again(api) -> None:
    effect_id = a_collection(api)
    with api.runtime.db.begin() as tx:
        outbox.claim(tx, effect_id, now=START, lease=timedelta(minutes=2))
    api.refused("POST", f"/effects/{effect_id}/retry", 409)


def test_connections_show_what_they_can_do(api) -> None:
    acme, bare, fakepay = api.get("/connections")["data"]
    assert (acme["name"], acme["plugin"], acme["title"], acme["kinds"]) == (
        "acme",
        "acme",
        "Fake billing",
        ["billing_engine"],
    )
    assert {"check", "plans", "subscriptions", "invoice_pdf", "usage", "credit_notes"} == set(
        acme["operations"]
    )
    assert bare["operations"] == []
    assert fakepay["kinds"] == ["payment_provider", "webhook_source"]
    assert {"refunds", "checkout_status"} <= set(fakepay["operations"])
    assert fakepay["webhook_url"] == "https://billing.test/webhooks/fakepay"
    assert acme["webhook_url"] is None
    assert acme["traits"]["unordered_events"] is True


def test_settings_of_connections_are_masked_and_for_admins_only(api) -> None:
    acme = api.get("/connections")["data"][0]
    assert acme["settings"] == {"api_key": f"…{ENGINE_SECRET[-4:]}", "region": "eu"}
    plain = api.with_scopes("connections:read").answer("GET", "/connections")
    assert plain.get_json()["data"][0]["settings"] is None
    for text in (plain.get_data(as_text=True), api.answer("GET", "/connections").get_data(as_text=True)):
        assert ENGINE_SECRET not in text


def test_a_check_tells_what_it_found(api, engine) -> None:
    assert api.get("/connections/acme/check") == {
        "connection": "acme",
        "ok": True,
        "findings": [{"severity": "ok", "what": "It answers.", "fix": ""}],
    }
    engine.findings = [Finding(severity=Severity.ERROR, what="No licence.", fix="Buy one.")]
    assert api.get("/connections/acme/check")["ok"] is False


@pytest.mark.parametrize("raised", [Temporary(f"down, key {ENGINE_SECRET}"), Refused("no")])
def test_a_connection_that_cannot_be_looked_at_is_a_finding(api, engine, raised) -> None:
    engine.refusal = raised
    answer = api.get("/connections/acme/check")
    assert answer["ok"] is False
    assert "cannot be looked at" in answer["findings"][0]["what"]
    assert ENGINE_SECRET not in str(answer)


def test_a_connection_without_a_check_says_so(api) -> None:
    assert api.refused("GET", "/connections/bare/check", 409)["title"] == "Not supported"
    api.refused("GET", "/connections/nobody/check", 404)


def test_a_connection_whose_plugin_is_out_shows_why(tmp_path) -> None:
    from billhook_web.actors import Wake
    from billhook_web.app import create_app
    from billhook_web.stores import schema

    from .conftest import make_runtime

    runtime = make_runtime(f"sqlite:///{tmp_path / 'b.sqlite3'}", "acme,broken")
    schema.upgrade(runtime.db)
    api = Api(runtime, create_app(runtime, Wake(runtime)))
    broken = api.get("/connections")["data"][1]
    assert "on fire" in broken["problem"]
    assert (broken["kinds"], broken["title"], broken["operations"]) == ([], None, [])
    assert api.get("/connections/broken/check")["ok"] is False
    runtime.close()
