from __future__ import annotations

from datetime import timedelta

import pytest

from billhook.clock import VirtualClock
from billhook_web.stores import accounts, outbox

FULL = {
    "name": "Acme & Sons",
    "email": "billing@acme.example",
    "address": {"line1": "Lindenstr. 1", "city": "Berlin", "postal_code": "10969", "country": "DE"},
    "tax_id": "DE123456789",
    "currency": "EUR",
    "locale": "de",
    "timezone": "Europe/Berlin",
}


def test_a_new_customer_is_answered_at_once_and_waits_for_its_syncs(api) -> None:
    made = api.ok("PUT", "/customers/acct_1", body=FULL, status=201)
    assert made["id"] == "acct_1"
    assert made["version"] == 1
    assert made["address"] == {**FULL["address"], "line2": None, "state": None}
    assert [(each["connection"], each["status"]) for each in made["sync"]] == [
        ("acme", "pending"),
        ("bare", "pending"),
    ]
    assert made["created_at"] == "2026-09-01T09:00:00Z"
    assert api.get("/customers/acct_1") == made


def test_registering_a_customer_wakes_the_effects_that_bring_it_to_the_engines(api, engine) -> None:
    api.ok("PUT", "/customers/acct_1", body=FULL, status=201)
    queued = api.runtime.broker.queues["default"].qsize()
    assert queued == 2
    with api.runtime.db.read() as tx:
        for row in outbox.page(tx):
            api.runtime.delivery.deliver(row.id)
    assert engine.customers["acct_1"].name == "Acme & Sons"
    synced = api.get("/customers/acct_1")
    assert synced["provider_ids"] == {"acme": "cus_acct_1", "bare": "cus_acct_1"}
    assert {each["status"] for each in synced["sync"]} == {"synced"}


def test_a_change_keeps_what_is_left_out_and_clears_what_is_null(api) -> None:
    api.ok("PUT", "/customers/acct_1", body=FULL, status=201)
    changed = api.ok(
        "PUT", "/customers/acct_1", body={"name": None, "address": {"city": "Bonn", "country": None}}
    )
    assert changed["version"] == 2
    assert changed["name"] is None
    assert changed["email"] == FULL["email"]
    assert (changed["address"]["city"], changed["address"]["country"]) == ("Bonn", None)
    assert changed["address"]["line1"] == "Lindenstr. 1"
    assert set(api.ok("PUT", "/customers/acct_1", body={"address": None})["address"].values()) == {None}


def test_a_conflict_at_the_engine_is_visible_with_the_field_that_clashes(api) -> None:
    api.ok("PUT", "/customers/first", body={"email": "same@acme.example"}, status=201)
    api.ok("PUT", "/customers/second", body={"email": "same@acme.example"}, status=201)
    with api.runtime.db.read() as tx:
        ids = [row.id for row in reversed(outbox.page(tx))]
    for effect_id in ids:
        api.runtime.delivery.deliver(effect_id)
    (sync,) = [each for each in api.get("/customers/second")["sync"] if each["connection"] == "acme"]
    assert (sync["status"], sync["field"]) == ("conflict", "email")
    (listed,) = api.get("/customers?sync=conflict&connection=acme")["data"]
    assert listed["id"] == "second"


@pytest.mark.parametrize("customer_id", ["a/b", "/a", "urn://x//y", "ü:1.2", "a b", "acct_1/", "x" * 255])
def test_an_id_may_hold_anything_that_can_be_read(api, customer_id: str) -> None:
    from urllib.parse import quote

    path = f"/customers/{quote(customer_id, safe='')}"
    assert api.ok("PUT", path, body={}, status=201)["id"] == customer_id
    assert api.get(path)["id"] == customer_id


@pytest.mark.parametrize("customer_id", ["x" * 256, "a%00b", "a%0Ab"])
def test_an_id_that_is_too_long_or_not_readable_is_refused(api, customer_id: str) -> None:
    problem = api.refused("PUT", f"/customers/{customer_id}", 422, body={})
    assert [each["field"] for each in problem["errors"]] == ["id"]
    assert api.refused("GET", f"/customers/{customer_id}", 404)["title"] == "Not Found"


