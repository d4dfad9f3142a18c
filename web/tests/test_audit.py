"""The audit: every operator action leaves one row that says who did what to what, and no secret."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from billhook.effects import SyncCustomer
from billhook.errors import OutcomeUnknown
from billhook.events import InvoiceFinalized
from billhook.model import Ref
from billhook.provider import Delivery
from billhook_web.auth import BOOTSTRAP, create_key, ensure_bootstrap_key, revoke_key
from billhook_web.stores import accounts, audit, inbox, outbox
from billhook_web.stores.outbox import EffectStatus

from .conftest import BOOTSTRAP_KEY, START


def noted(runtime) -> list[tuple[str, str, str, dict[str, object]]]:
    """All actions but the making of the bootstrap key, the oldest first."""
    with runtime.db.read() as tx:
        rows = audit.page(tx, limit=1000)
    told = [(row.actor, row.action, row.subject, dict(row.detail)) for row in reversed(rows)]
    return [each for each in told if each[0] != "host"]


def a_dead_effect(runtime) -> int:
    with runtime.db.begin() as tx:
        effect_id = outbox.add(tx, SyncCustomer(customer_id="c", connection="acme", version=1), now=START)
        assert effect_id is not None
        outbox.finish(tx, effect_id, status=EffectStatus.DEAD, now=START, error="no")
    return effect_id


def a_dead_delivery(runtime, name: str) -> int:
    with runtime.db.begin() as tx:
        event_id = inbox.add(tx, connection="fakepay", delivery=Delivery(key=name), body=b"{}", now=START)
        assert event_id is not None
        inbox.bury(tx, event_id, now=START, error="no")
    return event_id


def key_of(runtime) -> str:
    with runtime.db.read() as tx:
        (key,) = [each for each in accounts.list_api_keys(tx) if each.name == BOOTSTRAP]
    return f"key:{key.id} {BOOTSTRAP}"


def test_retrying_and_replaying_through_the_api_is_noted(api, runtime) -> None:
    effect_id, event_id = a_dead_effect(runtime), a_dead_delivery(runtime, "m1")
    api.ok("POST", f"/effects/{effect_id}/retry", status=202)
    api.ok("POST", f"/events/{event_id}/replay", status=202)
    me = key_of(runtime)
    assert noted(runtime) == [
        (me, "effect.retry", str(effect_id), {}),
        (me, "event.replay", str(event_id), {}),
    ]


def test_replaying_many_is_one_action_that_names_them(api, runtime) -> None:
    first, second = a_dead_delivery(runtime, "m1"), a_dead_delivery(runtime, "m2")
    api.ok("POST", "/events/replay", body={"status": "dead"}, status=202)
    ((_, action, subject, detail),) = noted(runtime)
    assert (action, subject) == ("event.replay_all", "all connections")
    assert sorted(detail["ids"]) == [first, second]


def test_what_was_refused_is_not_noted(api, runtime) -> None:
    api.refused("POST", "/effects/999/retry", 404)
    api.refused("POST", "/events/999/replay", 404)
    api.refused("POST", "/invoices/acme:none/collect", 404)
    assert noted(runtime) == []


def test_asking_for_another_attempt_is_noted(api, runtime) -> None:
    invoice = Ref("acme", "i1")
    api.apply(
        InvoiceFinalized(
            at=START, ref=invoice, customer_id="c", number="N1", currency="EUR", total=100, taxes=0, due=100
        )
    )
    api.ok("POST", f"/invoices/{invoice}/collect", status=202)
    assert [each[1:] for each in noted(runtime)] == [("invoice.collect", str(invoice), {})]


def test_what_is_asked_of_a_subscription_is_noted_also_when_nobody_knows_what_came_of_it(
    api, runtime, engine
) -> None:
    api.ok("PUT", "/customers/c", body={"name": "C"}, status=201)
    engine.refusal = OutcomeUnknown("no answer")
    api.refused(
        "POST",
        "/subscriptions",
        504,
        body={"id": "s1", "customer": "c", "plan": "team", "connection": "acme"},
    )
    assert [each[1:] for each in noted(runtime)] == [("subscription.subscribe", "acme:s1", {"plan": "team"})]


def test_making_and_ending_keys_is_noted_without_the_key(runtime) -> None:
    now = runtime.clock.now()
    key = create_key(runtime.db, name="app", scopes=("billing:read",), now=now, actor="cli:ann")
    with runtime.db.read() as tx:
        (made,) = accounts.list_api_keys(tx)
    assert revoke_key(runtime.db, made.id, now=now, actor="cli:bob")
    assert not revoke_key(runtime.db, made.id, now=now, actor="cli:bob"), "ended already"
    assert noted(runtime) == [
        ("cli:ann", "key.create", str(made.id), {"name": "app", "scopes": ["billing:read"]}),
        ("cli:bob", "key.revoke", str(made.id), {}),
    ]
    assert key[-6:] not in json.dumps(noted(runtime))


def test_the_key_of_the_environment_is_noted_once(runtime) -> None:
    ensure_bootstrap_key(runtime)
    ensure_bootstrap_key(runtime)
    with runtime.db.read() as tx:
        rows = audit.page(tx)
    assert [(row.actor, row.action, row.detail["name"]) for row in rows] == [
        ("host", "key.create", BOOTSTRAP)
    ]
    assert BOOTSTRAP_KEY not in repr(rows)


def test_the_audit_can_be_read_page_by_page_and_narrowed(api, runtime) -> None:
    with runtime.db.begin() as tx:
        for number in range(5):
            at = START + timedelta(minutes=number)
            audit.add(tx, at=at, actor="cli:ann", action="effect.retry", subject=number, detail={"n": number})
        audit.add(tx, at=START, actor="cli:bob", action="event.replay", subject=9)
    first = api.get("/audit?actor=cli:ann&limit=2")
    second = api.get(f"/audit?actor=cli:ann&limit=2&cursor={first['next_cursor']}")
    assert [row["subject"] for row in (*first["data"], *second["data"])] == ["4", "3", "2", "1"]
    assert [row["actor"] for row in api.get("/audit?action=event.replay")["data"]] == ["cli:bob"]
    assert first["data"][0]["at"] == "2026-09-01T09:04:00Z"
    assert first["data"][0]["detail"] == {"n": 4}


@pytest.mark.parametrize("scope", ["events:read", "billing:write", "connections:read"])
def test_the_audit_is_for_administrators(api, scope: str) -> None:
    api.with_scopes(scope).refused("GET", "/audit", 403)
