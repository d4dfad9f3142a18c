"""The operations on money: checkouts, payments, subscriptions, refunds, disputes, invoices."""

from __future__ import annotations

from werkzeug.wrappers import Response

from . import checkout, refunds, serializers, shapes, subscriptions
from .pdf import one_page_pdf
from .records import Json, Line
from .refunds import in_currency, item_left
from .routing import CREATED, PAGING, Call, Route, created_in_range, keeps, page_of
from .state import BUSINESS_ID


def create_checkout(call: Call) -> Json:
    """Open a checkout session."""
    return checkout.create(call.world, call.json)


def show_checkout(call: Call) -> Json:
    """Return whether a session has been paid."""
    return serializers.session_status(call.world, call.world.session(call.args["id"]))


def preview_checkout(call: Call) -> Json:
    """Return what a checkout would cost, tax included."""
    lines, quote = checkout.preview(call.world, call.json)
    breakup = {
        "discount": 0,
        "subtotal": quote.total - quote.tax,
        "total_amount": quote.total,
        "tax": quote.tax,
    }
    address = call.json.get("billing_address") or {"country": "DE"}
    return {
        "billing_country": address["country"],
        "currency": quote.currency,
        "current_breakup": breakup,
        "is_byop": False,
        "payment_method_required": quote.total > 0,
        "product_cart": [_previewed(call, line, quote.currency) for line in lines],
        "total_price": quote.total,
        "next_billing_date": None,
        "recurring_breakup": None,
        "subscriptions": None,
        "tax_id_business_name": None,
        "tax_id_err_msg": None,
        "tax_id_format_name": None,
        "total_tax": quote.tax,
        "trial_amount": None,
        "trial_period_days": None,
    }


def _previewed(call: Call, line: Line, currency: str) -> Json:
    product = call.world.product(line.product_id)
    price = product.price["price"] if line.amount is None else line.amount
    return {
        "credit_entitlements": [],
        "currency": currency,
        "discounted_price": price,
        "is_subscription": product.is_recurring,
        "is_usage_based": False,
        "meters": [],
        "og_currency": product.currency,
        "og_price": price,
        "product_id": product.product_id,
        "quantity": line.quantity,
        "tax_category": product.tax_category,
        "tax_inclusive": product.tax_inclusive,
        "tax_rate": call.world.settings.tax_rate_percent,
        "name": product.name,
        "description": product.description,
    }


def show_payment(call: Call) -> Json:
    """Return a whole payment."""
    return serializers.payment(call.world, call.world.payment(call.args["id"]))


def list_payments(call: Call) -> Json:
    """Return payments; there is no filter on metadata."""
    rows = [
        serializers.payment_row(call.world, payment)
        for payment in call.world.payments.values()
        if created_in_range(call, payment.created_at)
        and keeps(
            call,
            status=payment.status,
            customer_id=payment.customer_id,
            subscription_id=payment.subscription_id,
            currency=payment.quote.currency,
            brand_id=BUSINESS_ID,
        )
        and call.query.get("product_id") in (None, *(item.item_id for item in payment.quote.items))
    ]
    return page_of(call, rows)


def list_line_items(call: Call) -> Json:
    """Return what of each line can be refunded, in the settlement currency unless ``currency`` says otherwise."""
    payment = call.world.payment(call.args["id"])
    currency = call.query.get("currency") or payment.quote.settlement_currency
    items = [
        {
            "amount": in_currency(payment, item.total, currency),
            "items_id": item.item_id,
            "refundable_amount": in_currency(payment, item_left(call.world, payment, item), currency),
            "tax": in_currency(payment, item.tax, currency),
            "description": None,
            "name": item.name,
        }
        for item in payment.quote.items
    ]
    return {"currency": currency, "items": items, "partial_refund_allowed": True}


def show_subscription(call: Call) -> Json:
    """Return a whole subscription."""
    return serializers.subscription(call.world, call.world.subscription(call.args["id"]))


def list_subscriptions(call: Call) -> Json:
    """Return subscriptions."""
    rows = [
        serializers.subscription_row(call.world, subscription)
        for subscription in call.world.subscriptions.values()
        if created_in_range(call, subscription.created_at)
        and keeps(
            call,
            status=subscription.status,
            customer_id=subscription.customer_id,
            product_id=subscription.product_id,
            brand_id=BUSINESS_ID,
        )
    ]
    return page_of(call, rows)


def charge_subscription(call: Call) -> Json:
    """Charge a mandate; the answer is only the payment's id."""
    payment = subscriptions.charge(call.world, call.world.subscription(call.args["id"]), call.json)
    return {"payment_id": payment.payment_id}


