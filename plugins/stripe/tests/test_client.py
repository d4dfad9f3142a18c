"""Stripe's refusals as what the host must do next, and what a call carries."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stripe

from billhook.errors import Conflict, NotFound, OutcomeUnknown, Permanent, Refused, Temporary
from billhook.methods import SetupRequest
from billhook.model import Customer
from billhook.testing.connection import make_collect_request, make_customer
from billhook.testing.wire import Wire
from billhook_stripe.client import API_VERSION, connect, keyed
from billhook_stripe.provider import StripePayments
from billhook_stripe.sandbox import API_KEY

ERRORS = Path(__file__).parent / "fixtures" / "errors"


def answering(status: int, body: bytes) -> Any:
    """A server that always says this."""

    def app(_: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(f"{status} whatever", [("Content-Type", "application/json"), ("Request-Id", "req_42")])
        return [body]

    return app


def error(status: int, kind: str, **details: str) -> Any:
    return answering(status, json.dumps({"error": {"type": kind, "message": "No.", **details}}).encode())


@pytest.mark.parametrize(
    ("app", "raised", "word"),
    [
        (error(401, "invalid_request_error"), Permanent, "STRIPE_API_KEY"),
        (error(403, "invalid_request_error", code="secret_key_required"), Permanent, "STRIPE_API_KEY"),
        (error(404, "invalid_request_error", code="resource_missing"), NotFound, "resource_missing"),
        (error(400, "invalid_request_error", code="parameter_unknown"), Refused, "parameter_unknown"),
        (error(400, "idempotency_error"), Conflict, "look at the payment"),
        (error(400, "invalid_request_error", code="rate_limit"), Temporary, "rate_limit"),
        (error(409, "invalid_request_error", code="idempotency_key_in_use"), Temporary, "busy"),
        (answering(429, b"{}"), Temporary, "429"),
        (answering(500, b"{}"), Temporary, "500"),
        (answering(200, b"<html>"), Temporary, "cannot be used"),
    ],
    ids=["401", "403", "404", "400", "other parameters", "rate limit", "409", "429", "500", "no JSON"],
)
def test_each_refusal_says_what_to_do_next(context, app, raised, word):
    api = connect(context(app=app))
    with pytest.raises(raised, match=word), api.answers():
        api.v1.customers.retrieve("cus_1")


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (200, b"<html>"), (502, b"")])
def test_without_a_usable_answer_money_may_have_moved(context, status, body):
    api = connect(context(app=answering(status, body)))
    with pytest.raises(OutcomeUnknown), api.answers(money=True):
        api.v1.payment_intents.create({"amount": 100, "currency": "eur"}, keyed("k"))


def test_a_message_holds_no_address_and_no_key(context):
    app = error(400, "invalid_request_error", message="ada@example.com used sk_test_sandboxsandboxsandbox")
    api = connect(context(app=app))
    with pytest.raises(Refused) as caught, api.answers():
        api.v1.customers.retrieve("cus_1")
    assert "ada@" not in str(caught.value)


def test_a_call_carries_the_key_the_version_and_nothing_about_this_machine(context, sandbox):
    wire = Wire(sandbox)
    StripePayments.connect(context(app=wire)).collect(make_collect_request(4900, "EUR", invoice="1"))
    call = next(each for each in wire.calls if each.method == "POST" and each.path == "/v1/payment_intents")
    assert call.headers["idempotency-key"] == "acme-inv-1"
    assert call.headers["stripe-version"] == API_VERSION
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    assert not [name for name in call.headers if name.startswith("x-stripe-client")]
    assert stripe.enable_telemetry is False


def test_the_sdk_holds_nothing_global(context):
    connect(context())
    assert (stripe.api_key, stripe.proxy, stripe.app_info) == (None, None, None)
    assert stripe.api_base == "https://api.stripe.com"


def test_a_base_url_may_have_a_path(context, sandbox):
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(environ["PATH_INFO"])
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/sandbox/stripe")
        return sandbox(environ, start_response)

    provider = StripePayments.connect(context(app=app, api_url="http://stripe.test/sandbox/stripe"))
    provider.collect(make_collect_request(4900, "EUR", invoice="1"))
    assert "/sandbox/stripe/v1/payment_intents" in seen


@pytest.mark.parametrize("name", [path.stem for path in sorted(ERRORS.glob("pi_create_*.json"))])
def test_every_recorded_decline_is_a_value(context, sandbox, name):
    recorded = json.loads((ERRORS / f"{name}.json").read_text())
    customer = sandbox.add_customer()
    sandbox.add_method(customer["id"])
    body = json.dumps(recorded["body"]).encode()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/v1/payment_intents":
            return answering(recorded["http_status"], body)(environ, start_response)
        return sandbox(environ, start_response)

    request = make_collect_request(4620, "USD", invoice="1")
    owner = Customer(id="acme", provider_ids={"stripe": customer["id"]})
    collected = StripePayments.connect(context(app=app)).collect(replace(request, customer=owner))
    waits = "authentication_required" in name
    assert collected.state == ("open" if waits else "declined")
    said = recorded["body"]["error"]
    assert waits or collected.decline.code == (said.get("decline_code") or said["code"])


def test_no_body_and_no_secret_reaches_a_log_at_any_level(context, sandbox, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    provider = StripePayments.connect(context())
    customer = provider.provider_customer(make_customer())
    setup = provider.begin_setup(SetupRequest(key="setup-1", provider_customer=customer))
    collected = provider.collect(make_collect_request(4900, "EUR", invoice="1"))
    secrets = [
        setup.client_secret,
        provider.page_payment(collected.session).client_secret,
        "acme@example.com",
    ]
    printed = capfd.readouterr()
    for text in (caplog.text, printed.out, printed.err):
        assert not [secret for secret in (*secrets, API_KEY) if secret in text]
    assert "POST /v1/payment_intents" in caplog.text
