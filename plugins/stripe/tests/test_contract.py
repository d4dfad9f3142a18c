"""Stripe keeps the contract."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest

from billhook.clock import VirtualClock
from billhook.model import Mandate, MandateStatus, Ref
from billhook.money import Money
from billhook.provider import CollectRequest, RefundRequest, WebhookRequest
from billhook.testing.connection import START, make_collect_request
from billhook.testing.contracts import (
    MethodManagementContract,
    PaymentProviderContract,
    ReconcileContract,
    Sample,
    WebhookSourceContract,
)
from billhook.testing.wire import Wire, WireCall
from billhook_stripe import BILLHOOK_API, connection_config, payment_providers, stand_in, webhook_sources
from billhook_stripe.config import StripeConfig
from billhook_stripe.provider import StripePayments
from billhook_stripe.sandbox import WEBHOOK_SECRET, StripeSandbox
from billhook_stripe.signature import HEADER, StripeSignatures
from billhook_stripe.webhooks import StripeWebhooks

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = {
    "payment_intent.succeeded": ("payment.succeeded", "refetch"),
    "payment_intent.payment_failed": ("payment.failed",),
    "payment_intent.processing": ("payment.processing",),
    "payment_intent.requires_action": ("payment.processing",),
    "payment_intent.canceled": ("payment.canceled",),
    "payment_intent.created": (),
    "charge.refunded": ("refetch",),
    "charge.succeeded": (),
    "refund.created": ("refund.changed",),
    "refund.updated": ("refund.changed",),
    "refund.failed": ("refund.changed",),
    "charge.dispute.created": ("dispute.changed",),
    "charge.dispute.funds_withdrawn": ("dispute.changed",),
    "charge.dispute.closed": ("dispute.changed",),
    "setup_intent.succeeded": ("mandate.changed",),
    "setup_intent.setup_failed": (),
    "payment_method.attached": ("mandate.changed",),
    "payment_method.updated": ("mandate.changed",),
    "payment_method.automatically_updated": ("mandate.changed",),
    "payment_method.detached": ("mandate.changed",),
    "mandate.updated": ("mandate.changed",),
    "customer.updated": (),
    "invoice.paid": (),
}


class TestStripeWebhooks(WebhookSourceContract):
    signature_header = HEADER

    @pytest.fixture
    def source(self, context) -> StripeWebhooks:
        return StripeWebhooks.connect(context())

    @pytest.fixture
    def signed(self):
        signatures = StripeSignatures([WEBHOOK_SECRET])

        def sign(body: bytes, at: datetime) -> WebhookRequest:
            return WebhookRequest(headers={HEADER: signatures.sign(body, at=at)}, body=body)

        return sign

    @pytest.fixture
    def samples(self) -> list[Sample]:
        return [
            Sample(name=name, body=(FIXTURES / "events" / f"{name}.json").read_bytes(), expect=expect)
            for name, expect in EXPECTED.items()
        ]

    @pytest.fixture
    def unknown_body(self) -> bytes:
        event = json.loads((FIXTURES / "events/payment_intent.succeeded.json").read_bytes())
        return json.dumps({**event, "type": "moon.landed"}).encode()


def moves_money(call: WireCall) -> bool:
    return call.method == "POST" and call.path.endswith(("/payment_intents", "/confirm", "/refunds"))


class StripeProviderSuite(PaymentProviderContract):
    """What both ways to collect share."""

    @pytest.fixture
    def wire(self, sandbox: StripeSandbox) -> Wire:
        return Wire(sandbox, moves_money=moves_money)

    @pytest.fixture
    def provider(self, context, wire: Wire) -> StripePayments:
        return StripePayments.connect(context(app=wire))

    @pytest.fixture
    def refused_request(self) -> CollectRequest:
        return make_collect_request(1, "EUR", invoice="too-small")

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock(START)

    @pytest.fixture
    def refund_request(self, provider: StripePayments, sandbox: StripeSandbox):
        def make() -> RefundRequest:
            request = make_collect_request(self.amount, self.currency, invoice="to-refund", present=True)
            paid = sandbox.pay(provider.collect(request).session)
            return RefundRequest(
                key="refund-1",
                payment=Ref("stripe", paid["id"]),
                amount=Money(self.amount, self.currency),
                whole=True,
                reason=None,
                metadata={},
                since=START,
            )

        return make


class TestStripeBySavedMethod(StripeProviderSuite):
    """The rung that moves money by itself."""

    @pytest.fixture
    def request_for(self, sandbox: StripeSandbox, clock):
        customer = sandbox.add_customer()
        method = sandbox.add_method(customer["id"])
        mandate = Mandate(
            ref=Ref("stripe", method["id"]),
            status=MandateStatus.ACTIVE,
            at=clock.now(),
            provider_customer=customer["id"],
        )
        numbers = count(1)

        def make(amount: int, currency: str) -> CollectRequest:
            return make_collect_request(amount, currency, invoice=f"m{next(numbers)}", mandates=(mandate,))

        return make


class TestStripeOnThePayPage(StripeProviderSuite):
    """The rung that waits for the customer."""

    @pytest.fixture
    def request_for(self):
        numbers = count(1)
        return lambda amount, currency: make_collect_request(amount, currency, invoice=f"h{next(numbers)}")


class TestStripeMethods(MethodManagementContract):
    @pytest.fixture
    def provider(self, context) -> StripePayments:
        return StripePayments.connect(context())

    @pytest.fixture
    def save(self, sandbox: StripeSandbox):
        return sandbox.save


class TestStripeReconcile(ReconcileContract):
    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock(START)

    @pytest.fixture
    def listed(self, context, sandbox: StripeSandbox) -> StripeWebhooks:
        provider = StripePayments.connect(context())
        for number in range(30):
            request = make_collect_request(4_900, "EUR", invoice=f"r{number}", present=True)
            sandbox.pay(provider.collect(request).session)
        first, second, third, *_ = sandbox.intents
        sandbox.refund(first["id"], 500)
        sandbox.close_dispute(sandbox.dispute(second["id"])["id"], "lost")
        sandbox.add_method(third["customer"], card="5555555555554444")
        return StripeWebhooks.connect(context())


def test_the_module_implements_the_hooks(context, clock):
    assert BILLHOOK_API == ">=1.0,<2"
    assert connection_config() is StripeConfig
    [provider], [source] = payment_providers(context()), webhook_sources(context())
    assert provider.connection == source.connection == "stripe"
    standing_in = stand_in(clock, None, {})
    assert standing_in.environment("http://127.0.0.1:1")["API_URL"] == "http://127.0.0.1:1"


def test_every_fixture_is_json_with_a_type():
    for path in (FIXTURES / "events").glob("*.json"):
        assert json.loads(path.read_bytes())["type"] == path.stem
