"""The official SDK is the oracle: it must understand every answer and every webhook of the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args, get_origin

import dodopayments
import pytest
from dodopayments import BaseModel, DodoPayments

from billhook.clock import SystemClock
from billhook.testing.sandbox import Fault, FaultKind
from billhook_dodo.sandbox import API_KEY, WEBHOOK_SECRET, DodoSandbox

ADDRESS = {"country": "DE", "city": "Berlin", "street": "Musterstr. 1", "zipcode": "10115", "state": "BE"}
ONE_TIME = {"type": "one_time_price", "currency": "EUR", "price": 50, "pay_what_you_want": True}
ONE_TIME |= {"tax_inclusive": True, "discount": 0, "purchasing_power_parity": False}


@pytest.fixture
def sandbox(mailbox) -> DodoSandbox:
    return DodoSandbox(clock=SystemClock(), post=mailbox)


@pytest.fixture
def sdk(served) -> Iterator[DodoPayments]:
    with DodoPayments(
        base_url=served, bearer_token=API_KEY, webhook_key=WEBHOOK_SECRET, max_retries=0, timeout=60
    ) as client:
        yield client


@pytest.fixture
def product(sdk) -> str:
    return sdk.products.create(name="Invoice", tax_category="saas", price=ONE_TIME).product_id


def missing(model: Any, where: str = "") -> list[str]:
    """Return the paths of required properties that an answer left out, all the way down."""
    if isinstance(model, list):
        return [path for index, entry in enumerate(model) for path in missing(entry, f"{where}[{index}]")]
    if not isinstance(model, BaseModel):
        return []
    found = []
    for name, declared in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None and not _may_be_null(declared.annotation):
            found.append(f"{where}.{name}")
        found += missing(value, f"{where}.{name}")
    return found


def _may_be_null(annotation: Any) -> bool:
    return type(None) in get_args(annotation) or (
        get_origin(annotation) is not None and any(_may_be_null(part) for part in get_args(annotation))
    )


def unknown(model: Any) -> set[str]:
    """Return properties the SDK's model does not know."""
    return set(model.model_extra or {}) if isinstance(model, BaseModel) else set()


def test_the_check_itself_sees_a_missing_property():
    broken = dodopayments.types.Payment.construct(payment_id="pay_1")
    assert ".total_amount" in missing(broken)


def test_a_checkout_from_product_to_payment(sdk, sandbox, product):
    cart = [{"product_id": product, "quantity": 1, "amount": 12000}]
    preview = sdk.checkout_sessions.preview(product_cart=cart)
    assert (missing(preview), preview.current_breakup.total_amount) == ([], 12000)
    session = sdk.checkout_sessions.create(
        product_cart=cart,
        customer={"email": "ap@b.example", "name": "AP"},
        billing_address=ADDRESS,
        billing_currency="EUR",
        metadata={"lago_invoice_id": "inv-1"},
        return_url="https://shop.example/back",
        feature_flags={"allow_discount_code": False, "allow_currency_selection": False},
    )
    sandbox.pay(session.session_id)
    status = sdk.checkout_sessions.retrieve(session.session_id)
    assert (missing(status), status.payment_status) == ([], "succeeded")
    payment = sdk.payments.retrieve(status.payment_id)
    assert (missing(payment), unknown(payment)) == ([], set())
    assert (payment.total_amount, payment.metadata["lago_invoice_id"]) == (12000, "inv-1")
    items = sdk.payments.retrieve_line_items(payment.payment_id, currency="EUR")
    assert (missing(items), items.items[0].refundable_amount) == ([], 12000)
    assert sdk.invoices.payments.retrieve(payment.payment_id).read().startswith(b"%PDF-")


def test_payments_are_listed_newest_first_page_by_page(sdk, sandbox, product):
    paid = []
    for amount in (100, 200, 300):
        cart = [{"product_id": product, "quantity": 1, "amount": amount}]
        session = sdk.checkout_sessions.create(product_cart=cart, customer={"email": "ap@b.example"})
        paid.append(sandbox.pay(session.session_id)["payment_id"])
    first = sdk.payments.list(page_number=0, page_size=2)
    assert [row.payment_id for row in first.items] == [paid[2], paid[1]]
    assert missing(first.items) == []
    assert unknown(first.items[0]) == set()
    assert [row.payment_id for row in sdk.payments.list(page_number=1, page_size=2).items] == [paid[0]]
    now = sandbox.world.now()
    assert sdk.payments.list(created_at_gte=now + timedelta(hours=1)).items == []
    assert len(sdk.payments.list(created_at_gte=now - timedelta(hours=1), status="succeeded").items) == 3
    assert sdk.payments.list(status="failed").items == []


def test_a_mandate_is_charged_and_updated(sdk, sandbox):
    mandate = sandbox.authorise_mandate(email="ap@b.example")
    answer = sdk.subscriptions.charge(
        mandate["subscription_id"], product_price=4200, metadata={"lago_invoice_id": "inv-2"}
    )
    payment = sdk.payments.retrieve(answer.payment_id)
    assert (missing(payment), payment.charge_type, payment.total_amount) == ([], "on_demand", 4200)
    subscription = sdk.subscriptions.retrieve(mandate["subscription_id"])
    assert (missing(subscription), unknown(subscription), subscription.on_demand) == ([], set(), True)
    rows = sdk.subscriptions.list(customer_id=mandate["customer"]["customer_id"], status="active").items
    assert (missing(rows), unknown(rows[0]), len(rows)) == ([], set(), 1)
    page = sdk.subscriptions.update_payment_method(
        mandate["subscription_id"], payment_method={"type": "new", "return_url": "https://shop.example"}
    )
    assert page.payment_link.startswith("http")
    assert page.expires_on > sandbox.world.now()