def test_every_wrong_field_is_named_at_once(api) -> None:
    body = {
        "name": "",
        "email": "nobody",
        "address": {"country": "Germany", "zip": "1"},
        "currency": "EURO",
        "locale": "de_DE!",
        "timezone": "Berlin/Europe",
        "tax_id": "1\u0000",
        "names": "x",
    }
    problem = api.refused("PUT", "/customers/acct_1", 422, body=body)
    wrong = {each["field"] for each in problem["errors"]}
    assert wrong == {
        "name", "email", "address.country", "address.zip", "currency", "locale", "timezone", "tax_id", "names",
    }  # fmt: skip
    (unknown,) = [each for each in problem["errors"] if each["field"] == "names"]
    assert "did you mean 'name'?" in unknown["message"]
    assert "email" in unknown["allowed"]
    api.refused("GET", "/customers/acct_1", 404)


@pytest.mark.parametrize("zone", ["../etc/passwd", "/etc/passwd", "Europe", "Mars/Olympus"])
def test_what_is_no_time_zone_is_refused(api, zone: str) -> None:
    problem = api.refused("PUT", "/customers/a", 422, body={"timezone": zone})
    assert [each["field"] for each in problem["errors"]] == ["timezone"]


@pytest.mark.parametrize("body", [[], "text", 5])
def test_a_body_that_is_no_object_is_refused(api, body: object) -> None:
    assert api.refused("PUT", "/customers/a", 422, body=body)["errors"][0]["field"] == ""


def test_half_a_character_is_refused(api) -> None:
    sent = {"data": b'{"name": "\\ud800"}', "content_type": "application/json"}
    assert api.refused("PUT", "/customers/a", 422, **sent)["errors"][0]["field"] == "name"


def test_broken_json_is_400_and_another_media_type_415(api) -> None:
    api.refused("PUT", "/customers/a", 400, data=b"{", content_type="application/json")
    api.refused("PUT", "/customers/a", 400, data=b"\xff", content_type="application/json")
    api.refused("PUT", "/customers/a", 415, data=b"name=x", content_type="application/x-www-form-urlencoded")
    assert api.get("/customers")["data"] == []


def test_a_body_that_is_too_large_is_413(api) -> None:
    api.refused("PUT", "/customers/a", 413, body={"name": "x" * 300_000})
    assert api.get("/customers")["data"] == []


def test_search_finds_parts_of_id_name_and_mail_and_takes_wildcards_literally(api) -> None:
    api.ok("PUT", "/customers/acct_1", body={"name": "Acme"}, status=201)
    api.ok("PUT", "/customers/zz", body={"email": "ada@other.example"}, status=201)
    assert [each["id"] for each in api.get("/customers?search=ACM")["data"]] == ["acct_1"]
    assert [each["id"] for each in api.get("/customers?search=other.ex")["data"]] == ["zz"]
    assert api.get("/customers?search=%25")["data"] == []


def test_since_and_until_take_dates_and_times(api) -> None:
    assert isinstance(api.runtime.clock, VirtualClock)
    api.ok("PUT", "/customers/early", body={}, status=201)
    api.runtime.clock.advance(timedelta(days=1))
    api.ok("PUT", "/customers/late", body={}, status=201)

    def ids(query: str) -> list[str]:
        return [each["id"] for each in api.get(f"/customers?{query}")["data"]]

    assert ids("since=2026-09-02") == ["late"]
    assert ids("until=2026-09-02T09:00:00Z") == ["early"]
    assert ids("since=2026-09-01T11:00:00%2B02:00&until=2026-09-01T09:00:00.000001Z") == ["early"]


def test_a_provider_may_show_a_customer_before_the_integrator_does(api) -> None:
    now = api.runtime.clock.now()
    with api.runtime.db.begin() as tx:
        accounts.put_customer(tx, "seen", observed={"name": "As seen"}, now=now)
    assert api.get("/customers/seen")["name"] == "As seen"
    assert api.ok("PUT", "/customers/seen", body={"name": "As said"})["name"] == "As said"
