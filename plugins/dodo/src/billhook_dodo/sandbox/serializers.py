"""Dodo's JSON for everything about money: the properties of API answers, lists and webhook payloads."""

from __future__ import annotations

from datetime import timedelta

from .cards import decline_message
from .catalog_json import address, instant, limited_customer
from .records import Dispute, Json, Payment, Product, Quote, Refund, Session, Subscription
from .state import BUSINESS_ID, World

PROVIDER = "dodo"

_PAYMENT_ROW = (
    "brand_id created_at currency customer digital_products_delivered includes_usage is_multi_subscription "
    "metadata payment_id payment_provider retry_attempt service_periods subscription_ids total_amount "
    "card_exp_month card_exp_year card_last_four card_network card_type charge_type checkout_session_id "
    "invoice_id invoice_url payment_method payment_method_type refund_status status subscription_id "
    "three_ds_flow three_ds_status three_ds_version"
).split()
_SUBSCRIPTION_ROW = (
    "billing cancel_at_next_billing_date created_at currency customer has_payment_method metadata "
    "next_billing_date on_demand payment_frequency_count payment_frequency_interval previous_billing_date "
    "product_id quantity recurring_pre_tax_amount status subscription_id subscription_period_count "
    "subscription_period_interval tax_inclusive trial_period_days cancelled_at cancelled_by "
    "customer_business_name discount_cycles_remaining discount_id paused_at payment_method_id "
    "scheduled_change tax_id trial_amount"
).split()


def session_status(world: World, session: Session) -> Json:
    """Return ``GET /checkouts/{id}``; the payment's part stays null while the customer is still typing."""
    payer = world.customers.get(session.customer_id or "")
    paid = world.payments.get(session.payment_id or "")
    return {
        "id": session.session_id,
        "created_at": instant(session.created_at),
        "customer_email": payer.email if payer else None,
        "customer_name": payer.name if payer else None,
        "payment_id": paid.payment_id if paid else None,
        "payment_status": paid.status if paid else None,
    }


def payment(world: World, record: Payment) -> Json:
    """Return a whole payment with its refunds and disputes."""
    url = world.session_url(record.session_id) if record.session_id else None
    return {
        "payment_id": record.payment_id,
        "business_id": BUSINESS_ID,
        "brand_id": BUSINESS_ID,
        "status": record.status,
        **_amounts_part(record.quote),
        **_method_part(record),
        "billing": address(record.billing),
        "customer": limited_customer(world.customers[record.customer_id]),
        "checkout_session_id": record.session_id,
        "payment_link": url,
        "product_cart": record.cart,
        "subscription_id": record.subscription_id,
        "subscription_ids": [record.subscription_id] if record.subscription_id else [],
        "is_multi_subscription": False,
        "is_update_payment_method": record.is_update_payment_method,
        "includes_usage": False,
        "charge_type": record.charge_type,
        "service_periods": [],
        "retry_attempt": 0,
        "refunds": [_refund_in_payment(entry) for entry in refunds_of(world, record)],
        "refund_status": refund_status(world, record),
        "disputes": [_dispute_in_payment(entry) for entry in disputes_of(world, record)],
        "discount_id": None,
        "discounts": None,
        "error_code": record.error_code,
        "error_message": decline_message(record.error_code) if record.error_code else None,
        "invoice_id": record.payment_id.replace("pay_", "inv_", 1),
        "invoice_url": f"{world.public_url}/invoices/payments/{record.payment_id}",
        "custom_field_responses": None,
        "digital_products_delivered": False,
        "metadata": record.metadata,
        "created_at": instant(record.created_at),
        "updated_at": instant(record.updated_at),
    }


def _amounts_part(quote: Quote) -> Json:
    return {
        "total_amount": quote.total,
        "tax": quote.tax,
        "currency": quote.currency,
        "settlement_amount": quote.settlement_total,
        "settlement_tax": quote.settlement_tax,
        "settlement_currency": quote.settlement_currency,
    }


def _method_part(record: Payment) -> Json:
    card = record.card
    return {
        "payment_method": "card" if card else None,
        "payment_method_type": None,
        "payment_method_id": record.payment_method_id,
        "payment_provider": PROVIDER,
        "card_holder_name": "Sandbox Customer" if card else None,
        "card_issuing_country": card.country if card else None,
        "card_last_four": card.last_four if card else None,
        "card_network": "visa" if card else None,
        "card_type": "credit" if card else None,
        "card_exp_month": "06" if card else None,
        "card_exp_year": "2032" if card else None,
        "three_ds_status": None,
        "three_ds_flow": None,
        "three_ds_version": None,
    }


def payment_row(world: World, record: Payment) -> Json:
    """Return a payment as the list shows it."""
    whole = payment(world, record)
    disputes = disputes_of(world, record)
    return {key: whole[key] for key in _PAYMENT_ROW} | {
        "has_license_key": False,
        "dispute_status": f"dispute_{disputes[-1].status}" if disputes else None,
    }


def refunds_of(world: World, record: Payment) -> list[Refund]:
    """Return the refunds of a payment, oldest first."""
    return [refund for refund in world.refunds.values() if refund.payment_id == record.payment_id]


def disputes_of(world: World, record: Payment) -> list[Dispute]:
    """Return the disputes of a payment, oldest first."""
    return [dispute for dispute in world.disputes.values() if dispute.payment_id == record.payment_id]


