"""What differs between the databases: comparing pairs, searching, looking into stored values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from werkzeug.test import Client

from billhook.events import InvoiceFinalized, SubscriptionStarted
from billhook.model import Ref
from billhook_web.access_front import AccessFront, in_front
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.stores import schema

from .conftest import BOOTSTRAP_KEY, START, Api, make_runtime


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[Api]:
    runtime = make_runtime(postgres_url, "acme,bare,fakepay")
    schema.upgrade(runtime.db)
    yield Api(runtime, create_app(runtime, Wake(runtime)))
    runtime.close()


def test_lists_page_on_postgres_as_they_do_on_sqlite(on_postgres: Api) -> None:
    for number in range(5):
        on_postgres.ok("PUT", f"/customers/c{number}", body={"name": f"Name_{number}"}, status=201)
        ref = Ref("acme", f"i{number}")
        on_postgres.apply(
            InvoiceFinalized(at=START, ref=ref, customer_id="c1", currency="EUR", total=1, taxes=0, due=1)
        )
    for path, name, expected in [
        ("/customers", "id", [f"c{number}" for number in (4, 3, 2, 1, 0)]),
        ("/invoices", "ref", [f"acme:i{number}" for number in (4, 3, 2, 1, 0)]),
    ]:
        seen, cursor = [], ""
        while cursor is not None:
            page = on_postgres.get(f"{path}?limit=2{cursor and '&cursor=' + cursor}")
            seen += [each[name] for each in page["data"]]
            cursor = page["next_cursor"]
        assert seen == expected
    assert [each["id"] for each in on_postgres.get("/customers?search=NAME_3")["data"]] == ["c3"]
    assert len(on_postgres.get("/invoices?since=2026-09-01&until=2026-09-02&customer=c1")["data"]) == 5


def test_a_subscription_is_found_by_its_agreement_on_postgres(on_postgres: Api) -> None:
    fact = SubscriptionStarted(
        at=START, ref=Ref("acme", "row_1"), external_id='a"b%_\\ü', customer_id="c1", plan="team"
    )
    on_postgres.apply(fact)
    assert on_postgres.get("/subscriptions/acme:a%22b%25_%5Cü")["ref"] == "acme:row_1"


def test_asking_to_collect_works_on_postgres(on_postgres: Api) -> None:
    ref = Ref("acme", "i1")
    on_postgres.apply(
        InvoiceFinalized(at=START, ref=ref, customer_id="c1", currency="EUR", total=1, taxes=0, due=1)
    )
    first = on_postgres.ok("POST", "/invoices/acme:i1/collect", status=202)
    assert on_postgres.ok("POST", "/invoices/acme:i1/collect", status=202) == first


def test_a_statement_that_takes_too_long_is_a_problem_with_a_time_to_come_back(postgres_url: str) -> None:
    runtime = make_runtime(postgres_url, "acme")
    schema.upgrade(runtime.db)
    client = create_app(runtime, Wake(runtime), statement_seconds=0.3).test_client()
    said = {"Authorization": f"Bearer {BOOTSTRAP_KEY}"}
    with runtime.db.begin() as other:
        other.exec_driver_sql("LOCK TABLE invoices, customers IN ACCESS EXCLUSIVE MODE")
        for answer in (
            client.get("/api/v1/invoices", headers=said),
            client.put("/api/v1/customers/c1", headers=said, json={"name": "Ada"}),
        ):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
            assert answer.content_type == "application/problem+json"
    assert client.get("/api/v1/invoices", headers=said).status_code == 200
    with runtime.db.begin() as work, runtime.db.read() as more:
        for tx in (work, more):
            tx.exec_driver_sql("SELECT pg_sleep(0.5)")  # nobody waits for this one
    runtime.close()


def test_access_is_answered_on_postgres_in_front_of_flask_and_behind(on_postgres: Api) -> None:
    front = Client(in_front(on_postgres.app, AccessFront(on_postgres.runtime)))
    asked = {"path": "/api/v1/customers/c1/access", "headers": {"Authorization": f"Bearer {BOOTSTRAP_KEY}"}}
    day = START.date() - timedelta(days=2)
    on_postgres.ok("PUT", "/customers/c1", body={}, status=201)
    on_postgres.apply(
        InvoiceFinalized(
            at=START, ref=Ref("acme", "i1"), customer_id="c1", currency="EUR", total=1, taxes=0, due=1,
            issued_on=day, due_on=day,
        )
    )  # fmt: skip
    assert front.get(**asked).get_json() == on_postgres.get("/customers/c1/access")
    rules = [{"state": "late", "when": {"overdue_days": 1, "lacks_tag": "vip"}, "access": "none"}]
    policy = {"name": "strict", "policy": {"rules": rules}}
    on_postgres.ok("POST", "/access/policies", body=policy, status=201)
    preview = on_postgres.answer("POST", "/access/policies/preview", body={"policy": policy["policy"]})
    assert '"now":true' in preview.get_data(as_text=True)
    on_postgres.runtime.clock.advance(timedelta(seconds=1))
    on_postgres.ok("POST", "/access/policies/activate", body={"name": "strict", "scope": "default"})
    assert front.get(**asked).get_json()["access"] == "none"
    on_postgres.runtime.clock.advance(timedelta(seconds=1))
    on_postgres.ok("PUT", "/customers/c1/tags/vip", body={"reason": "an old customer"})
    assert front.get(**asked).get_json()["access"] == "full"
    told = on_postgres.ok("POST", "/access/query", body={"customers": ["c1", "c2"]})
    assert (told["decisions"][0]["version"], told["unknown"]) == (
        front.get(**asked).get_json()["version"],
        ["c2"],
    )
    causes = [each["cause"] for each in on_postgres.get("/customers/c1/access/history")["data"]]
    assert causes[:2] == ["fact", "policy"]
