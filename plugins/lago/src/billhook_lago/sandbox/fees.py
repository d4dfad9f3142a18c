"""Fees as Lago's V1 serializer renders them, key for key.

Decimals (units, ``precise_*``) are JSON strings in major units, as ActiveSupport writes them.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from billhook_lago.sandbox.state import Fee, Invoice, Json
from billhook_lago.sandbox.wire import stamp


def fee_json(fee: Fee, invoice: Invoice) -> Json:
    """Render one fee; its payment status is its invoice's."""
    return _links(fee, invoice) | _amounts(fee, invoice) | _state(fee, invoice)


def _links(fee: Fee, invoice: Invoice) -> Json:
    nothing = ("charge", "charge_filter", "fixed_charge", "true_up_fee", "true_up_parent_fee", "original_fee")
    subscription = fee.subscription
    return {
        "lago_id": fee.id,
        **{f"lago_{name}_id": None for name in nothing},
        "lago_invoice_id": invoice.id,
        "lago_subscription_id": None if subscription is None else subscription.id,
        "external_subscription_id": None if subscription is None else subscription.external_id,
        "lago_customer_id": invoice.customer.id,
        "external_customer_id": invoice.customer.external_id,
        "item": {
            "type": fee.item_type,
            "code": fee.code,
            "name": fee.name,
            "description": fee.description or "",
            "invoice_display_name": fee.name,
            "filters": None,
            "filter_invoice_display_name": None,
            "lago_item_id": fee.item_id,
            "item_type": "Subscription" if fee.item_type == "subscription" else "AddOn",
            "grouped_by": {},
        },
    }


def _amounts(fee: Fee, invoice: Invoice) -> Json:
    total = fee.amount_cents + fee.taxes_cents
    return {
        "amount_cents": fee.amount_cents,
        "amount_currency": invoice.currency,
        "precise_amount": _major(fee.amount_cents),
        "precise_total_amount": _major(total),
        "taxes_amount_cents": fee.taxes_cents,
        "taxes_precise_amount": _major(fee.taxes_cents),
        "taxes_rate": fee.taxes_rate,
        "total_aggregated_units": None,
        "total_amount_cents": total,
        "total_amount_currency": invoice.currency,
        "units": f"{fee.units}.0",
        "precise_unit_amount": _major(fee.amount_cents // fee.units),
        "precise_coupons_amount_cents": "0.0",
        "sub_total_excluding_taxes_amount_cents": fee.amount_cents,
        "sub_total_excluding_taxes_precise_amount_cents": f"{fee.amount_cents}.0",
        "amount_details": {"plan_amount_cents": fee.subscription.plan.amount_cents}
        if fee.subscription
        else {},
    }


def _state(fee: Fee, invoice: Invoice) -> Json:
    failed = invoice.payment_status == "failed"
    return {
        "pay_in_advance": fee.subscription is not None and fee.subscription.plan.pay_in_advance,
        "invoiceable": True,
        "description": fee.description,
        "events_count": None,
        "payment_status": invoice.payment_status,
        "created_at": stamp(invoice.created_at),
        "succeeded_at": stamp(invoice.settled_at) if invoice.payment_status == "succeeded" else None,
        "failed_at": stamp(invoice.updated_at) if failed else None,
        "refunded_at": None,
        "self_billed": False,
        "pricing_unit_details": None,
        "presentation_breakdowns": [],
        "from_date": fee.start.isoformat(timespec="seconds"),
        "to_date": (fee.end - timedelta(seconds=1)).isoformat(timespec="seconds"),
    }


def _major(cents: int) -> str:
    return str(float(Decimal(cents) / 100))
