"""What Stripe delivers: who sent it, and what it means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from stripe import WebhookSignature

from billhook.errors import NotFound, PayloadInvalid, SignatureInvalid
from billhook.events import (
    MandateChanged,
    PaymentCanceled,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    Refetch,
    RefundChanged,
)
from billhook.model import DeclineClass, DisputeStatus, MandateStatus, Ref, RefundStatus
from billhook.money import Money
from billhook.provider import WebhookRequest
from billhook_stripe.facts import Reader
from billhook_stripe.sandbox import WEBHOOK_SECRET
from billhook_stripe.signature import HEADER, StripeSignatures
from billhook_stripe.webhooks import StripeWebhooks

FIXTURES = Path(__file__).parent / "fixtures"
NOW = datetime(2026, 9, 1, 10, tzinfo=UTC)


@pytest.fixture
def source(context) -> StripeWebhooks:
    return StripeWebhooks.connect(context())


@pytest.fixture
def told(source, fixture_event):
    """Parse a fixture, with changes to the object in it; return the one fact."""

    def tell(name: str, **changes):
        event = fixture_event(name)
        event["data"]["object"] |= changes
        facts = [part for part in source.parse(json.dumps(event).encode()) if not isinstance(part, Refetch)]
        assert len(facts) <= 1
        return facts[0] if facts else None

    return tell


def request(body: bytes, header: str) -> WebhookRequest:
    return WebhookRequest(headers={HEADER: header}, body=body)


# --- who sent it -------------------------------------------------------------------------------------------------


def test_stripe_s_own_vector_verifies():
    vector = json.loads((FIXTURES / "signature_vector.json").read_text())
    at = datetime.fromtimestamp(vector["timestamp"], UTC)
    body = (FIXTURES / "events/payment_intent.succeeded.json").read_bytes()
    signatures = StripeSignatures([vector["secret"]])
    signatures.verify(body, vector["header"], now=at)
    assert signatures.sign(body, at=at) == vector["header"]


def test_what_stripe_s_own_library_signs_is_accepted(source):
    body = (FIXTURES / "events/payment_intent.succeeded.json").read_text()
    header = WebhookSignature.generate_signature_header(body, WEBHOOK_SECRET, int(NOW.timestamp()))
    delivery = source.verify(request(body.encode(), header), now=NOW)
    assert (delivery.key, delivery.type) == ("evt_BillhookTest003", "payment_intent.succeeded")


def test_both_secrets_are_accepted_while_one_is_rolled(context):
    source = StripeWebhooks.connect(context(webhook_secret="whsec_new_secret,whsec_old_secret"))
    body = b'{"id": "evt_1", "type": "x"}'
    for secret in ("whsec_new_secret", "whsec_old_secret"):
        assert (
            source.verify(request(body, StripeSignatures([secret]).sign(body, at=NOW)), now=NOW).key
            == "evt_1"
        )
    with pytest.raises(SignatureInvalid, match="secret"):
        source.verify(request(body, StripeSignatures(["whsec_other_secret"]).sign(body, at=NOW)), now=NOW)


def test_one_right_signature_among_several_is_enough(source):
    body = b'{"id": "evt_1", "type": "x"}'
    good = StripeSignatures([WEBHOOK_SECRET]).sign(body, at=NOW)
    stamp, _, right = good.partition(",")
    source.verify(request(body, f"{stamp},v1={'0' * 64},{right},v0=whatever"), now=NOW)
    for header in (f"{stamp},v0={right[3:]}", f"{stamp},{stamp},{right}", right, stamp):
        with pytest.raises(SignatureInvalid):
            source.verify(request(body, header), now=NOW)


def test_a_time_from_the_future_is_refused(source):
    body = b'{"id": "evt_1", "type": "x"}'
    header = StripeSignatures([WEBHOOK_SECRET]).sign(body, at=NOW + timedelta(minutes=6))
    with pytest.raises(SignatureInvalid, match="clock"):
        source.verify(request(body, header), now=NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"id": 1}', b'{"id": "evt 1"}', b"\xff"])
def test_a_signed_body_that_is_no_event_is_refused(source, body):
    with pytest.raises(SignatureInvalid):
        source.verify(request(body, StripeSignatures([WEBHOOK_SECRET]).sign(body, at=NOW)), now=NOW)


def test_a_thin_event_and_its_snapshot_are_one_delivery(source, sandbox):
    from billhook_stripe.sandbox.events import thin

    customer = sandbox.add_customer()
    sandbox.add_method(customer["id"])
    snapshot = next(each for each in sandbox.events if each["type"] == "payment_method.attached")
    keys = set()
    for event in (snapshot, thin(snapshot)):
        body = json.dumps(event).encode()
        header = StripeSignatures([WEBHOOK_SECRET]).sign(body, at=NOW)
        keys.add(source.verify(request(body, header), now=NOW).content_key)
    assert keys == {snapshot["id"]}
    (thing,) = source.parse(json.dumps(thin(snapshot)).encode())
    assert thing == Refetch(kind="method", id=snapshot["data"]["object"]["id"])
    (fact,) = source.refetch(thing)
    assert fact.status is MandateStatus.ACTIVE


# --- what it means -----------------------------------------------------------------------------------------------


def test_a_payment_says_what_came_in_from_whom_and_for_what(told):
    fact = told("payment_intent.succeeded")
    assert isinstance(fact, PaymentSucceeded)
    assert fact.at == datetime.fromtimestamp(1790000003, UTC)
    assert (fact.ref, fact.session) == (Ref("stripe", "pi_BillhookTest001"), "pi_BillhookTest001")
    assert (fact.amount, fact.applied) == (Money(4620, "USD"), Money(4620, "USD"))
    assert fact.provider_customer == "cus_BillhookTest001"
    assert fact.metadata["lago_invoice_id"] == "0d0b6c24-c5bd-44db-98ae-e8beeb4560bb"


def test_less_than_was_asked_for_counts_as_what_came(told):
    fact = told("payment_intent.succeeded", amount_received=4000)
    assert (fact.amount.minor, fact.applied.minor) == (4620, 4000)


def test_the_card_that_paid_is_asked_for(source, fixture_event):
    *_, more = source.parse(json.dumps(fixture_event("payment_intent.succeeded")).encode())
    assert (more.kind, more.id) == ("payment", "pi_BillhookTest001")
    assert source.refetch(more) == []  # not there: what the event said counts all the same
    with pytest.raises(NotFound):
        source.refetch(Refetch(kind="payment", id="pi_BillhookTest001"))


def test_a_declined_payment_says_why_and_with_what(told):
    fact = told("payment_intent.payment_failed")
    assert isinstance(fact, PaymentFailed)
    assert (fact.decline.code, fact.decline.kind) == ("insufficient_funds", DeclineClass.SOFT)
    assert (fact.method.brand, fact.method.last4, fact.method.expires) == ("visa", "4242", "2030-08")


def test_a_charge_the_bank_only_wants_confirmed_waits_for_the_customer(told, fixture_event):
    error = fixture_event("payment_intent.payment_failed")["data"]["object"]["last_payment_error"]
    error |= {"code": "authentication_required", "decline_code": "authentication_required"}
    fact = told("payment_intent.payment_failed", last_payment_error=error)
    assert isinstance(fact, PaymentProcessing)
    assert fact.requires_action


def test_what_is_canceled_after_it_failed_has_failed(told, fixture_event):
    error = fixture_event("payment_intent.payment_failed")["data"]["object"]["last_payment_error"]
    assert isinstance(told("payment_intent.canceled"), PaymentCanceled)
    assert (
        told("payment_intent.canceled", last_payment_error=error) is None
    )  # the event of the failure said so
    intent = fixture_event("payment_intent.canceled")["data"]["object"] | {"last_payment_error": error}
    (fetched,) = Reader(connection="stripe").payment(intent, at=None)
    assert isinstance(fetched, PaymentFailed)


def test_an_intent_that_nobody_has_tried_says_nothing(told):
    assert told("payment_intent.created") is None


def test_the_object_s_status_counts_and_not_the_event_s_name(told):
    fact = told("payment_intent.payment_failed", status="succeeded", amount_received=4620)
    assert isinstance(fact, PaymentSucceeded)


@pytest.mark.parametrize(
    ("status", "means"),
    [("pending", RefundStatus.PENDING), ("succeeded", RefundStatus.SUCCEEDED), ("failed", RefundStatus.FAILED),
     ("canceled", RefundStatus.FAILED), ("requires_action", RefundStatus.PENDING)],
)  # fmt: skip
def test_a_refund_stands_as_it_says(told, status, means):
    fact = told("refund.updated", status=status, metadata={"billhook_key": "refund-1"})
    assert isinstance(fact, RefundChanged)
    assert (fact.status, fact.payment, fact.metadata["billhook_key"]) == (
        means,
        Ref("stripe", "pi_BillhookTest001"),
        "refund-1",
    )


def test_a_refund_or_dispute_of_a_charge_without_an_intent_is_none_of_ours(told):
    assert told("refund.updated", payment_intent=None) is None
    assert told("charge.dispute.created", payment_intent=None) is None


@pytest.mark.parametrize(
    ("status", "means"),
    [("needs_response", DisputeStatus.OPEN), ("under_review", DisputeStatus.OPEN), ("won", DisputeStatus.WON),
     ("lost", DisputeStatus.LOST), ("warning_closed", DisputeStatus.WON), ("prevented", DisputeStatus.WON)],
)  # fmt: skip
def test_a_dispute_stands_as_it_says(told, status, means):
    fact = told("charge.dispute.closed", status=status)
    assert (fact.status, fact.amount) == (means, Money(4620, "USD"))


def test_a_method_that_is_detached_ends_and_names_whose_it_was(told):
    kept, gone = told("payment_method.attached"), told("payment_method.detached")
    assert isinstance(kept, MandateChanged)
    assert (kept.status, kept.method.last4, kept.method.reusable) == (MandateStatus.ACTIVE, "4242", True)
    assert (gone.status, gone.provider_customer) == (MandateStatus.ENDED, "cus_BillhookTest001")


def test_a_withdrawn_mandate_ends_the_method(told):
    assert told("mandate.updated").status is MandateStatus.ENDED
    assert told("mandate.updated", status="active") is None


@pytest.mark.parametrize("livemode", [True, None, "false"])
def test_an_event_of_the_other_mode_is_not_taken(source, fixture_event, livemode):
    event = fixture_event("payment_intent.succeeded") | {"livemode": livemode}
    with pytest.raises(PayloadInvalid, match="livemode"):
        source.parse(json.dumps(event).encode())


@pytest.mark.parametrize("name", ["payment_intent.succeeded", "refund.updated", "charge.dispute.closed"])
def test_a_status_of_tomorrow_is_said_and_not_guessed(source, fixture_event, name):
    event = fixture_event(name)
    event["data"]["object"]["status"] = "status_of_tomorrow"
    with pytest.raises(PayloadInvalid, match="status"):
        source.parse(json.dumps(event).encode())


# --- fetched -----------------------------------------------------------------------------------------------------


def test_each_kind_is_fetched_as_it_stands_now(source, sandbox, context):
    customer = sandbox.add_customer()["id"]
    method = sandbox.add_method(customer)
    intent = sandbox.charge_elsewhere(customer, 4900, "eur", {"lago_invoice_id": "inv-1"})
    refund = sandbox.refund(intent["id"], 900)
    dispute = sandbox.dispute(intent["id"])
    setup = next(iter(sandbox.world.setups))
    fetched = {
        kind: source.refetch(Refetch(kind=kind, id=ref))
        for kind, ref in (
            ("payment", intent["id"]), ("refund", refund["id"]), ("dispute", dispute["id"]), ("setup", setup),
            ("method", method["id"]), ("charge", intent["latest_charge"]),
        )
    }  # fmt: skip
    assert {kind: [fact.type for fact in facts] for kind, facts in fetched.items()} == {
        "payment": ["payment.succeeded"],
        "refund": ["refund.changed"],
        "dispute": ["dispute.changed"],
        "setup": ["mandate.changed"],
        "method": ["mandate.changed"],
        "charge": ["refund.changed"],
    }
    assert all(fact.at is None for facts in fetched.values() for fact in facts)
    assert fetched["payment"][0].method.last4 == "4242"
    with pytest.raises(ValueError, match="moon"):
        source.refetch(Refetch(kind="moon", id="x"))


def test_a_withdrawn_mandate_is_fetched(source, sandbox):
    customer = sandbox.add_customer()["id"]
    sandbox.add_method(customer, card="DE89370400440532013000")
    mandate = next(iter(sandbox.world.mandates))
    assert source.refetch(Refetch(kind="permission", id=mandate)) == []
    sandbox.revoke(mandate)
    (fact,) = source.refetch(Refetch(kind="permission", id=mandate))
    assert fact.status is MandateStatus.ENDED
