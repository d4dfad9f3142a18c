"""The sandbox against Stripe's own SDK: as a client over HTTP, and by its published types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import stripe

from billhook_stripe.sandbox import API_KEY, PUBLISHABLE_KEY
from billhook_stripe.sandbox.api_account import ENDPOINT, ENDPOINT_CHANGE
from billhook_stripe.sandbox.api_customers import CUSTOMER, METHOD, METHOD_CHANGE, SETUP, SETUP_CONFIRM
from billhook_stripe.sandbox.api_money import INTENT, INTENT_CHANGE, INTENT_CONFIRM, REFUND
from billhook_stripe.sandbox.search import SEARCHING
from billhook_stripe.sandbox.world import API_VERSION

EVENTS = Path(__file__).parent / "fixtures" / "events"
BROWSERS_ONLY = {
    "use_stripe_sdk",
    "client_secret",
}  # Stripe.js sends them; the server's SDK types a part of them
AUTOMATIC = {"enabled": True, "allow_redirects": "never"}


@pytest.fixture
def client(served) -> stripe.StripeClient:
    return stripe.StripeClient(API_KEY, base_addresses={"api": served})


def test_the_sdk_speaks_the_version_the_sandbox_plays():
    assert stripe.api_version == API_VERSION


def test_a_customer_saves_a_card_and_is_charged_later(client):
    customer = client.v1.customers.create({"email": "ada@acme.example", "metadata": {"ours": "acct_1"}})
    setup = client.v1.setup_intents.create(
        {"customer": customer.id, "payment_method": "pm_card_visa", "confirm": True, "return_url": "https://x.test",
         "automatic_payment_methods": {"enabled": True}}
    )  # fmt: skip
    assert setup.status == "succeeded"
    (method,) = client.v1.customers.payment_methods.list(customer.id).data
    assert (method.id, method.card.last4, method.customer) == (setup.payment_method, "4242", customer.id)
    client.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
    again = client.v1.customers.retrieve(customer.id, {"expand": ["invoice_settings.default_payment_method"]})
    assert again.invoice_settings.default_payment_method.card.brand == "visa"
    intent = client.v1.payment_intents.create(
        {"amount": 4900, "currency": "eur", "customer": customer.id, "payment_method": method.id, "confirm": True,
         "off_session": True, "automatic_payment_methods": AUTOMATIC, "expand": ["latest_charge"]}
    )  # fmt: skip
    assert (intent.status, intent.amount_received, intent.latest_charge.paid) == ("succeeded", 4900, True)


def test_a_decline_carries_codes_advice_and_the_intent(client):
    with pytest.raises(stripe.CardError) as caught:
        client.v1.payment_intents.create(
            {"amount": 4900, "currency": "eur", "payment_method": "pm_card_chargeDeclinedInsufficientFunds",
             "confirm": True, "automatic_payment_methods": AUTOMATIC}
        )  # fmt: skip
    error = caught.value.error
    assert (caught.value.http_status, caught.value.code) == (402, "card_declined")
    assert (error.decline_code, error.advice_code) == ("insufficient_funds", "try_again_later")
    assert (error.payment_intent.status, error.payment_intent.payment_method) == (
        "requires_payment_method",
        None,
    )
    assert error.payment_intent.last_payment_error.payment_method.card.last4 == "9995"


def test_off_session_a_bank_that_wants_the_customer_declines(client, sandbox):
    customer = client.v1.customers.create({})
    method = sandbox.add_method(customer.id, card="4000002760003184")
    with pytest.raises(stripe.CardError) as caught:
        client.v1.payment_intents.create(
            {"amount": 4900, "currency": "eur", "customer": customer.id, "payment_method": method["id"],
             "confirm": True, "off_session": True, "automatic_payment_methods": AUTOMATIC}
        )  # fmt: skip
    assert caught.value.code == "authentication_required"
    again = client.v1.payment_intents.confirm(
        caught.value.error.payment_intent.id,
        {"payment_method": method["id"], "return_url": "https://x.test/back"},
    )
    assert (again.status, again.next_action.type) == ("requires_action", "redirect_to_url")


@pytest.mark.parametrize(
    ("call", "raised", "code"),
    [
        (lambda v1: v1.customers.retrieve("cus_never"), stripe.InvalidRequestError, "resource_missing"),
        (lambda v1: v1.customers.create({"nosuch": 1}), stripe.InvalidRequestError, "parameter_unknown"),
        (lambda v1: v1.payment_intents.create({"currency": "eur"}), stripe.InvalidRequestError, "parameter_missing"),
        (lambda v1: v1.payment_intents.create({"amount": 1, "currency": "eur"}), stripe.InvalidRequestError,
         "amount_too_small"),
        (lambda v1: v1.payment_intents.create({"amount": 900, "currency": "eur", "payment_method_types": ["card"]}),
         stripe.InvalidRequestError, "payment_method_types_no_longer_supported"),
        (lambda v1: v1.payment_methods.attach("pm_card_chargeDeclined", {"customer": "cus_x"}), stripe.CardError,
         "card_declined"),
    ],
    ids=["missing", "unknown parameter", "no amount", "too small", "removed parameter", "attach declined"],
)  # fmt: skip
def test_the_sdk_raises_what_it_raises_at_stripe(client, call, raised, code):
    with pytest.raises(raised) as caught:
        call(client.v1)
    assert caught.value.code == code
    assert caught.value.request_id


def test_a_wrong_key_is_an_authentication_error(served):
    client = stripe.StripeClient("sk_test_wrong", base_addresses={"api": served})
    with pytest.raises(stripe.AuthenticationError):
        client.v1.customers.list()
    browser = stripe.StripeClient(PUBLISHABLE_KEY, base_addresses={"api": served})
    with pytest.raises(stripe.PermissionError):
        browser.v1.customers.list()


def test_a_key_replays_its_answer_and_refuses_other_parameters(client, sandbox):
    def create(amount: int) -> Any:
        given = {"amount": amount, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True,
                 "automatic_payment_methods": AUTOMATIC}  # fmt: skip
        return client.v1.payment_intents.create(given, {"idempotency_key": "k"})

    first, second = create(4900), create(4900)
    assert first.id == second.id
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        create(5000)
    assert len(sandbox.charges) == 1


def test_lists_are_paged_both_ways(client):
    made = [client.v1.customers.create({}).id for _ in range(5)]
    assert [each.id for each in client.v1.customers.list({"limit": 2}).auto_paging_iter()] == made[::-1]
    page = client.v1.customers.list({"limit": 2, "ending_before": made[0]})
    assert [each.id for each in page.data] == [made[2], made[1]]


def test_refunds_disputes_and_events_are_read_by_the_sdk(client, sandbox):
    intent = client.v1.payment_intents.create(
        {"amount": 4900, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True,
         "automatic_payment_methods": AUTOMATIC}
    )  # fmt: skip
    refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 900, "reason": "duplicate"})
    assert (refund.status, refund.payment_intent) == ("succeeded", intent.id)
    dispute = sandbox.dispute(intent.id)
    client.v1.disputes.update(dispute["id"], {"evidence": {"product_description": "A thing"}, "submit": True})
    assert client.v1.disputes.retrieve(dispute["id"]).status == "under_review"
    assert client.v1.disputes.close(dispute["id"]).status == "lost"
    kinds = [event.type for event in client.v1.events.list({"limit": 100}).auto_paging_iter()]
    assert kinds[::-1] == [
        "payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "refund.created", "charge.refunded",
        "charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated", "charge.dispute.closed",
    ]  # fmt: skip


def test_webhook_endpoints_are_registered_changed_and_deleted(client, sandbox):
    made = client.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:9/a", "enabled_events": ["customer.created"], "metadata": {"ours": "1"}}
    )
    assert made.secret.startswith("whsec_")
    kept = client.v1.webhook_endpoints.retrieve(made.id)
    assert (kept.url, kept.metadata.to_dict(), "secret" in kept) == (
        "http://127.0.0.1:9/a",
        {"ours": "1"},
        False,
    )
    change: Any = {
        "url": "http://127.0.0.1:9/b",
        "enabled_events": ["*"],
        "metadata": {"more": "2"},
        "disabled": True,
    }
    changed = client.v1.webhook_endpoints.update(made.id, change)
    assert (changed.url, changed.status, changed.enabled_events) == (
        "http://127.0.0.1:9/b",
        "disabled",
        ["*"],
    )
    assert changed.metadata.to_dict() == {"ours": "1", "more": "2"}
    everywhere = [each.id for each in client.v1.webhook_endpoints.list().data]
    assert everywhere == [made.id, sandbox.hooks.endpoint(everywhere[1]).shown["id"]]
    assert client.v1.webhook_endpoints.delete(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.webhook_endpoints.retrieve(made.id)
    assert caught.value.code == "resource_missing"


def test_an_endpoint_needs_an_address_with_a_scheme(client, sandbox):
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.webhook_endpoints.create({"url": "shop.example", "enabled_events": ["*"]})
    assert (caught.value.code, caught.value.param) == ("url_invalid", "url")
    assert len(sandbox.hooks.endpoints) == 1


# --- types -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "params"),
    [
        (CUSTOMER, "CustomerCreateParams"),
        (METHOD, "PaymentMethodCreateParams"),
        (METHOD_CHANGE, "PaymentMethodUpdateParams"),
        (SETUP, "SetupIntentCreateParams"),
        (SETUP_CONFIRM, "SetupIntentConfirmParams"),
        (INTENT, "PaymentIntentCreateParams"),
        (INTENT_CHANGE, "PaymentIntentUpdateParams"),
        (INTENT_CONFIRM, "PaymentIntentConfirmParams"),
        (REFUND, "RefundCreateParams"),
        (SEARCHING, "PaymentIntentSearchParams"),
        (SEARCHING, "CustomerSearchParams"),
        (SEARCHING, "ChargeSearchParams"),
        (ENDPOINT, "WebhookEndpointCreateParams"),
        (ENDPOINT_CHANGE, "WebhookEndpointUpdateParams"),
    ],
)
def test_every_parameter_the_sandbox_takes_is_one_of_the_sdk_s(shape, params):
    known = getattr(stripe.params, params).__annotations__
    assert set(shape) - BROWSERS_ONLY <= set(known)


@pytest.mark.parametrize(
    ("view", "resource"),
    [
        ("customers", stripe.Customer),
        ("methods", stripe.PaymentMethod),
        ("intents", stripe.PaymentIntent),
        ("setups", stripe.SetupIntent),
        ("charges", stripe.Charge),
        ("refunds", stripe.Refund),
        ("disputes", stripe.Dispute),
        ("mandates", stripe.Mandate),
    ],
)
def test_every_property_the_sandbox_shows_is_one_of_the_sdk_s(sandbox, view, resource):
    customer = sandbox.add_customer()["id"]
    for card in ("4242424242424242", "DE89370400440532013000"):
        sandbox.add_method(customer, card=card)
    intent = sandbox.charge_elsewhere(customer, 4900, "eur", {})
    sandbox.refund(intent["id"], 900)
    sandbox.dispute(intent["id"])
    for thing in getattr(sandbox.world, view).values():
        assert set(thing) <= set(resource.__annotations__) | {"object", "id"}, thing["object"]


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("payment_intent.succeeded", "intents"),
        ("setup_intent.succeeded", "setups"),
        ("payment_method.attached", "methods"),
        ("refund.updated", "refunds"),
        ("charge.dispute.created", "disputes"),
    ],
)
def test_no_property_of_the_published_objects_is_left_out(sandbox, name, view):
    customer = sandbox.add_customer()["id"]
    sandbox.add_method(customer)
    intent = sandbox.charge_elsewhere(customer, 4900, "eur", {})
    sandbox.refund(intent["id"], 900)
    sandbox.dispute(intent["id"])
    published = set(json.loads((EVENTS / f"{name}.json").read_text())["data"]["object"])
    shown = set(next(iter(getattr(sandbox.world, view).values())))
    assert published - shown <= {"managed_payments"}
