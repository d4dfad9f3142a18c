"""The official Python client is the judge: its models must accept what the sandbox answers, over real sockets."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from lago_python_client.client import Client
from lago_python_client.exceptions import LagoApiError
from lago_python_client.models import (
    AddOn,
    CreditNote,
    CreditNoteUpdate,
    Customer,
    Invoice,
    Item,
    Items,
    OneOffInvoice,
    Payment,
    Plan,
    Subscription,
)
from lago_python_client.models.invoice import InvoiceFee, InvoiceFeesList
from lago_python_client.models.webhook_endpoint import WebhookEndpoint

from billhook.testing.sandbox import Fault, FaultKind

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def lago(base_url: str) -> Client:
    return Client(api_key="lago-sandbox-key", api_url=base_url)


@pytest.fixture
def subscribed(lago: Client) -> Client:
    lago.plans.create(_plan("starter", 2900))
    lago.plans.create(_plan("pro", 4900))
    lago.customers.create(Customer(external_id="acct_1", name="Acme & Sons", email="a@acme.example"))
    lago.subscriptions.create(_subscription("starter"))
    return lago


def _plan(code: str, cents: int) -> Plan:
    return Plan(
        name=code.title(),
        code=code,
        interval="monthly",
        amount_cents=cents,
        amount_currency="EUR",
        pay_in_advance=True,
    )


def _subscription(plan: str) -> Subscription:
    return Subscription(external_customer_id="acct_1", plan_code=plan, external_id="sub.1/a")


def test_customers_are_created_found_and_listed(subscribed: Client) -> None:
    found = subscribed.customers.find("acct_1")
    assert (found.name, found.currency) == ("Acme & Sons", "EUR")
    assert [row.external_id for row in subscribed.customers.find_all()["customers"]] == ["acct_1"]
    assert subscribed.customers.portal_url("acct_1").startswith("http://127.0.0.1")


def test_plans_are_found_and_listed(subscribed: Client) -> None:
    assert subscribed.plans.find("pro").amount_cents == 4900
    assert subscribed.plans.find_all()["meta"]["total_count"] == 2


def test_a_subscription_is_upgraded_renamed_and_ended(subscribed: Client) -> None:
    upgraded = subscribed.subscriptions.create(_subscription("pro"))
    assert (upgraded.plan_code, upgraded.previous_plan_code) == ("pro", "starter")
    renamed = subscribed.subscriptions.update(Subscription(name="Main"), "sub.1%2Fa")
    assert renamed.name == "Main"
    assert subscribed.subscriptions.destroy("sub.1%2Fa").status == "terminated"
    statuses = {"external_customer_id": "acct_1", "status[]": "terminated"}
    assert len(subscribed.subscriptions.find_all(statuses)["subscriptions"]) == 2


def test_invoices_are_listed_found_retried_and_downloaded(subscribed: Client) -> None:
    [row] = subscribed.invoices.find_all({"external_customer_id": "acct_1"})["invoices"]
    found = subscribed.invoices.find(row.lago_id)
    assert found.total_amount_cents == 3480
    assert found.fees.__root__[0].external_subscription_id == "sub.1/a"
    assert subscribed.invoices.retry_payment(row.lago_id) is None
    assert subscribed.invoices.download(row.lago_id) is None
    assert subscribed.invoices.download(row.lago_id).file_url.endswith(f"{row.lago_id}.pdf")


def test_an_invoice_takes_a_payment_status_and_is_voided(subscribed: Client) -> None:
    [row] = subscribed.invoices.find_all()["invoices"]
    updated = subscribed.invoices.update(Invoice(payment_status="failed"), row.lago_id)
    assert updated.payment_status == "failed"
    assert subscribed.invoices.void(row.lago_id).status == "voided"


def test_a_one_off_invoice_is_made_from_an_add_on(subscribed: Client) -> None:
    subscribed.add_ons.create(AddOn(name="Set-up", code="setup", amount_cents=1000, amount_currency="EUR"))
    fees = InvoiceFeesList(__root__=[InvoiceFee(add_on_code="setup", units=2)])
    invoice = subscribed.invoices.create(
        OneOffInvoice(external_customer_id="acct_1", currency="EUR", fees=fees)
    )
    assert (invoice.invoice_type, invoice.total_amount_cents) == ("one_off", 2400)


def test_a_payment_is_recorded_and_a_part_refunded(subscribed: Client) -> None:
    [row] = subscribed.invoices.find_all()["invoices"]
    payment = subscribed.payments.create(
        Payment(invoice_id=row.lago_id, amount_cents=3480, reference="pay_1")
    )
    assert payment.payment_status == "succeeded"
    assert subscribed.payments.find_all({"invoice_id": row.lago_id})["meta"]["total_count"] == 1
    fee = subscribed.invoices.find(row.lago_id).fees.__root__[0]
    items = Items(__root__=[Item(fee_id=fee.lago_id, amount_cents=500)])
    estimate = subscribed.credit_notes.estimate(CreditNote(invoice_id=row.lago_id, items=items))
    assert estimate.max_refundable_amount_cents == 600
    wanted = CreditNote(
        invoice_id=row.lago_id, reason="other", credit_amount_cents=0, refund_amount_cents=600, items=items
    )
    note = subscribed.credit_notes.create(wanted)
    assert (note.refund_status, note.total_amount_cents) == ("pending", 600)
    closed = subscribed.credit_notes.update(CreditNoteUpdate(refund_status="succeeded"), note.lago_id)
    assert closed.refund_status == "succeeded"


def test_usage_is_read(subscribed: Client, sandbox: Any) -> None:
    sandbox.set_usage("sub.1/a", 250, units="12.5", events=3)
    usage = subscribed.customers.current_usage("acct_1", "sub.1/a")
    assert (usage.amount_cents, usage.total_amount_cents) == (250, 300)
    assert usage.charges_usage[0].units == "12.5"


def test_webhook_endpoints_are_managed(lago: Client) -> None:
    created = lago.webhook_endpoints.create(
        WebhookEndpoint(webhook_url="http://127.0.0.1:9/x", signature_algo="hmac")
    )
    assert lago.webhook_endpoints.find(created.lago_id).signature_algo == "hmac"
    assert lago.webhook_endpoints.find_all()["meta"]["total_count"] == 2
    assert lago.webhook_endpoints.destroy(created.lago_id).lago_id == created.lago_id


def test_the_public_key_verifies_a_jwt(lago: Client, sandbox: Any) -> None:
    key = lago.webhooks.public_key()
    token = sandbox.world.signer.jwt(b'{"a":"\\u0026"}')
    assert jwt.get_unverified_header(token) == {"alg": "RS256"}
    claims = jwt.decode(token, key, algorithms=["RS256"])
    assert claims == {"data": '{"a":"\\u0026"}', "iss": "http://lago.sandbox"}


def test_the_client_reads_an_error_as_lagos(lago: Client) -> None:
    with pytest.raises(LagoApiError) as caught:
        lago.customers.find("nobody")
    assert caught.value.response == {"status": 404, "error": "Not Found", "code": "customer_not_found"}


def test_the_client_waits_out_a_rate_limit(lago: Client, sandbox: Any) -> None:
    sandbox.add_plan(code="p", name="P", amount_cents=1)
    sandbox.faults.add(Fault(FaultKind.RATE_LIMITED, path="/plans"))
    assert lago.plans.find("p").code == "p"
    assert len(sandbox.requests) == 2
