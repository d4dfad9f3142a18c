"""The edges of the wire: keys, strict bodies and queries, scripted faults, recorded requests, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from werkzeug.test import Client

from billhook.errors import ConfigInvalid
from billhook.testing.sandbox import Fault, FaultKind
from billhook_dodo.sandbox import create_sandbox


@pytest.mark.parametrize("key", ["", "Bearer wrong", "Basic sandbox_dodo_key", "Bearer schlüssel"])
def test_a_wrong_key_is_refused_and_does_nothing(api, sandbox, key):
    api.call("POST", "/customers", {"email": "a@b.example", "name": "A"}, Authorization=key)
    assert (api.status, api.code) == (401, "UNAUTHORIZED")
    assert sandbox.world.customers == {}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"total": 5}, "total"),
        ({"metadata": {"a b": "c"}}, "metadata.a b"),
        ({"metadata": {"a": None}}, "metadata.a"),
        ({"metadata": {"a": "x" * 501}}, "metadata.a"),
        ({"billing_address": {"city": "Berlin"}}, "billing_address.country"),
        ({"billing_currency": "euro"}, "billing_currency"),
        ({"customer": {"name": "No address"}}, "customer"),
        ({"confirm": "yes"}, "confirm"),
        ({"feature_flags": {"allow_discounts": False}}, "feature_flags.allow_discounts"),
        ({"product_cart": [{"product_id": "p", "quantity": 0}]}, "product_cart[0].quantity"),
        ({"product_cart": [{"product_id": "p", "quantity": 1, "amount": 2**31}]}, "product_cart[0].amount"),
        ({"product_cart": [{"product_id": "p", "quantity": 1, "amount": "12"}]}, "product_cart[0].amount"),
        ({"product_cart": [{"product_id": "p", "quantity": 1}] * 21}, "product_cart"),
        ({"subscription_data": {"on_demand": {}}}, "subscription_data.on_demand.mandate_only"),
    ],
)
def test_a_body_off_the_documented_shape_is_refused_by_name(api, sandbox, change, named):
    body = {"product_cart": [{"product_id": api.product(), "quantity": 1, "amount": 100}]} | change
    answer = api.post("/checkouts", body)
    assert (api.status, api.code) == (422, "INVALID_REQUEST_BODY")
    assert answer["message"].startswith(f"{named}:")
    assert sandbox.checkouts == []


def test_too_many_metadata_keys_have_their_own_code(api):
    api.post("/customers", {"email": "a@b.example", "name": "A", "metadata": {f"k{n}": 1 for n in range(51)}})
    assert (api.status, api.code) == (422, "MAXIMUM_KEYS_REACHED")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/payments?metadata=x", 422),
        ("/payments?page_size=101", 422),
        ("/payments?page_number=-1", 422),
        ("/payments?created_at_gte=yesterday", 422),
        ("/payments?created_at_gte=2026-09-01T00:00:00", 422),
        ("/nowhere", 404),
        ("/refunds/ref_nowhere", 404),
        ("/disputes/dp_nowhere", 404),
        ("/invoices/payments/pay_nowhere", 404),
    ],
)
def test_reads_are_strict_too(api, path, status):
    assert api.call("GET", path).status_code == status
    assert api.code is not None


def test_other_methods_and_broken_json_are_refused(api, sandbox):
    api.call("DELETE", "/payments")
    assert (api.status, api.code) == (405, "METHOD_NOT_ALLOWED")
    client = Client(sandbox)
    headers = {"Authorization": "Bearer sandbox_dodo_key"}
    broken = client.post("/refunds", data=b"{", headers=headers, content_type="application/json")
    assert (broken.status_code, broken.get_json()["code"]) == (400, "INVALID_REQUEST_BODY")
    assert client.post("/refunds", data=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize(
    ("kind", "status", "done"),
    [
        (FaultKind.ERROR, 500, 0),
        (FaultKind.UNAVAILABLE, 503, 0),
        (FaultKind.RATE_LIMITED, 429, 0),
        (FaultKind.LOST_ANSWER, 504, 1),
        (FaultKind.SLOW, 200, 1),
    ],
)
def test_faults_happen_once_before_or_after_the_deed(api, sandbox, kind, status, done):
    sandbox.faults.add(Fault(kind, method="POST", path="/customers", seconds=0.01))
    body = {"email": "a@b.example", "name": "A"}
    response = api.call("POST", "/customers", body)
    assert (response.status_code, len(sandbox.world.customers)) == (status, done)
    if kind is FaultKind.RATE_LIMITED:
        assert (response.data, response.headers["Retry-After"]) == (b"", "1")
    api.post("/customers", body)
    assert (api.status, len(sandbox.world.customers)) == (200, done + 1)


def test_a_lost_answer_has_moved_the_money(api, sandbox):
    mandate = sandbox.authorise_mandate(email="a@b.example")
    sandbox.faults.add(Fault(FaultKind.LOST_ANSWER, path="/charge"))
    api.post(f"/subscriptions/{mandate['subscription_id']}/charge", {"product_price": 100})
    assert api.status == 504
    (row,) = api.get(f"/payments?subscription_id={mandate['subscription_id']}")["items"]
    assert row["status"] == "succeeded"


def test_every_request_is_recorded_as_it_came(api, sandbox):
    api.post("/customers", {"email": "a@b.example", "name": "A"}, Idempotency_Key="k1")
    api.get("/customers?email=a@b.example")
    write, read = sandbox.requests
    assert (write.method, write.path, write.status) == ("POST", "/customers", 200)
    assert write.json == {"email": "a@b.example", "name": "A"}
    assert write.headers["idempotency-key"] == "k1"
    assert (read.query, read.json) == ({"email": "a@b.example"}, None)


def test_concurrent_customers_lose_nothing(sandbox, api):
    product = api.product()
    sessions = [api.checkout(product)["session_id"] for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        paid = list(pool.map(sandbox.pay, sessions))
    assert len({payment["payment_id"] for payment in paid}) == len(sandbox.payments) == 20


def test_one_session_is_paid_once_however_many_press_the_button(sandbox, api):
    path = f"/session/{api.checkout(api.product())['session_id']}"

    def press(_: int) -> int:
        return Client(sandbox).post(path, data={"card": "4242424242424242"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(press, range(8)))
    assert (statuses, len(sandbox.payments)) == ([200] + [409] * 7, 1)


def test_one_mandate_is_charged_once_however_many_ask_at_the_same_time(sandbox, api):
    sandbox.settings.charge_delay = timedelta(hours=1)
    mandate = sandbox.authorise_mandate(email="a@b.example")
    path = f"/subscriptions/{mandate['subscription_id']}/charge"

    def charge(_: int) -> int:
        headers = {"Authorization": "Bearer sandbox_dodo_key"}
        return Client(sandbox).post(path, json={"product_price": 100}, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(charge, range(8)))
    assert statuses == [200] + [409] * 7


def test_the_host_gets_a_connection_from_create_sandbox(clock):
    sandbox = create_sandbox(
        clock=clock, webhook_url="http://127.0.0.1:9/hook", settings={"tax_rate_percent": "19"}
    )
    assert sandbox.environment("http://127.0.0.1:8402") == {
        "API_URL": "http://127.0.0.1:8402",
        "API_KEY": sandbox.api_key,
        "WEBHOOK_SECRET": sandbox.webhook_secret,
        "MODE": "test",
    }
    sandbox.tick()
    assert sandbox.settings.tax_rate_percent == 19
    sandbox.authorise_mandate(email="a@b.example")
    assert sandbox.deliver_webhooks() == 1
    assert sandbox.webhooks[0]["statuses"] == [0]


def test_wrong_settings_are_all_named_at_once(clock):
    settings = {"tax": "19", "tax_rate_percent": "lots", "adaptive_currency": "maybe"}
    with pytest.raises(ConfigInvalid) as caught:
        create_sandbox(clock=clock, webhook_url=None, settings=settings)
    assert [problem.where for problem in caught.value.problems] == [
        "tax",
        "tax_rate_percent",
        "adaptive_currency",
    ]
