"""Deliveries: signatures, retries, faults, and bodies that are as fresh as the attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from billhook.clock import SystemClock
from billhook_dodo.sandbox import WEBHOOK_SECRET, DodoSandbox
from billhook_dodo.sandbox.webhooks import PAUSES


def test_the_standard_library_verifies_our_signatures(mailbox):
    sandbox = DodoSandbox(clock=SystemClock(), post=mailbox)
    sandbox.authorise_mandate(email="naïve@b.example")
    sandbox.deliver_webhooks()
    (delivery,) = mailbox.received
    verified = Webhook(WEBHOOK_SECRET).verify(delivery.body, dict(delivery.headers))
    assert verified["type"] == "subscription.active"
    with pytest.raises(WebhookVerificationError):
        Webhook(WEBHOOK_SECRET).verify(delivery.body + b" ", dict(delivery.headers))


def test_a_refused_delivery_is_retried_on_dodos_schedule_with_the_same_id(api, sandbox, clock, mailbox):
    mailbox.answers = [500] * 8
    sandbox.pay(api.checkout(api.product())["session_id"])
    sandbox.deliver_webhooks()
    for wait in PAUSES:
        clock.advance(wait - timedelta(seconds=1))
        assert sandbox.deliver_webhooks() == 0
        clock.advance(timedelta(seconds=1))
        assert sandbox.deliver_webhooks() == 1
    clock.advance(timedelta(days=7))
    assert sandbox.deliver_webhooks() == 0
    assert len({entry.headers["webhook-id"] for entry in mailbox.received}) == 1
    assert len({entry.headers["webhook-timestamp"] for entry in mailbox.received}) == 8
    assert sandbox.webhooks[0]["statuses"] == [500] * 8


def test_a_late_delivery_carries_the_latest_data_under_its_old_type(api, sandbox, clock, mailbox):
    sandbox.settings.charge_delay = timedelta(seconds=5)
    mandate = sandbox.authorise_mandate(email="a@b.example")
    sandbox.sender.hold = True
    api.post(f"/subscriptions/{mandate['subscription_id']}/charge", {"product_price": 100})
    clock.advance(timedelta(seconds=5))
    sandbox.tick()
    sandbox.sender.hold = False
    sandbox.deliver_webhooks()
    late = mailbox.received[1].event
    assert (late["type"], late["data"]["status"]) == ("payment.processing", "succeeded")
    assert late["timestamp"] == "2026-09-01T10:00:00.000000Z"


def test_webhooks_can_be_dropped_doubled_and_turned_round(api, sandbox, mailbox):
    product = api.product()
    sandbox.sender.drop = 1
    sandbox.pay(api.checkout(product)["session_id"])
    paid = sandbox.pay(api.checkout(product)["session_id"])
    sandbox.refund(paid["payment_id"])
    sandbox.sender.reverse()
    sandbox.sender.duplicate = 1
    sandbox.deliver_webhooks()
    assert mailbox.types == ["refund.succeeded", "refund.succeeded", "payment.succeeded"]
    assert len({entry.headers["webhook-id"] for entry in mailbox.received}) == 2


def test_a_payment_can_flip_after_it_succeeded(api, sandbox, mailbox):
    paid = sandbox.pay(api.checkout(api.product())["session_id"])
    sandbox.deliver_webhooks()
    sandbox.flip(paid["payment_id"])
    sandbox.deliver_webhooks()
    assert mailbox.types == ["payment.succeeded", "payment.failed"]


@pytest.mark.parametrize(
    ("name", "play"),
    [
        ("payment.succeeded", "pay"),
        ("payment.failed", "decline"),
        ("refund.succeeded", "refund"),
        ("dispute.opened", "dispute"),
        ("subscription.active", "mandate"),
        ("edge/payment.succeeded.on_demand_charge", "charge"),
    ],
)
def test_payloads_have_the_properties_of_the_real_ones(api, sandbox, mailbox, fixture_event, name, play):
    PLAYS[play](api, sandbox)
    sandbox.deliver_webhooks()
    ours, real = mailbox.received[-1].event, fixture_event(name)
    assert ours["type"] == real["type"]
    assert ours.keys() == real.keys()
    assert ours["data"]["payload_type"] == real["data"]["payload_type"]
    assert ours["data"].keys() == real["data"].keys()
    for key in ("customer", "billing"):
        assert ours["data"].get(key, {}).keys() == real["data"].get(key, {}).keys()
    # The demo city may be unknown, yet a property that is text there is never a number here.
    for key, value in ours["data"].items():
        if value is not None and real["data"][key] is not None:
            assert type(value) is type(real["data"][key]), key


def _pay(api, sandbox):
    return sandbox.pay(api.checkout(api.product())["session_id"])


def _charge(api, sandbox):
    mandate = sandbox.authorise_mandate(email="a@b.example")
    api.post(f"/subscriptions/{mandate['subscription_id']}/charge", {"product_price": 12000})


PLAYS = {
    "pay": _pay,
    "decline": lambda api, sandbox: sandbox.decline(api.checkout(api.product())["session_id"]),
    "refund": lambda api, sandbox: sandbox.refund(_pay(api, sandbox)["payment_id"]),
    "dispute": lambda api, sandbox: sandbox.dispute(_pay(api, sandbox)["payment_id"]),
    "mandate": lambda api, sandbox: sandbox.authorise_mandate(email="a@b.example"),
    "charge": _charge,
}


def test_an_endpoint_registered_through_the_api_is_told_what_it_asked_for(api, sandbox, httpserver):
    httpserver.expect_request("/hook", method="POST").respond_with_data("", status=204)
    body = {"url": httpserver.url_for("/hook"), "filter_types": ["refund.succeeded"], "idempotency_key": "k"}
    endpoint = api.post("/webhooks", body)
    secret = api.get(f"/webhooks/{endpoint['id']}/secret")["secret"]
    assert secret.startswith("whsec_")
    assert secret != WEBHOOK_SECRET
    sandbox.refund(_pay(api, sandbox)["payment_id"])
    sandbox.deliver_webhooks()
    seen = [row for row in sandbox.webhooks if row["endpoint_id"] == endpoint["id"]]
    assert [(row["type"], row["statuses"]) for row in seen] == [("refund.succeeded", [204])]
    api.post("/webhooks", body)
    assert api.status == 409
    assert len(api.get("/webhooks")["data"]) == 2


def test_an_endpoint_needs_a_web_address(api):
    api.post("/webhooks", {"url": "file:///etc/passwd"})
    assert (api.status, api.code) == (422, "INVALID_REQUEST_BODY")
