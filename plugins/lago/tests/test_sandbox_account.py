"""Customers, keys, faults and the control surface of the sandbox."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from werkzeug.test import Client

from billhook.clock import VirtualClock
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.sandbox import create_sandbox


def _customer(**fields: Any) -> dict[str, Any]:
    return {"customer": {"external_id": "acct_1", **fields}}


def test_an_upsert_leaves_absent_keys_and_clears_nulls(story: Any) -> None:
    answer = story.ok("POST", "/customers", _customer(email="a@acme.example"))
    assert (answer["name"], answer["email"]) == ("Acme & Sons", "a@acme.example")
    assert story.ok("POST", "/customers", _customer(name=None))["name"] is None
    assert story.heard() == ["customer.updated", "customer.updated"]


def test_the_metadata_array_replaces_the_whole_set(story: Any) -> None:
    [old] = story.ok("GET", "/customers/acct_1")["metadata"]
    kept = {"id": old["lago_id"], "key": old["key"], "value": "cus_2"}
    both = story.ok("POST", "/customers", _customer(metadata=[kept, {"key": "crm", "value": "7"}]))[
        "metadata"
    ]
    assert [(entry["lago_id"] == old["lago_id"], entry["value"]) for entry in both] == [
        (True, "cus_2"),
        (False, "7"),
    ]
    [only] = story.ok("POST", "/customers", _customer(metadata=[{"key": "other", "value": "x"}]))["metadata"]
    assert only["key"] == "other"


def test_repeating_a_metadata_key_without_its_id_collides(story: Any) -> None:
    body = _customer(name="Changed", metadata=[{"key": "dodo_customer_id", "value": "cus_9"}])
    assert story.refused("POST", "/customers", body) == (422, {"key": ["value_already_exist"]})
    assert story.ok("GET", "/customers/acct_1")["name"] == "Acme & Sons"


def test_metadata_has_limits(story: Any) -> None:
    many = [{"key": f"k{number}", "value": "v"} for number in range(6)]
    assert story.refused("POST", "/customers", _customer(metadata=many))[0] == 422
    assert (
        story.refused("POST", "/customers", _customer(metadata=[{"key": "k" * 21, "value": "v"}]))[0] == 422
    )
    assert (
        story.refused("POST", "/customers", _customer(metadata=[{"key": "k", "value": "v" * 101}]))[0] == 422
    )


def test_the_currency_is_fixed_once_billed(story: Any) -> None:
    story.sandbox.issue_invoice("acct_1", 100)
    refusal = story.refused("POST", "/customers", _customer(currency="USD"))
    assert refusal == (422, {"currency": ["currencies_does_not_match"]})


def test_an_unknown_provider_is_cleared_for_the_old_and_refused_for_the_new(story: Any) -> None:
    dodo = {"payment_provider": "dodo"}
    answer = story.ok("POST", "/customers", _customer(billing_configuration=dodo))
    assert answer["billing_configuration"]["payment_provider"] is None
    story.heard()
    new = {"customer": {"external_id": "acct_2", "billing_configuration": dodo}}
    assert story.refused("POST", "/customers", new) == (422, {"base": ["payment_provider_not_found"]})
    assert story.ok("GET", "/customers/acct_2")["external_id"] == "acct_2"  # saved all the same
    assert story.heard() == []


def test_misspelt_fields_are_refused_wherever_they_hide(story: Any) -> None:
    body = _customer(full_name="x", billing_configuration={"payment_provder": "stripe"})
    wanted = {
        "full_name": ["is_not_permitted"],
        "billing_configuration.payment_provder": ["is_not_permitted"],
    }
    assert story.refused("POST", "/customers", body) == (422, wanted)
    assert story.refused("POST", "/customers", {**_customer(), "extra": 1}) == (
        422,
        {"extra": ["is_not_permitted"]},
    )


def test_a_missing_root_is_a_400_without_a_code(story: Any) -> None:
    answer = story("POST", "/customers", {"external_id": "x"})
    assert (answer.status_code, set(answer.get_json())) == (400, {"status", "error"})


def test_a_dot_in_a_customer_id_must_be_encoded(story: Any) -> None:
    story.ok("POST", "/customers", {"customer": {"external_id": "a.b/c"}})
    assert story.refused("GET", "/customers/a.b%2Fc") == (404, "customer_not_found")
    assert story.ok("GET", "/customers/a%2Eb%2Fc")["external_id"] == "a.b/c"


def test_a_wrong_key_is_401_and_a_wrong_verb_404(api: Any) -> None:
    answer = api("GET", "/customers", key="wrong")
    assert (answer.status_code, answer.get_json()) == (401, {"status": 401, "error": "Unauthorized"})
    assert api.refused("PATCH", "/customers") == (404, "resource_not_found")
    assert api.refused("GET", "/nothing") == (404, "resource_not_found")


def test_health_is_open_and_names_the_version(api: Any) -> None:
    assert Client(api.sandbox).get("/health").get_json()["version"] == "1.51.0"


@pytest.mark.parametrize(
    ("kind", "status"),
    [(FaultKind.ERROR, 500), (FaultKind.UNAVAILABLE, 503), (FaultKind.RATE_LIMITED, 429)],
)
def test_a_fault_answers_without_doing(story: Any, kind: FaultKind, status: int) -> None:
    story.sandbox.faults.add(Fault(kind, method="POST", path="/customers"))
    answer = story("POST", "/customers", _customer(name="New"))
    assert answer.status_code == status
    assert ("x-ratelimit-reset" in answer.headers) is (status == 429)
    assert story.ok("GET", "/customers/acct_1")["name"] == "Acme & Sons"


def test_a_lost_answer_has_been_done(story: Any) -> None:
    story.sandbox.faults.add(Fault(FaultKind.LOST_ANSWER, method="POST", path="/customers"))
    assert story("POST", "/customers", _customer(name="New")).status_code == 504
    assert story.ok("GET", "/customers/acct_1")["name"] == "New"


def test_every_call_is_recorded(story: Any) -> None:
    story("GET", "/customers/acct%2F9?x=1")
    recorded = story.sandbox.requests[-1]
    assert (recorded.method, recorded.path, recorded.query) == ("GET", "/customers/acct/9", {"x": "1"})
    assert recorded.headers["Authorization"] == "Bearer lago-sandbox-key"
    assert story.sandbox.requests[0].body["customer"]["external_id"] == "acct_1"


def test_an_endpoint_hears_only_the_types_it_asked_for(story: Any) -> None:
    body = {"webhook_url": "http://127.0.0.1:9/hook", "event_types": ["invoice.created"]}
    created = story.ok("POST", "/webhook_endpoints", {"webhook_endpoint": body})
    assert created["signature_algo"] == "jwt"
    story.sandbox.issue_invoice("acct_1", 100)
    story.ok("POST", "/customers", _customer())
    waiting = {endpoint.url: endpoint.sender.waiting() for endpoint in story.sandbox.world.announce.endpoints}
    assert waiting == {"http://webhooks.invalid/": 2, "http://127.0.0.1:9/hook": 1}
    refusal = story.refused("POST", "/webhook_endpoints", {"webhook_endpoint": body})
    assert refusal == (422, {"webhook_url": ["value_already_exist"]})


def test_the_organisation_is_the_one_in_the_webhooks(story: Any, receiver: Any) -> None:
    story.ok("POST", "/customers", _customer())
    story.sandbox.deliver_webhooks()
    organization = story.ok("GET", "/organizations")
    assert json.loads(receiver.bodies[-1])["organization_id"] == organization["lago_id"]


def test_the_control_surface_drives_the_sandbox_by_hand(story: Any) -> None:
    client = Client(story.sandbox)
    plan = {"code": "gold", "name": "Gold", "amount_cents": 9900}
    assert client.post("/_sandbox/plans", json=plan).get_json()["code"] == "gold"
    invoice = {"external_customer_id": "acct_1", "amount_cents": 100}
    assert client.post("/_sandbox/invoices", json=invoice).get_json()["total_due_amount_cents"] == 100
    assert client.post("/_sandbox/tick", json={}).get_json() == {"happened": 0, "attempts": 2}
    assert client.get("/_sandbox/state").get_json()["webhooks"][-1]["type"] == "invoice.created"
    page = client.get("/_sandbox/")
    assert "Acme &amp; Sons" in page.get_data(as_text=True)
    assert client.post("/_sandbox/faults", json={"kind": "error", "path": "/plans"}).status_code == 200
    assert story("GET", "/plans").status_code == 500
    assert client.post("/_sandbox/faults", json={"kind": "odd"}).status_code == 400


def test_parallel_payments_never_exceed_what_is_due(story: Any) -> None:
    invoice_id = story.sandbox.issue_invoice("acct_1", 1_000)["lago_id"]
    body = {"payment": {"invoice_id": invoice_id, "amount_cents": 300, "reference": "r"}}
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(story("POST", "/payments", body).status_code))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert sorted(statuses) == [200] * 3 + [422] * 9


def test_the_runner_gets_an_app_and_the_fields_of_a_connection(clock: VirtualClock) -> None:
    sandbox = create_sandbox(clock=clock, webhook_url=None, settings={"premium": "false"})
    fields = sandbox.environment("http://127.0.0.1:1/")
    assert set(fields) == {"API_URL", "API_KEY", "WEBHOOK_SECRET", "WEBHOOK_ALGORITHM"}
    assert fields["API_URL"] == "http://127.0.0.1:1/api/v1"
    headers = {"Authorization": f"Bearer {fields['API_KEY']}"}
    assert Client(sandbox.wsgi).get("/api/v1/plans", headers=headers).status_code == 200
    sandbox.wsgi.add_plan(code="p", name="P", amount_cents=1)
    assert (sandbox.tick(), sandbox.deliver_webhooks()) == (0, 1)


def test_the_runners_sandbox_delivers_over_http(clock: VirtualClock, httpserver: Any) -> None:
    httpserver.expect_request("/webhooks/lago", method="POST").respond_with_data("", status=202)
    sandbox = create_sandbox(clock=clock, webhook_url=httpserver.url_for("/webhooks/lago"))
    sandbox.wsgi.add_plan(code="p", name="P", amount_cents=1)
    assert sandbox.deliver_webhooks() == 1
    [(request, _)] = httpserver.log
    assert request.headers["X-Lago-Signature"] == sandbox.wsgi.world.signer.hmac(request.get_data())
    assert sandbox.wsgi.webhooks.sent[0].statuses == [202]