def test_refunds_and_disputes(sdk, sandbox, product):
    cart = [{"product_id": product, "quantity": 1, "amount": 12000}]
    session = sdk.checkout_sessions.create(product_cart=cart)
    payment_id = sandbox.pay(session.session_id)["payment_id"]
    refund = sdk.refunds.create(
        payment_id=payment_id,
        items=[{"item_id": product, "amount": 2000, "tax_inclusive": True}],
        currency="EUR",
        reason="Duplicate",
        metadata={"k": "v"},
    )
    assert (missing(refund), unknown(refund), refund.amount, refund.is_partial) == ([], set(), 2000, True)
    assert sdk.refunds.retrieve(refund.refund_id) == refund
    assert missing(sdk.refunds.list().items) == []
    dispute_id = sandbox.dispute(payment_id)["dispute_id"]
    dispute = sdk.disputes.retrieve(dispute_id)
    assert (missing(dispute), unknown(dispute), dispute.amount) == ([], set(), "12000")
    rows = sdk.disputes.list(dispute_status="dispute_opened").items
    assert (missing(rows), unknown(rows[0]), len(rows)) == ([], set(), 1)
    assert missing(sdk.payments.retrieve(payment_id)) == []


def test_products_and_customers(sdk, product):
    sdk.products.update(product, name="Renamed", price=ONE_TIME | {"price": 100})
    shown = sdk.products.retrieve(product)
    assert (missing(shown), unknown(shown), shown.name, shown.price.price) == ([], set(), "Renamed", 100)
    rows = sdk.products.list().items
    assert (missing(rows), unknown(rows[0]), rows[0].price_detail.type) == ([], set(), "one_time_price")
    customer = sdk.customers.create(email="ap@b.example", name="AP", metadata={"lago": "c1"})
    assert (missing(customer), unknown(customer)) == ([], set())
    assert sdk.customers.update(customer.customer_id, name="Accounts").name == "Accounts"
    assert [row.customer_id for row in sdk.customers.list(email="ap@b.example").items] == [
        customer.customer_id
    ]
    assert sdk.customers.list(email="nobody@b.example").items == []
    assert sdk.customers.customer_portal.create(customer.customer_id, send_email=False).link.startswith(
        "http"
    )


def test_a_saved_method_is_listed_and_charged(sdk, sandbox):
    mandate = sandbox.authorise_mandate(email="ap@b.example")
    customer = mandate["customer"]["customer_id"]
    methods = sdk.customers.retrieve_payment_methods(customer)
    assert (missing(methods), methods.items[0].recurring_enabled) == ([], True)
    product = sdk.products.create(name="Invoice", tax_category="saas", price=ONE_TIME).product_id
    session = sdk.checkout_sessions.create(
        product_cart=[{"product_id": product, "quantity": 1, "amount": 900}],
        customer={"customer_id": customer},
        confirm=True,
        payment_method_id=methods.items[0].payment_method_id,
        billing_address=ADDRESS,
    )
    assert session.checkout_url is None
    assert sdk.payments.retrieve(session.payment_id).status == "succeeded"


def test_webhook_endpoints(sdk):
    made = sdk.webhooks.create(url="https://hooks.example/dodo", filter_types=["payment.succeeded"])
    assert (missing(made), unknown(made)) == ([], set())
    assert sdk.webhooks.retrieve_secret(made.id).secret.startswith("whsec_")
    assert made.id in [row.id for row in sdk.webhooks.list()]


def test_the_sdk_unwraps_our_webhooks(sdk, sandbox, mailbox, product):
    cart = [{"product_id": product, "quantity": 1, "amount": 12000}]
    paid = sandbox.pay(sdk.checkout_sessions.create(product_cart=cart).session_id)
    sandbox.refund(paid["payment_id"])
    sandbox.dispute(paid["payment_id"])
    sandbox.authorise_mandate(email="ap@b.example")
    sandbox.deliver_webhooks()
    events = [sdk.webhooks.unwrap(entry.body, headers=dict(entry.headers)) for entry in mailbox.received]
    assert [type(event).__name__ for event in events] == [
        "PaymentSucceededWebhookEvent",
        "RefundSucceededWebhookEvent",
        "DisputeOpenedWebhookEvent",
        "SubscriptionActiveWebhookEvent",
    ]
    assert [missing(event) for event in events] == [[], [], [], []]


def test_errors_arrive_as_the_sdks_exceptions(sdk, served):
    with pytest.raises(dodopayments.NotFoundError) as lost:
        sdk.payments.retrieve("pay_nowhere")
    assert lost.value.body["code"] == "PAYMENT_NOT_FOUND"
    with pytest.raises(dodopayments.UnprocessableEntityError) as wrong:
        sdk.refunds.create(payment_id="pay_1", extra_body={"total": 5})
    assert wrong.value.body["code"] == "INVALID_REQUEST_BODY"
    stranger = DodoPayments(base_url=served, bearer_token="other", max_retries=0)
    with stranger, pytest.raises(dodopayments.AuthenticationError):
        stranger.products.list()


def test_the_sdks_own_retries_charge_three_times(sdk, sandbox):
    mandate = sandbox.authorise_mandate(email="ap@b.example")
    sandbox.faults.add(Fault(FaultKind.LOST_ANSWER, path="/charge", times=3))
    eager = sdk.with_options(max_retries=2)
    with pytest.raises(dodopayments.InternalServerError):
        eager.subscriptions.charge(mandate["subscription_id"], product_price=100)
    assert len(sandbox.payments) == 3
