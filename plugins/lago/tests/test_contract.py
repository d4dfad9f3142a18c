"""Lago keeps Billhook's contract: the suites every webhook source and every billing engine must pass."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

import pytest
from pluggy import PluginManager
from werkzeug.test import Client

import billhook_lago
from billhook.clock import VirtualClock
from billhook.hookspecs import ConnectionContext, HookSpecs, ProviderSandbox
from billhook.model import Customer, Ref
from billhook.provider import BillingEngine, WebhookRequest, WebhookSource
from billhook.testing.connection import START, make_context
from billhook.testing.contracts import BillingEngineContract, Sample, WebhookSourceContract
from billhook.testing.wire import Wire
from billhook_lago.config import LagoConfig
from billhook_lago.provider import lago_engine
from billhook_lago.sandbox import LagoSandbox
from billhook_lago.sandbox.wire import Signer
from billhook_lago.webhooks import lago_webhooks

FIXTURES = Path(__file__).parent / "fixtures"
URL = "http://lago.sandbox"
ORGANIZATION = "1a900000-1a90-4a90-9a90-1a901a901a90"
SIGNER = Signer(hmac_key="lago-sandbox-hmac-key", issuer=URL)

MEANT = {
    "credit_note.created": ("credit_note.issued",),
    "credit_note.refund_failure": ("refetch",),
    "customer.created": ("customer.observed",),
    "customer.updated": ("customer.observed",),
    "invoice.created": ("invoice.finalized", "invoice.observed", "customer.observed"),
    "invoice.payment_dispute_lost": ("invoice.observed",),
    "invoice.payment_failure": ("invoice.engine_collection_failed", "refetch"),
    "invoice.payment_failure__no_provider_on_retry": ("invoice.collection_requested",),
    "invoice.payment_overdue": ("invoice.observed",),
    "invoice.payment_status_updated": ("invoice.observed",),
    "invoice.payment_status_updated__failed": ("invoice.observed",),
    "invoice.payment_status_updated__put_without_payment": ("invoice.observed",),
    "subscription.canceled": ("subscription.canceled",),
    "subscription.incomplete": ("subscription.incomplete",),
    "subscription.started": ("subscription.started", "subscription.updated"),
    "subscription.started__upgrade_new_half": ("subscription.started", "subscription.updated"),
    "subscription.terminated": ("refetch",),
    "subscription.terminated__pending_downgrade_canceled": ("subscription.canceled",),
    "subscription.terminated__upgrade_old_half": ("refetch",),
    "subscription.trial_ended": ("subscription.trial_ended",),
    "subscription.updated": ("subscription.updated",),
}


def _settings(**more: str) -> LagoConfig:
    values = {"api_url": URL, "api_key": "lago-sandbox-key", "webhook_secret": "lago-sandbox-hmac-key"}
    return LagoConfig.model_validate(values | more)


class _LagoWebhookSuite(WebhookSourceContract):
    """Lago signs no time, whichever the algorithm."""

    signature_header = "x-lago-signature"
    tolerance = None
    algorithm: str

    @pytest.fixture
    def signed(self) -> Callable[[bytes, datetime], WebhookRequest]:
        def sign(body: bytes, _now: datetime) -> WebhookRequest:
            sent = SIGNER.headers(
                body, algorithm=self.algorithm, unique_key="2c9d7f0e-1a90-4a90-9a90-1a901a901a90"
            )
            headers = {name.lower(): value for name, value in sent.items()}
            return WebhookRequest(headers=headers, body=body)

        return sign

    @pytest.fixture
    def samples(self) -> Sequence[Sample]:
        return [
            Sample(name=name, body=(FIXTURES / f"{name}.json").read_bytes(), expect=expect)
            for name, expect in MEANT.items()
        ]

    @pytest.fixture
    def unknown_body(self) -> bytes:
        return (FIXTURES / "wallet.depleted_ongoing_balance.json").read_bytes()


class TestLagoWebhooksByHmac(_LagoWebhookSuite):
    algorithm = "hmac"

    @pytest.fixture
    def source(self) -> WebhookSource:
        return lago_webhooks(make_context("lago", _settings()))


class TestLagoWebhooksByJwt(_LagoWebhookSuite):
    algorithm = "jwt"

    @pytest.fixture
    def source(self) -> WebhookSource:
        settings = _settings(webhook_algorithm="jwt", organization_id=ORGANIZATION)
        return lago_webhooks(make_context("lago", settings, apps={URL: _key_server}))


def _key_server(_environ: object, start_response: Callable[..., object]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"webhook": {"public_key": SIGNER.public_key()}}).encode()]


class TestLagoEngine(BillingEngineContract):
    @pytest.fixture
    def lago(self) -> LagoSandbox:
        sandbox = LagoSandbox(clock=VirtualClock(START), tax_rate=20.0)
        sandbox.add_plan(code="pro", name="Pro", amount_cents=4900)
        return sandbox

    @pytest.fixture
    def wire(self, lago: LagoSandbox) -> Wire:
        return Wire(lago)

    @pytest.fixture
    def engine(self, wire: Wire) -> BillingEngine:
        return lago_engine(make_context("lago", _settings(), apps={URL: wire}))

    @pytest.fixture
    def open_invoice(self, lago: LagoSandbox, engine: BillingEngine) -> Callable[[], Ref]:
        def issue() -> Ref:
            engine.upsert_customer(Customer(id="buyer"))
            net = self.amount * 100 // 119
            invoice = lago.issue_invoice("buyer", net, self.currency, self.amount - net)
            return Ref("lago", invoice["lago_id"])

        return issue

    @pytest.fixture
    def paid_total(self, lago: LagoSandbox) -> Callable[[Ref], int]:
        def paid(invoice: Ref) -> int:
            (row,) = [row for row in lago.invoices if row["lago_id"] == invoice.id]
            return int(row["total_paid_amount_cents"])

        return paid

    @pytest.fixture
    def credited_total(self, lago: LagoSandbox) -> Callable[[Ref], int]:
        def credited(invoice: Ref) -> int:
            notes = [note for note in lago.credit_notes if note["lago_invoice_id"] == invoice.id]
            return sum(note["refund_amount_cents"] for note in notes)

        return credited

    @pytest.fixture
    def asked_refund(
        self, lago: LagoSandbox, engine: BillingEngine, open_invoice: Callable[[], Ref]
    ) -> Callable[[], Ref]:
        def ask() -> Ref:
            invoice = open_invoice()
            engine.record_payment(self._record(invoice))
            note = self._refunded_by_lago(lago, invoice)
            return Ref("lago", note)

        return ask

    @pytest.fixture
    def clashing_customer(self, open_invoice: Callable[[], Ref]) -> Customer | None:
        open_invoice()
        return Customer(id="buyer", currency="USD")

    def _refunded_by_lago(self, lago: LagoSandbox, invoice: Ref) -> str:
        (row,) = [row for row in lago.invoices if row["lago_id"] == invoice.id]
        item = {"fee_id": row["fees"][0]["lago_id"], "amount_cents": 100}
        note = {"invoice_id": invoice.id, "items": [item], "refund_amount_cents": 119}
        answer = Client(lago).post(
            "/api/v1/credit_notes",
            json={"credit_note": note},
            headers={"Authorization": "Bearer lago-sandbox-key"},
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return str(answer.get_json()["credit_note"]["lago_id"])


# --- the plugin itself -------------------------------------------------------------------------------------------


@pytest.fixture
def plugin() -> PluginManager:
    manager = PluginManager("billhook")
    manager.add_hookspecs(HookSpecs)
    manager.register(billhook_lago)
    manager.check_pending()
    return manager


def test_the_hooks_give_an_engine_and_a_source_and_call_nothing(plugin: PluginManager) -> None:
    assert billhook_lago.BILLHOOK_API == ">=1.0,<2"
    assert plugin.hook.connection_config() is LagoConfig
    context: ConnectionContext = make_context("lago-eu", _settings(webhook_algorithm="jwt"))
    ((engine,),) = plugin.hook.billing_engines(context=context)
    ((source,),) = plugin.hook.webhook_sources(context=context)
    assert isinstance(engine, BillingEngine)
    assert isinstance(source, WebhookSource)
    assert (engine.connection, source.connection) == ("lago-eu", "lago-eu")


def test_the_hook_gives_a_sandbox_whose_settings_connect(plugin: PluginManager) -> None:
    sandbox = plugin.hook.sandbox(clock=VirtualClock(START), webhook_url=None, settings={})
    assert isinstance(sandbox, ProviderSandbox)
    values = {name.lower(): value for name, value in sandbox.environment(URL).items()}
    context = make_context(
        "lago", LagoConfig.model_validate(values), apps={URL: cast(LagoSandbox, sandbox.wsgi)}
    )
    ((engine,),) = plugin.hook.billing_engines(context=context)
    assert engine.upsert_customer(Customer(id="acct_1")).connection == "lago"


def test_the_sandboxs_public_key_is_written_as_lago_writes_it() -> None:
    assert b64decode(SIGNER.public_key()).startswith(b"-----BEGIN PUBLIC KEY-----\n")
