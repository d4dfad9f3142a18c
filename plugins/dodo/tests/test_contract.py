"""Dodo keeps the contract."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest

from billhook.model import Mandate, MandateStatus, Ref
from billhook.money import Money
from billhook.provider import CollectRequest, RefundRequest, WebhookRequest
from billhook.signing import StandardWebhooks
from billhook.testing.connection import START, make_collect_request
from billhook.testing.contracts import PaymentProviderContract, Sample, WebhookSourceContract
from billhook.testing.wire import Wire, WireCall
from billhook_dodo import BILLHOOK_API, connection_config, payment_providers, stand_in, webhook_sources
from billhook_dodo.config import DodoConfig
from billhook_dodo.provider import DodoPayments
from billhook_dodo.sandbox import WEBHOOK_SECRET, DodoSandbox
from billhook_dodo.webhooks import DodoWebhooks

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = {
    "payment.succeeded": ("payment.succeeded",),
    "payment.failed": ("payment.failed",),
    "payment.processing": ("payment.processing",),
    "payment.cancelled": ("payment.canceled",),
    "refund.succeeded": ("refund.changed",),
    "refund.failed": ("refund.changed",),
    "dispute.opened": ("dispute.changed",),
    "dispute.won": ("dispute.changed",),
    "subscription.active": ("mandate.changed",),
    "subscription.on_hold": ("mandate.changed",),
    "subscription.renewed": (),
    "payout.success": (),
    "edge/dispute.lost.rdr_auto_refund": ("dispute.changed", "refund.changed"),
    "edge/payment.refunded.NOT_A_REAL_EVENT": ("refetch",),
    "edge/payment.failed.late_delivery_status_succeeded": ("payment.succeeded",),
    "edge/payment.succeeded.adaptive_currency": ("payment.succeeded",),
}


class TestDodoWebhooks(WebhookSourceContract):
    signature_header = "webhook-signature"

    @pytest.fixture
    def source(self, context) -> DodoWebhooks:
        return DodoWebhooks.connect(context())

    @pytest.fixture
    def signed(self):
        signatures = StandardWebhooks([WEBHOOK_SECRET])

        def sign(body: bytes, at: datetime) -> WebhookRequest:
            return WebhookRequest(headers=signatures.sign(body, webhook_id="msg_1", at=at), body=body)

        return sign

    @pytest.fixture
    def samples(self) -> list[Sample]:
        return [
            Sample(name=name, body=(FIXTURES / f"{name}.json").read_bytes(), expect=expect)
            for name, expect in EXPECTED.items()
        ]

    @pytest.fixture
    def unknown_body(self) -> bytes:
        return (FIXTURES / "edge/unknown.future_event.json").read_bytes()


def moves_money(call: WireCall) -> bool:
    return call.method == "POST" and call.path.endswith(
        ("/checkouts", "/charge", "/refunds", "/update-payment-method")
    )


class DodoProviderSuite(PaymentProviderContract):
    """What both ways to collect share."""

    @pytest.fixture
    def wire(self, sandbox: DodoSandbox) -> Wire:
        return Wire(sandbox, moves_money=moves_money)

    @pytest.fixture
    def provider(self, context, wire: Wire) -> DodoPayments:
        return DodoPayments.connect(context(app=wire))

    @pytest.fixture
    def refused_request(self) -> CollectRequest:
        return make_collect_request(1, "EUR", invoice="too-small")

    @pytest.fixture
    def refund_request(self, provider: DodoPayments, sandbox: DodoSandbox, request_for):
        def make() -> RefundRequest:
            request = make_collect_request(self.amount, self.currency, invoice="to-refund", present=True)
            paid = sandbox.pay(provider.collect(request).session)
            return RefundRequest(
                key="refund-1",
                payment=Ref("dodo", paid["payment_id"]),
                amount=Money(self.amount, self.currency),
                whole=True,
                reason=None,
                metadata={},
                since=START,
            )

        return make


class TestDodoByMandate(DodoProviderSuite):
    """The rung that moves money by itself: every promise of the contract holds."""

    @pytest.fixture
    def request_for(self, sandbox: DodoSandbox, clock):
        made = sandbox.authorise_mandate(email="acme@example.com")
        mandate = Mandate(
            ref=Ref("dodo", made["subscription_id"]),
            status=MandateStatus.ACTIVE,
            at=clock.now(),
            provider_customer=made["customer"]["customer_id"],
            currency="EUR",
        )
        numbers = count(1)

        def make(amount: int, currency: str) -> CollectRequest:
            return make_collect_request(amount, currency, invoice=f"m{next(numbers)}", mandates=(mandate,))

        return make


class TestDodoHosted(DodoProviderSuite):
    """The hosted page. Dodo cannot list pages, so one nobody has paid yet is not found again; it moved no money."""

    test_what_was_collected_is_found_again = None
    test_a_lost_answer_is_an_unknown_outcome_that_a_look_settles = None

    @pytest.fixture
    def request_for(self):
        numbers = count(1)
        return lambda amount, currency: make_collect_request(amount, currency, invoice=f"h{next(numbers)}")


def test_the_module_implements_the_hooks(context, clock):
    assert BILLHOOK_API == ">=1.0,<2"
    assert connection_config() is DodoConfig
    [provider], [source] = payment_providers(context()), webhook_sources(context())
    assert provider.connection == source.connection == "dodo"
    standing_in = stand_in(clock, None, {})
    assert standing_in.environment("http://127.0.0.1:1")["MODE"] == "test"


def test_every_fixture_is_json_with_a_type():
    for path in FIXTURES.rglob("*.json"):
        assert json.loads(path.read_bytes())["type"]
