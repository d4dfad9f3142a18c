"""What the sandbox sends looks, key for key and byte for byte, like what Lago sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from billhook.clock import VirtualClock
from billhook_lago.sandbox import LagoSandbox
from billhook_lago.sandbox.wire import Signer, rails_json

Payload = Callable[[str], dict[str, Any]]

_SAME: tuple[set[str], set[str]] = (set(), set())
_FREE_MAPS = {"metadata", "grouped_by", "next_action", "amount_details", "overrides", "config"}


def _keys(value: Any, path: str = "") -> set[str]:
    """Return every key path below ``value``, list positions left out."""
    if isinstance(value, list):
        return set().union(*(_keys(entry, f"{path}[]") for entry in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for key, inner in value.items():
        found.add(f"{path}.{key}")
        if key not in _FREE_MAPS or isinstance(inner, list):
            found |= _keys(inner, f"{path}.{key}")
    return found


def _subscribe(api: Any, plan: str = "pro") -> dict[str, Any]:
    terms = {"external_customer_id": "acct_1", "plan_code": plan, "external_id": "sub_1"}
    return api.ok("POST", "/subscriptions", {"subscription": terms})


def _difference(receiver: Any, payload: Payload, name: str) -> tuple[set[str], set[str]]:
    """Return the keys only the stored body has, and those only ours has."""
    stored = payload(name)
    ours, theirs = _keys(receiver.last(stored["webhook_type"])), _keys(stored[stored["object_type"]])
    return theirs - ours, ours - theirs


def test_customer_created_has_lagos_keys(story: Any, receiver: Any, payload: Payload) -> None:
    metadata = [{"key": "dodo_customer_id", "value": "cus_2"}]
    story.ok("POST", "/customers", {"customer": {"external_id": "acct_2", "metadata": metadata}})
    story.sandbox.deliver_webhooks()
    assert _difference(receiver, payload, "customer.created") == _SAME


def test_subscription_started_has_lagos_keys(story: Any, receiver: Any, payload: Payload) -> None:
    _subscribe(story)
    story.sandbox.deliver_webhooks()
    # The sandbox plays no features, so its entitlements are an empty list.
    inside = {
        key for key in _keys(payload("subscription.started")["subscription"]) if ".entitlements[]" in key
    }
    assert _difference(receiver, payload, "subscription.started") == (inside, set())


@pytest.mark.parametrize("name", ["invoice.created", "invoice.payment_status_updated", "invoice.generated"])
def test_invoice_webhooks_have_lagos_keys(story: Any, receiver: Any, payload: Payload, name: str) -> None:
    _subscribe(story)
    [invoice] = story.sandbox.invoices
    story("POST", f"/invoices/{invoice['lago_id']}/download")
    story.ok("PUT", f"/invoices/{invoice['lago_id']}", {"invoice": {"payment_status": "succeeded"}})
    story.sandbox.deliver_webhooks()
    assert _difference(receiver, payload, name) == _SAME


def test_overdue_dispute_and_failure_have_lagos_keys(story: Any, receiver: Any, payload: Payload) -> None:
    _subscribe(story)
    [invoice] = story.sandbox.invoices
    story.sandbox.mark_overdue(invoice["lago_id"])
    story("POST", f"/invoices/{invoice['lago_id']}/retry_payment")
    story.sandbox.lose_dispute(invoice["lago_id"])
    story.sandbox.deliver_webhooks()
    assert _difference(receiver, payload, "invoice.payment_overdue") == _SAME
    assert _difference(receiver, payload, "invoice.payment_failure__no_provider_on_retry") == _SAME
    # The reason is only known when a native provider told Lago.
    assert _difference(receiver, payload, "invoice.payment_dispute_lost") == ({".provider_error"}, set())


def test_ended_and_trial_ended_have_lagos_keys(
    story: Any, receiver: Any, payload: Payload, clock: VirtualClock
) -> None:
    story.sandbox.add_plan(code="trial", name="Trial", amount_cents=100, trial_days=14)
    _subscribe(story, "trial")
    clock.advance(timedelta(days=15))
    story.sandbox.tick()
    story.ok("DELETE", "/subscriptions/sub_1")
    story.sandbox.deliver_webhooks()
    assert _difference(receiver, payload, "subscription.trial_ended") == _SAME
    assert _difference(receiver, payload, "subscription.terminated") == _SAME


def test_credit_note_created_has_lagos_keys(story: Any, receiver: Any, payload: Payload) -> None:
    _subscribe(story)
    [invoice] = story.sandbox.invoices
    fee = invoice["fees"][0]["lago_id"]
    note = {
        "invoice_id": invoice["lago_id"],
        "items": [{"fee_id": fee, "amount_cents": 1000}],
        "credit_amount_cents": 1200,
        "metadata": {"a": "b"},
    }
    story.ok("POST", "/credit_notes", {"credit_note": note})
    story.sandbox.deliver_webhooks()
    assert _difference(receiver, payload, "credit_note.created") == _SAME


def test_a_manual_payment_has_the_keys_of_a_provider_payment(story: Any, payload: Payload) -> None:
    _subscribe(story)
    [invoice] = story.sandbox.invoices
    body = {"invoice_id": invoice["lago_id"], "amount_cents": 100, "reference": "pay_1"}
    payment = story.ok("POST", "/payments", {"payment": body})
    assert set(payment) == set(payload("payment.succeeded")["payment"])
    assert (payment["type"], payment["payment_provider_code"]) == ("manual", None)


def test_bodies_are_written_as_rails_writes_them(payload: Payload) -> None:
    for vector in payload("signature_vectors")["vectors"]:
        assert rails_json(payload(vector["fixture"])) == vector["raw_body"].encode()
    assert rails_json({"a": "<\u2028é>"}) == '{"a":"\\u003c\\u2028é\\u003e"}'.encode()


def test_the_hmac_is_the_one_of_the_vectors(payload: Payload) -> None:
    vectors = payload("signature_vectors")
    signer = Signer(hmac_key=vectors["hmac_key"], issuer="http://lago.sandbox")
    for vector in vectors["vectors"]:
        headers = signer.headers(vector["raw_body"].encode(), algorithm="hmac", unique_key="u")
        expected = vector["headers_hmac"]["X-Lago-Signature"]
        assert (headers["X-Lago-Signature"], headers["X-Lago-Signature-Algorithm"]) == (expected, "hmac")
        assert set(vector["headers_hmac"]) < set(headers)


def test_the_jwt_is_built_like_the_vectors(payload: Payload) -> None:
    vectors = payload("signature_vectors")
    [vector, *_] = vectors["vectors"]
    theirs = vector["headers_jwt"]["X-Lago-Signature"]
    signer = Signer(hmac_key="k", issuer="http://lago.sandbox")
    ours = signer.jwt(vector["raw_body"].encode())
    assert jwt.get_unverified_header(ours) == jwt.get_unverified_header(theirs)
    unchecked = {"verify_signature": False}
    claims, wanted = jwt.decode(ours, options=unchecked), jwt.decode(theirs, options=unchecked)
    assert claims["data"] == wanted["data"] == vector["raw_body"]
    assert set(claims) == set(wanted)
    served = vectors["json_public_key_response"]["webhook"]["public_key"]
    assert [len(line) for line in signer.public_key().split("\n")] == [
        len(line) for line in served.split("\n")
    ]


def test_a_webhook_is_rendered_at_its_first_attempt_and_then_frozen(
    story: Any, receiver: Any, clock: VirtualClock
) -> None:
    story.ok("POST", "/customers", {"customer": {"external_id": "acct_1", "name": "At the event"}})
    story.sandbox.webhooks.hold = True
    story.ok("POST", "/customers", {"customer": {"external_id": "acct_1", "name": "At delivery"}})
    story.sandbox.webhooks.hold = False
    receiver.status = 500
    story.sandbox.deliver_webhooks()
    story.ok("POST", "/customers", {"customer": {"external_id": "acct_1", "name": "Later"}})
    clock.advance(timedelta(seconds=3))
    story.sandbox.deliver_webhooks()
    names = [json.loads(body)["customer"]["name"] for body in receiver.bodies]
    assert sorted(names) == ["At delivery"] * 4 + ["Later"]
    keys = [headers["X-Lago-Unique-Key"] for headers in receiver.headers]
    assert sorted(keys.count(key) for key in set(keys)) == [1, 2, 2]


def test_lago_gives_up_after_the_third_try(story: Any, receiver: Any, clock: VirtualClock) -> None:
    receiver.status = 500
    story.ok("POST", "/customers", {"customer": {"external_id": "acct_1"}})
    attempts = []
    for seconds in (0, 2, 1, 17, 1, 3600):
        clock.advance(timedelta(seconds=seconds))
        attempts.append(story.sandbox.deliver_webhooks())
    assert attempts == [1, 0, 1, 0, 1, 0]
    assert len(story.sandbox.webhooks.given_up) == 1


def test_a_jwt_sandbox_signs_with_jwt(clock: VirtualClock, receiver: Any) -> None:
    sandbox = LagoSandbox(clock=clock, post=receiver, signature_algo="jwt")
    sandbox.send("plan.created", {"code": "x"})
    sandbox.deliver_webhooks()
    [headers], [body] = receiver.headers, receiver.bodies
    assert headers["X-Lago-Signature-Algorithm"] == "jwt"
    token = jwt.decode(headers["X-Lago-Signature"], options={"verify_signature": False})
    assert token["data"] == body.decode()
    assert json.loads(body)["plan"] == {"code": "x"}
