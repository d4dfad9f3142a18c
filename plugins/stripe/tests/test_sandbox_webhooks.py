"""What the sandbox tells: which events, with what in them, signed, and again when nobody took them."""

from __future__ import annotations

from datetime import timedelta

import pytest
import stripe

from billhook_stripe.sandbox import WEBHOOK_SECRET
from billhook_stripe.sandbox.events import PAUSES


def test_every_delivery_is_signed_so_that_stripe_s_library_takes_it(sandbox, mailbox, clock):
    sandbox.add_customer()
    sandbox.deliver_webhooks()
    (delivery,) = mailbox.received
    stripe.WebhookSignature.verify_header(
        delivery.body.decode(), delivery.headers["stripe-signature"], WEBHOOK_SECRET
    )
    event = stripe.Webhook.construct_event_without_verification(delivery.body)
    assert (event.type, event.data.object.object) == ("customer.created", "customer")


def test_a_delivery_nobody_took_comes_again_with_the_same_body_and_a_new_time(sandbox, mailbox, clock):
    mailbox.answers = [500, 500]
    sandbox.add_customer()
    sandbox.deliver_webhooks()
    clock.advance(PAUSES[0])
    sandbox.deliver_webhooks()
    clock.advance(PAUSES[1])
    sandbox.deliver_webhooks()
    assert len(mailbox.received) == 3
    assert len({delivery.body for delivery in mailbox.received}) == 1
    assert len({delivery.headers["stripe-signature"] for delivery in mailbox.received}) == 3
    assert timedelta(days=2) < sum(PAUSES, timedelta()) < timedelta(days=4)


def test_an_event_keeps_the_object_as_it_was(sandbox, mailbox):
    customer = sandbox.add_customer()["id"]
    intent = sandbox.charge_elsewhere(customer, 4900, "eur", {})
    sandbox.deliver_webhooks()
    statuses = [each.event["data"]["object"]["status"] for each in mailbox.received
                if each.event["type"].startswith("payment_intent.")]  # fmt: skip
    assert statuses == ["requires_confirmation", "succeeded"]
    assert intent["status"] == "succeeded"


def test_changes_say_what_was_before(sandbox, mailbox):
    customer = sandbox.add_customer()["id"]
    method = sandbox.add_method(customer)["id"]
    sandbox.update_card(method, year=2035, month=2)
    sandbox.detach(method)
    sandbox.deliver_webhooks()
    before = {each.event["type"]: each.event["data"].get("previous_attributes") for each in mailbox.received}
    assert before["payment_method.automatically_updated"] == {"card": {"exp_month": 8, "exp_year": 2031}}
    assert before["payment_method.detached"] == {"customer": customer}
    assert "setup_intent.succeeded" in before


def test_an_event_names_the_key_of_the_call_behind_it(api, sandbox):
    api.post("/v1/customers", {}, Idempotency_Key="key-1")
    assert sandbox.events[0]["request"]["idempotency_key"] == "key-1"


@pytest.mark.parametrize(
    ("card", "kinds"),
    [
        ("4242424242424242", ["charge.succeeded", "payment_intent.succeeded"]),
        ("4000000000000002", ["charge.failed", "payment_intent.payment_failed"]),
        ("DE89370400440532013000", ["charge.pending", "payment_intent.processing", "charge.succeeded",
                                    "payment_intent.succeeded"]),
        ("DE62370400440532013001", ["charge.pending", "payment_intent.processing", "charge.failed",
                                    "payment_intent.payment_failed"]),
        ("4000000000000259", ["charge.succeeded", "payment_intent.succeeded", "charge.dispute.created",
                              "charge.dispute.funds_withdrawn"]),
        ("4000002760003184", ["payment_intent.requires_action", "charge.succeeded", "payment_intent.succeeded"]),
    ],
)  # fmt: skip
def test_each_way_a_payment_goes_is_told_step_by_step(api, sandbox, clock, card, kinds):
    intent = api.post("/v1/payment_intents", {"amount": "4900", "currency": "eur"})["id"]
    sandbox.pay(intent, card=card)
    clock.advance(timedelta(days=4))
    sandbox.tick()
    assert [event["type"] for event in sandbox.events][1:] == kinds


def test_an_endpoint_hears_what_it_asked_for_until_it_is_disabled(api, sandbox):
    form = {"url": "http://127.0.0.1:9/hook", "enabled_events[]": "customer.created"}
    made = api.post("/v1/webhook_endpoints", form)
    assert made["secret"].startswith("whsec_")
    sender = sandbox.hooks.endpoint(made["id"]).sender
    customer = sandbox.add_customer()["id"]
    sandbox.add_method(customer)
    assert sender.waiting() == 1
    api.post(f"/v1/webhook_endpoints/{made['id']}", {"disabled": "true"})
    sandbox.add_customer()
    assert sender.waiting() == 1
    api.call("DELETE", f"/v1/webhook_endpoints/{made['id']}")
    api.post(f"/v1/webhook_endpoints/{made['id']}", {})
    assert api.status == 404


def test_what_waits_for_an_endpoint_goes_to_its_new_address(api, sandbox, httpserver):
    httpserver.expect_request("/new").respond_with_data("")
    form = {"url": httpserver.url_for("/old"), "enabled_events[]": "customer.created"}
    made = api.post("/v1/webhook_endpoints", form)
    sandbox.add_customer()
    api.post(f"/v1/webhook_endpoints/{made['id']}", {"url": httpserver.url_for("/new")})
    sandbox.deliver_webhooks()
    assert [request.path for request, _ in httpserver.log] == ["/new"]


def test_an_old_event_can_be_sent_again(sandbox, mailbox):
    sandbox.add_customer()
    sandbox.deliver_webhooks()
    sandbox.resend(sandbox.events[0]["id"])
    sandbox.deliver_webhooks()
    assert [each.event["id"] for each in mailbox.received] == [sandbox.events[0]["id"]] * 2
