"""Customers, plans, subscriptions and usage as Lago's V1 serializers render them, key for key.

What a payload *includes* beyond its plain fields differs per endpoint and per webhook, so the caller names it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from billhook_lago.sandbox.periods import period_of
from billhook_lago.sandbox.state import Account, AddOn, Customer, Json, Plan, Subscription, Usage
from billhook_lago.sandbox.wire import fine_stamp, stamp


def customer_json(account: Account, customer: Customer, *includes: str) -> Json:
    """Render a customer. Metadata is always there; ``integration_customers`` and ``taxes`` only where included."""
    body: Json = {
        "lago_id": customer.id,
        "billing_entity_code": "default",
        "external_id": customer.external_id,
        "sequential_id": customer.sequential_id,
        "slug": f"{account.number_prefix}-{customer.sequential_id:03}",
        "created_at": stamp(customer.created_at),
        "updated_at": stamp(customer.updated_at),
        **customer.fields,
        "applicable_timezone": customer.fields["timezone"] or "UTC",
        "billing_configuration": dict(customer.billing_configuration),
        "shipping_address": dict(customer.shipping_address),
        "metadata": [dict(entry) for entry in customer.metadata],
    }
    return body | {name: [] for name in includes}


def plan_json(account: Account, plan: Plan, *includes: str) -> Json:
    """Render a plan; Lago keeps the three counts at 0."""
    body: Json = {
        "lago_id": plan.id,
        "name": plan.name,
        "invoice_display_name": plan.invoice_display_name,
        "created_at": stamp(plan.created_at),
        "code": plan.code,
        "interval": plan.interval,
        "description": plan.description,
        "amount_cents": plan.amount_cents,
        "amount_currency": plan.currency,
        "trial_period": plan.trial_days,
        "pay_in_advance": plan.pay_in_advance,
        "bill_charges_monthly": None,
        "bill_fixed_charges_monthly": None,
        "customers_count": 0,
        "active_subscriptions_count": 0,
        "draft_invoices_count": 0,
        "parent_id": None,
        "pending_deletion": False,
        "charges": [],
        "usage_thresholds": [],
        "applicable_usage_thresholds": [],
        "taxes": _taxes(account, plan.created_at),
    }
    return body | {name: [] for name in includes}


def add_on_json(account: Account, add_on: AddOn) -> Json:
    """Render an add-on."""
    return {
        "lago_id": add_on.id,
        "name": add_on.name,
        "invoice_display_name": add_on.invoice_display_name,
        "code": add_on.code,
        "amount_cents": add_on.amount_cents,
        "amount_currency": add_on.currency,
        "description": add_on.description,
        "created_at": stamp(add_on.created_at),
        "taxes": _taxes(account, add_on.created_at),
    }


def subscription_json(account: Account, subscription: Subscription, *includes: str, now: datetime) -> Json:
    """Render a subscription with its billing period at ``now``."""
    body = _terms(subscription) | _life(subscription) | billing_period(subscription, now)
    for name in includes:
        match name:
            case "customer":
                body[name] = customer_json(account, subscription.customer)
            case "plan":
                body[name] = plan_json(account, subscription.plan)
            case "entitlements":
                body[name] = []
            case _:
                raise ValueError(f"a subscription has no include {name!r}")
    return body


def usage_json(account: Account, subscription: Subscription, usage: Usage, *, now: datetime) -> Json:
    """Render the usage of the current period; the total includes tax."""
    period = billing_period(subscription, now)
    taxes = round(Decimal(usage.amount_cents) * Decimal(str(account.tax_rate)) / 100)
    ending_at = period["current_billing_period_ending_at"]
    return {
        "from_datetime": period["current_billing_period_started_at"],
        "to_datetime": ending_at,
        "issuing_date": ending_at and ending_at[:10],
        "lago_invoice_id": None,
        "currency": subscription.plan.currency,
        "amount_cents": usage.amount_cents,
        "total_amount_cents": usage.amount_cents + taxes,
        "taxes_amount_cents": taxes,
        "charges_usage": [_charge_usage(subscription, usage)] if usage.events else [],
    }


def current_period(subscription: Subscription, now: datetime) -> tuple[datetime, datetime]:
    """Return the ``[start, end)`` billing period at ``now``, which never starts before the subscription did."""
    anchor = subscription.subscription_at if subscription.billing_time == "anniversary" else None
    start, end = period_of(now, interval=subscription.plan.interval, anchor=anchor)
    return (start if subscription.started_at is None else max(start, subscription.started_at)), end


def billing_period(subscription: Subscription, now: datetime) -> Json:
    """Render the current billing period; Lago's end is its last second. Null while not started."""
    if subscription.started_at is None:
        return {"current_billing_period_started_at": None, "current_billing_period_ending_at": None}
    start, end = current_period(subscription, max(now, subscription.started_at))
    return {
        "current_billing_period_started_at": stamp(start),
        "current_billing_period_ending_at": stamp(end - timedelta(seconds=1)),
    }