def refund_status(world: World, record: Payment) -> str | None:
    """Return ``full``, ``partial`` or None, counting refunds that succeeded."""
    back = sum(entry.paid_amount for entry in refunds_of(world, record) if entry.status == "succeeded")
    if not back:
        return None
    return "full" if back >= record.quote.total else "partial"


def refund(world: World, record: Refund) -> Json:
    """Return a whole refund; ``metadata`` is its own, never the payment's."""
    paid = world.payments[record.payment_id]
    return _refund_in_payment(record) | {
        "brand_id": BUSINESS_ID,
        "customer": limited_customer(world.customers[paid.customer_id]),
        "metadata": record.metadata,
    }


def _refund_in_payment(record: Refund) -> Json:
    return {
        "refund_id": record.refund_id,
        "payment_id": record.payment_id,
        "business_id": BUSINESS_ID,
        "amount": record.amount,
        "currency": record.currency,
        "is_partial": record.is_partial,
        "status": record.status,
        "reason": record.reason,
        "network_reference": None,
        "network_reference_type": None,
        "network_reference_updated_at": None,
        "created_at": instant(record.created_at),
    }


def dispute(world: World, record: Dispute) -> Json:
    """Return a whole dispute. ``amount`` is a string of minor units, and there is no metadata."""
    paid = world.payments[record.payment_id]
    return _dispute_in_payment(record) | {
        "brand_id": BUSINESS_ID,
        "reason": record.reason,
        "payment_provider": PROVIDER,
        "customer": limited_customer(world.customers[paid.customer_id]),
    }


def dispute_row(world: World, record: Dispute) -> Json:
    """Return a dispute as the list shows it: without reason and customer."""
    kept = dispute(world, record)
    return {
        key: value for key, value in kept.items() if key not in ("reason", "customer", "brand_id", "remarks")
    }


def _dispute_in_payment(record: Dispute) -> Json:
    return {
        "dispute_id": record.dispute_id,
        "payment_id": record.payment_id,
        "business_id": BUSINESS_ID,
        "amount": str(record.amount),
        "currency": record.currency,
        "dispute_stage": record.stage,
        "dispute_status": f"dispute_{record.status}",
        "remarks": None,
        "is_resolved_by_rdr": record.is_resolved_by_rdr,
        "created_at": instant(record.created_at),
    }


def subscription(world: World, record: Subscription) -> Json:
    """Return a whole subscription."""
    bought = world.products[record.product_id]
    return {
        "subscription_id": record.subscription_id,
        "status": record.status,
        "on_demand": record.on_demand,
        "product_id": record.product_id,
        "quantity": 1,
        "currency": record.currency,
        "tax_id": None,
        "addons": [],
        "meters": [],
        "credit_entitlement_cart": [],
        "meter_credit_entitlement_cart": [],
        "billing": address(record.billing),
        "brand_id": BUSINESS_ID,
        "customer": limited_customer(world.customers[record.customer_id]),
        "customer_business_name": None,
        "metadata": record.metadata,
        "has_payment_method": record.payment_method_id is not None,
        "payment_method_id": record.payment_method_id,
        "cancel_at_next_billing_date": record.cancel_at_next_billing_date,
        "cancelled_at": None,
        "cancelled_by": None,
        "cancellation_comment": None,
        "cancellation_feedback": None,
        "created_at": instant(record.created_at),
        **_terms_part(record, bought),
        "expires_at": None,
        "paused_at": None,
        "scheduled_change": None,
        "discount_id": None,
        "discounts": None,
        "discount_cycles_remaining": None,
        "custom_field_responses": None,
    }


def _terms_part(record: Subscription, bought: Product) -> Json:
    price = bought.price
    return {
        "recurring_pre_tax_amount": price["price"],
        "tax_inclusive": bought.tax_inclusive,
        "next_billing_date": instant(record.created_at + timedelta(days=30)),
        "previous_billing_date": instant(record.created_at),
        "payment_frequency_count": price["payment_frequency_count"],
        "payment_frequency_interval": price["payment_frequency_interval"],
        "subscription_period_count": price["subscription_period_count"],
        "subscription_period_interval": price["subscription_period_interval"],
        "trial_period_days": price.get("trial_period_days") or 0,
        "trial_amount": None,
    }


def subscription_event(world: World, record: Subscription) -> Json:
    """Return a subscription as webhooks carry it: two more properties than the API answers."""
    return subscription(world, record) | {"past_due_ends_at": None, "payment_id": None}


def subscription_row(world: World, record: Subscription) -> Json:
    """Return a subscription as the list shows it."""
    whole = subscription(world, record)
    name = world.products[record.product_id].name
    return {key: whole[key] for key in _SUBSCRIPTION_ROW} | {"discounts": [], "product_name": name}


def session_overview(world: World, session: Session) -> Json:
    """Return a session as the sandbox's own pages and views show it; Dodo has no such answer."""
    paid = world.payments.get(session.payment_id or "")
    return {
        "session_id": session.session_id,
        "checkout_url": world.session_url(session.session_id),
        "product_cart": [
            {"product_id": line.product_id, "quantity": line.quantity, "amount": line.amount}
            for line in session.lines
        ],
        "customer_id": session.customer_id,
        "metadata": session.metadata,
        "return_url": session.return_url,
        "consumed": session.consumed,
        "payment_id": session.payment_id,
        "payment_status": paid.status if paid else None,
        "subscription_id": session.subscription_id,
        "created_at": instant(session.created_at),
        "expires_at": instant(session.expires_at),
    }
