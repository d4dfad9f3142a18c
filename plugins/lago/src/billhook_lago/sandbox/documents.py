"""Invoices, payments and credit notes as Lago's V1 serializers render them, key for key.

Decimals (``precise_*``) are JSON strings, as ActiveSupport writes them; ``taxes_rate`` is a number.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from billhook_lago.sandbox.fees import fee_json
from billhook_lago.sandbox.serializers import current_period, customer_json, subscription_json
from billhook_lago.sandbox.state import (
    Account,
    AppliedCredit,
    CreditNote,
    CreditNoteItem,
    Fee,
    Invoice,
    Json,
    Payment,
    Subscription,
)
from billhook_lago.sandbox.wire import fine_stamp, stamp

INVOICE_FULL = (
    "customer",
    "subscriptions",
    "billing_periods",
    "fees",
    "credits",
    "applied_taxes",
    "applied_invoice_custom_sections",
)
"""What ``invoice.created`` includes, and with ``metadata`` also ``GET /invoices/{id}``."""

CREDIT_NOTE_FULL = ("customer", "items", "applied_taxes")
"""What ``credit_note.created`` and the credit note endpoints include."""


def invoice_json(account: Account, invoice: Invoice, *includes: str, now: datetime) -> Json:
    """Render an invoice with the named includes."""
    body = _head(account, invoice) | _totals(invoice)
    for name in includes:
        body[name] = _invoice_include(account, invoice, name, now)
    return body


def payment_json(payment: Payment) -> Json:
    """Render a payment recorded by hand: no provider, no next action."""
    invoice = payment.invoice
    nothing = ("payment_provider_code", "payment_provider_type", "external_payment_id")
    return {
        "lago_id": payment.id,
        "lago_customer_id": invoice.customer.id,
        "external_customer_id": invoice.customer.external_id,
        "invoice_ids": [invoice.id],
        "invoice_numbers": [invoice.number],
        "lago_payable_id": invoice.id,
        "payable_type": "Invoice",
        "amount_cents": payment.amount_cents,
        "amount_currency": invoice.currency,
        "status": "succeeded",
        "payment_status": "succeeded",
        "type": "manual",
        "reference": payment.reference,
        **dict.fromkeys((*nothing, "provider_payment_id", "provider_customer_id")),
        "next_action": {},
        "created_at": stamp(payment.created_at),
    }


def credit_note_json(account: Account, note: CreditNote, *includes: str) -> Json:
    """Render a credit note; ``metadata`` is there only when it was given."""
    body = _credit_note_head(note) | _credit_note_amounts(note)
    for name in includes:
        match name:
            case "customer":
                body[name] = customer_json(account, note.invoice.customer)
            case "items":
                body[name] = [_item_json(item, note.invoice) for item in note.items]
            case "applied_taxes":
                body[name] = _credit_note_taxes(account, note)
            case _:
                raise ValueError(f"a credit note has no include {name!r}")
    return body | ({} if note.metadata is None else {"metadata": dict(note.metadata)})


def tax_line(account: Account, *, base_cents: int, tax_cents: int) -> Json:
    """Render the tax that made ``tax_cents`` of ``base_cents``."""
    return {
        "lago_tax_id": account.organization_id,
        "tax_name": "VAT",
        "tax_code": "vat",
        "tax_rate": rate_of(tax_cents, base_cents),
        "tax_description": "VAT of the sandbox",
    }


def rate_of(tax_cents: int, base_cents: int) -> float:
    """Return the tax in percent of the base, 0 without a base."""
    return float(round(Decimal(100 * tax_cents) / base_cents, 2)) if base_cents else 0.0


def _head(account: Account, invoice: Invoice) -> Json:
    base = account.base_url
    return {
        "lago_id": invoice.id,
        "billing_entity_code": "default",
        "sequential_id": invoice.sequential_id,
        "number": invoice.number,
        "purchase_order_number": None,
        "issuing_date": invoice.issuing_date.isoformat(),
        "payment_due_date": invoice.payment_due_date.isoformat(),
        "net_payment_term": invoice.net_payment_term,
        "invoice_type": invoice.invoice_type,
        "status": invoice.status,
        "payment_status": invoice.payment_status,
        "payment_dispute_lost_at": fine_stamp(invoice.payment_dispute_lost_at),
        "payment_overdue": invoice.payment_overdue,
        "currency": invoice.currency,
        "file_url": f"{base}/files/invoices/{invoice.id}.pdf" if invoice.has_file else None,
        "xml_url": None,
        "web_url": f"{base}/customer/{invoice.customer.id}/invoice/{invoice.id}/overview",
        "version_number": 4,
        "self_billed": False,
        "created_at": stamp(invoice.created_at),
        "updated_at": stamp(invoice.updated_at),
        "voided_at": stamp(invoice.voided_at),
    }


def _totals(invoice: Invoice) -> Json:
    return {
        "fees_amount_cents": invoice.fees_cents,
        "taxes_amount_cents": invoice.taxes_cents,
        "progressive_billing_credit_amount_cents": 0,
        "coupons_amount_cents": 0,
        "credit_notes_amount_cents": invoice.credits_cents,
        "sub_total_excluding_taxes_amount_cents": invoice.fees_cents,
        "sub_total_including_taxes_amount_cents": invoice.fees_cents + invoice.taxes_cents,
        "total_amount_cents": invoice.total_cents,
        "total_due_amount_cents": invoice.due_cents,
        "total_paid_amount_cents": invoice.paid_cents,
        "total_offsetted_credit_note_amount_cents": invoice.offset_cents,
        "prepaid_credit_amount_cents": 0,
        "prepaid_granted_credit_amount_cents": None,
        "prepaid_purchased_credit_amount_cents": None,
    }


def _invoice_include(account: Account, invoice: Invoice, name: str, now: datetime) -> object:
    match name:
        case "customer":
            return customer_json(account, invoice.customer)
        case "subscriptions":
            return [subscription_json(account, row, now=now) for row in _subscriptions_of(invoice)]
        case "billing_periods":
            return [_period_json(fee, fee.subscription, invoice) for fee in invoice.fees if fee.subscription]
        case "fees":
            return [fee_json(fee, invoice) for fee in invoice.fees]
        case "credits":
            return [_applied_credit_json(credit, invoice) for credit in invoice.credits]
        case "applied_taxes":
            return _invoice_taxes(account, invoice)
        case "metadata":
            shown = ("lago_id", "key", "value", "created_at")
            return [{name: entry[name] for name in shown} for entry in invoice.metadata]
        case "applied_invoice_custom_sections" | "error_details":
            return []
        case _:
            raise ValueError(f"an invoice has no include {name!r}")


def _subscriptions_of(invoice: Invoice) -> list[Subscription]:
    return list({fee.subscription.id: fee.subscription for fee in invoice.fees if fee.subscription}.values())


def _period_json(fee: Fee, subscription: Subscription, invoice: Invoice) -> Json:
    before = current_period(subscription, fee.start - timedelta(seconds=1))
    return {
        "lago_subscription_id": subscription.id,
        "external_subscription_id": subscription.external_id,
        "lago_plan_id": subscription.plan.id,
        "subscription_from_datetime": stamp(fee.start),
        "subscription_to_datetime": stamp(fee.end - timedelta(seconds=1)),
        "charges_from_datetime": stamp(min(before[0], fee.start)),
        "charges_to_datetime": stamp(fee.start - timedelta(seconds=1)),
        "fixed_charges_from_datetime": None,
        "fixed_charges_to_datetime": None,
        "invoicing_reason": invoice.reason,
    }


def _applied_credit_json(credit: AppliedCredit, invoice: Invoice) -> Json:
    note = credit.credit_note
    return {
        "lago_id": credit.id,
        "amount_cents": credit.amount_cents,
        "amount_currency": invoice.currency,
        "before_taxes": False,
        "item": {
            "lago_item_id": note.id,
            "type": "credit_note",
            "code": note.number,
            "name": note.invoice.number,
        },
        "invoice": {"lago_id": invoice.id, "payment_status": invoice.payment_status},
    }


def _invoice_taxes(account: Account, invoice: Invoice) -> list[Json]:
    if not invoice.taxes_cents:
        return []
    tax = {
        "lago_id": invoice.id,
        "lago_invoice_id": invoice.id,
        **tax_line(account, base_cents=invoice.fees_cents, tax_cents=invoice.taxes_cents),
        "amount_cents": invoice.taxes_cents,
        "amount_currency": invoice.currency,
        "fees_amount_cents": invoice.fees_cents,
        "created_at": stamp(invoice.created_at),
    }
    return [tax]


def _credit_note_head(note: CreditNote) -> Json:
    return {
        "lago_id": note.id,
        "billing_entity_code": "default",
        "sequential_id": note.sequential_id,
        "number": note.number,
        "lago_invoice_id": note.invoice.id,
        "invoice_number": note.invoice.number,
        "purchase_order_number": None,
        "issuing_date": note.issuing_date.isoformat(),
        "credit_status": note.credit_status,
        "refund_status": note.refund_status,
        "reason": note.reason,
        "description": note.description,
        "currency": note.invoice.currency,
        "created_at": stamp(note.created_at),
        "updated_at": stamp(note.updated_at),
        "file_url": None,
        "xml_url": None,
        "self_billed": False,
    }


def _credit_note_amounts(note: CreditNote) -> Json:
    total = note.items_cents + note.taxes_cents
    return {
        "total_amount_cents": total,
        "precise_total_amount_cents": f"{total}.0",
        "taxes_amount_cents": note.taxes_cents,
        "precise_taxes_amount_cents": f"{note.taxes_cents}.0",
        "sub_total_excluding_taxes_amount_cents": note.items_cents,
        "balance_amount_cents": note.balance_cents,
        "credit_amount_cents": note.credit_cents,
        "refund_amount_cents": note.refund_cents,
        "offset_amount_cents": note.offset_cents,
        "coupons_adjustment_amount_cents": 0,
        "taxes_rate": rate_of(note.taxes_cents, note.items_cents),
    }


def _item_json(item: CreditNoteItem, invoice: Invoice) -> Json:
    return {
        "lago_id": item.id,
        "amount_cents": item.amount_cents,
        "precise_amount_cents": f"{item.amount_cents}.0",
        "amount_currency": invoice.currency,
        "fee": fee_json(item.fee, invoice),
    }


def _credit_note_taxes(account: Account, note: CreditNote) -> list[Json]:
    if not note.taxes_cents:
        return []
    tax = {
        "lago_id": note.id,
        "lago_credit_note_id": note.id,
        **tax_line(account, base_cents=note.items_cents, tax_cents=note.taxes_cents),
        "base_amount_cents": note.items_cents,
        "amount_cents": note.taxes_cents,
        "amount_currency": note.invoice.currency,
        "created_at": stamp(note.created_at),
    }
    return [tax]