def _terms(subscription: Subscription) -> Json:
    previous, following = subscription.previous, subscription.next
    pending = following if following is not None and following.status == "pending" else None
    return {
        "lago_id": subscription.id,
        "external_id": subscription.external_id,
        "lago_customer_id": subscription.customer.id,
        "external_customer_id": subscription.customer.external_id,
        "name": subscription.name,
        "plan_code": subscription.plan.code,
        "plan_amount_cents": subscription.plan.amount_cents,
        "plan_amount_currency": subscription.plan.currency,
        "status": subscription.status,
        "billing_time": subscription.billing_time,
        "previous_plan_code": None if previous is None else previous.plan.code,
        "next_plan_code": None
        if following is None or following.status == "canceled"
        else following.plan.code,
        "downgrade_plan_date": None if pending is None else pending.subscription_at.date().isoformat(),
        "progressive_billing_disabled": False,
        "consolidate_invoice": True,
        "purchase_order_number": subscription.purchase_order_number,
        "payment_method": {"payment_method_id": None, "payment_method_type": "provider"},
        "activation_rules": [],
    }


def _life(subscription: Subscription) -> Json:
    return {
        "subscription_at": stamp(subscription.subscription_at),
        "started_at": fine_stamp(subscription.started_at),
        "trial_ended_at": stamp(subscription.trial_ended_at),
        "ending_at": stamp(subscription.ending_at),
        "terminated_at": stamp(subscription.terminated_at),
        "canceled_at": stamp(subscription.canceled_at),
        "created_at": stamp(subscription.created_at),
        "on_termination_credit_note": subscription.on_termination_credit_note,
        "on_termination_invoice": subscription.on_termination_invoice,
        "cancellation_reason": None,
        "activated_at": stamp(subscription.started_at),
    }


def _taxes(account: Account, created_at: datetime) -> list[Json]:
    if not account.tax_rate:
        return []
    counts = ("add_ons", "customers", "plans", "charges", "commitments")
    tax = {
        "lago_id": account.organization_id,
        "name": "VAT",
        "code": "vat",
        "rate": account.tax_rate,
        "description": "VAT of the sandbox",
        "applied_to_organization": True,
        **{f"{name}_count": 0 for name in counts},
        "created_at": stamp(created_at),
    }
    return [tax]


def _charge_usage(subscription: Subscription, usage: Usage) -> Json:
    metric = {"lago_id": subscription.id, "name": "Usage", "code": "usage", "aggregation_type": "sum_agg"}
    return {
        "units": usage.units,
        "total_aggregated_units": usage.units,
        "events_count": usage.events,
        "amount_cents": usage.amount_cents,
        "amount_currency": subscription.plan.currency,
        "pricing_unit_details": None,
        "charge": {"lago_id": subscription.id, "charge_model": "standard", "invoice_display_name": "Usage"},
        "billable_metric": metric,
        "filters": [],
        "grouped_usage": [],
        "presentation_breakdowns": [],
    }