def update_payment_method(call: Call) -> Json:
    """Replace a mandate's payment method, by a page (``new``) or a saved one (``existing``)."""
    world, subscription = call.world, call.world.subscription(call.args["id"])
    subscriptions.check_updatable(subscription)
    if call.json["type"] == "new":
        return subscriptions.offer_update_page(world, subscription, call.json.get("return_url"))
    method = world.method_of(subscription.customer_id, call.json["payment_method_id"])
    payment = subscriptions.use_existing(world, subscription, method)
    return {
        "client_secret": None,
        "expires_on": None,
        "payment_id": payment.payment_id if payment else None,
        "payment_link": None,
    }


def create_refund(call: Call) -> Json:
    """Refund a payment or a part of it."""
    return serializers.refund(call.world, refunds.create(call.world, call.json))


def show_refund(call: Call) -> Json:
    """Return a whole refund."""
    return serializers.refund(call.world, call.world.refund(call.args["id"]))


def list_refunds(call: Call) -> Json:
    """Return refunds."""
    world = call.world
    rows = [
        serializers.refund(world, refund)
        for refund in world.refunds.values()
        if created_in_range(call, refund.created_at)
        and keeps(
            call,
            status=refund.status,
            customer_id=world.payments[refund.payment_id].customer_id,
            subscription_id=world.payments[refund.payment_id].subscription_id,
        )
    ]
    return page_of(call, rows)


def show_dispute(call: Call) -> Json:
    """Return a whole dispute."""
    return serializers.dispute(call.world, call.world.dispute(call.args["id"]))


def list_disputes(call: Call) -> Json:
    """Return disputes."""
    world = call.world
    rows = [
        serializers.dispute_row(world, dispute)
        for dispute in world.disputes.values()
        if created_in_range(call, dispute.created_at)
        and keeps(
            call,
            customer_id=world.payments[dispute.payment_id].customer_id,
            dispute_stage=dispute.stage,
            dispute_status=f"dispute_{dispute.status}",
        )
    ]
    return page_of(call, rows)


def payment_invoice(call: Call) -> Response:
    """Return Dodo's own invoice, a PDF."""
    payment = call.world.payment(call.args["id"])
    text = (
        f"Sandbox invoice {payment.payment_id}: {payment.quote.total} {payment.quote.currency} (minor units)"
    )
    return Response(one_page_pdf(text), mimetype="application/pdf")


_CHARGE = "/subscriptions/<id>/charge"
_UPDATE = "/subscriptions/<id>/update-payment-method"
_PAYMENT_QUERY = frozenset(("brand_id", "currency", "customer_id", "product_id", "status", "subscription_id"))
_SUBSCRIPTION_QUERY = frozenset(("brand_id", "customer_id", "product_id", "status"))
_REFUND_QUERY = frozenset(("customer_id", "status", "subscription_id"))
_DISPUTE_QUERY = frozenset(("customer_id", "dispute_stage", "dispute_status"))
_LISTED = PAGING | CREATED

ROUTES = (
    Route(method="POST", path="/checkouts", handler=create_checkout, body=shapes.CHECKOUT),
    Route(method="POST", path="/checkouts/preview", handler=preview_checkout, body=shapes.CHECKOUT),
    Route(method="GET", path="/checkouts/<id>", handler=show_checkout),
    Route(method="GET", path="/payments", handler=list_payments, query=_LISTED | _PAYMENT_QUERY),
    Route(method="GET", path="/payments/<id>", handler=show_payment),
    Route(
        method="GET",
        path="/payments/<id>/line-items",
        handler=list_line_items,
        query=frozenset(("currency",)),
    ),
    Route(
        method="GET", path="/subscriptions", handler=list_subscriptions, query=_LISTED | _SUBSCRIPTION_QUERY
    ),
    Route(method="GET", path="/subscriptions/<id>", handler=show_subscription),
    Route(method="POST", path=_CHARGE, handler=charge_subscription, body=shapes.CHARGE),
    Route(method="POST", path=_UPDATE, handler=update_payment_method, body=shapes.UPDATE_PAYMENT_METHOD),
    Route(method="POST", path="/refunds", handler=create_refund, body=shapes.REFUND),
    Route(method="GET", path="/refunds", handler=list_refunds, query=_LISTED | _REFUND_QUERY),
    Route(method="GET", path="/refunds/<id>", handler=show_refund),
    Route(method="GET", path="/disputes", handler=list_disputes, query=_LISTED | _DISPUTE_QUERY),
    Route(method="GET", path="/disputes/<id>", handler=show_dispute),
    Route(method="GET", path="/invoices/payments/<id>", handler=payment_invoice),
)
