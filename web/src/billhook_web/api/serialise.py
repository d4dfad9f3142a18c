"""From the values we hold to plain JSON: amounts as minor units with their currency, times in UTC with a Z, refs as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

from billhook.model import (
    Address,
    Attempt,
    CreditNote,
    Decline,
    Dispute,
    Invoice,
    Mandate,
    Payment,
    PaymentMethod,
    Period,
    Plan,
    Ref,
    Refund,
    Snapshot,
    Subscription,
    Usage,
)
from billhook.money import Money
from billhook_web.services.erasure import Erased
from billhook_web.stores.accounts import CustomerRow, Sync

Plain = dict[str, Any]


def instant(at: datetime | None) -> str | None:
    """Write an instant."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def day(on: date | None) -> str | None:
    """Write a date."""
    return None if on is None else on.isoformat()


def ref(value: Ref | None) -> str | None:
    """Write a ref."""
    return None if value is None else str(value)


def money(value: Money | None) -> Plain | None:
    """Write an amount."""
    return None if value is None else {"amount": value.minor, "currency": value.currency}


def period(value: Period | None) -> Plain | None:
    """Write a period."""
    return None if value is None else {"start": instant(value.start), "end": instant(value.end)}


def customer(row: CustomerRow) -> Plain:
    """Write a customer."""
    who = row.customer
    return {
        "id": who.id,
        "name": who.name,
        "email": who.email,
        "address": address(who.address),
        "tax_id": who.tax_id,
        "currency": who.currency,
        "locale": who.locale,
        "timezone": who.timezone,
        "version": row.version,
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
        "erased_at": instant(row.erased_at),
        "provider_ids": dict(who.provider_ids),
        "sync": [_sync(each) for each in row.syncs],
    }


def erased(found: Erased) -> Plain:
    """Write what an erasure came to."""
    return {**asdict(found), "at": instant(found.at)}


def address(value: Address) -> Plain:
    """Write an address."""
    return {
        "line1": value.line1,
        "line2": value.line2,
        "city": value.city,
        "state": value.state,
        "postal_code": value.postal_code,
        "country": value.country,
    }


def _sync(sync: Sync) -> Plain:
    return {
        "connection": sync.connection,
        "version": sync.version,
        "status": sync.status,
        "field": sync.field,
        "detail": sync.detail,
        "at": instant(sync.at),
    }


def subscription(value: Subscription) -> Plain:
    """Write a subscription."""
    return {
        "ref": str(value.ref),
        "id": value.external_id,
        "customer": value.customer_id,
        "plan": value.plan,
        "status": value.status,
        "started_at": instant(value.started_at),
        "trial_ends_at": instant(value.trial_ends_at),
        "current_period": period(value.current_period),
        "previous_plan": value.previous_plan,
        "next_plan": value.next_plan,
        "next_plan_on": day(value.next_plan_on),
        "ends_at": instant(value.ends_at),
        "ended_at": instant(value.ended_at),
    }


def plan(value: Plan) -> Plain:
    """Write a plan."""
    return {
        "ref": str(value.ref),
        "code": value.code,
        "name": value.name,
        "amount": money(value.amount),
        "interval": value.interval,
        "pay_in_advance": value.pay_in_advance,
        "trial_days": value.trial_days,
        "retiring": value.retiring,
    }


def usage(value: Usage) -> Plain:
    """Write a consumption."""
    lines = [
        {"code": line.code, "name": line.name, "units": line.units, "amount": money(line.amount)}
        for line in value.lines
    ]
    return {"period": period(value.period), "amount": money(value.amount), "lines": lines}


def invoice(value: Invoice, *, attempts: Iterable[Attempt], pay_url: str | None) -> Plain:
    """Write an invoice with the tries to collect it."""
    return {
        "ref": str(value.ref),
        "customer": value.customer_id,
        "number": value.number,
        "kind": value.kind,
        "status": value.status,
        "payment_status": value.payment_status,
        "engine_status": value.engine_status,
        "currency": value.currency,
        "total": value.total,
        "taxes": value.taxes,
        "due": value.due,
        "paid": value.paid,
        "balance": value.balance,
        "issued_on": day(value.issued_on),
        "due_on": day(value.due_on),
        "finalized_at": instant(value.finalized_at),
        "overdue": value.overdue,
        "disputed": value.disputed,
        "collected_by_engine": value.collected_by_engine,
        "flags": list(value.flags),
        "subscriptions": list(value.subscriptions),
        "period": period(value.period),
        "pay_url": pay_url,
        "attempts": [attempt(each) for each in attempts],
    }


def invoice_parts(snapshot: Snapshot) -> Plain:
    """Write what hangs on an invoice."""
    return {
        "payments": [payment(each) for each in snapshot.payments],
        "refunds": [refund(each) for each in snapshot.refunds],
        "disputes": [dispute(each) for each in snapshot.disputes],
        "credit_notes": [credit_note(each) for each in snapshot.credit_notes],
    }


def attempt(value: Attempt) -> Plain:
    """Write one try to collect."""
    return {
        "key": value.key,
        "number": value.number,
        "connection": value.connection,
        "status": value.status,
        "by": value.by,
        "session": value.session,
        "url": value.url,
        "created_at": instant(value.created_at),
        "expires_at": instant(value.expires_at),
        "payment": ref(value.payment),
    }


def payment(value: Payment) -> Plain:
    """Write a payment."""
    return {
        "ref": str(value.ref),
        "status": value.status,
        "amount": money(value.amount),
        "applied": money(value.applied),
        "at": instant(value.at),
        "invoice": ref(value.invoice),
        "customer": value.customer_id,
        "key": value.key,
        "method": _method(value.method),
        "decline": _decline(value.decline),
        "refunded": value.refunded,
        "disputed": value.disputed,
        "dispute_open": value.dispute_open,
        "flags": list(value.flags),
    }


def _method(value: PaymentMethod | None) -> Plain | None:
    if value is None:
        return None
    return {
        "ref": ref(value.ref),
        "kind": value.kind,
        "brand": value.brand,
        "last4": value.last4,
        "expires": value.expires,
        "reusable": value.reusable,
    }


def _decline(value: Decline | None) -> Plain | None:
    if value is None:
        return None
    return {
        "code": value.code,
        "kind": value.kind,
        "message": value.message,
        "sensitive": value.sensitive,
    }


def refund(value: Refund) -> Plain:
    """Write a refund."""
    return {
        "ref": str(value.ref),
        "payment": str(value.payment),
        "status": value.status,
        "amount": money(value.amount),
        "reason": value.reason,
        "credit_note": ref(value.credit_note),
        "at": instant(value.at),
    }


def dispute(value: Dispute) -> Plain:
    """Write a dispute."""
    return {
        "ref": str(value.ref),
        "payment": str(value.payment),
        "status": value.status,
        "amount": money(value.amount),
        "stage": value.stage,
        "reason": value.reason,
        "resolved_by_refund": value.resolved_by_refund,
        "at": instant(value.at),
    }


def credit_note(value: CreditNote) -> Plain:
    """Write a credit note."""
    return {
        "ref": str(value.ref),
        "invoice": str(value.invoice),
        "number": value.number,
        "amount": money(value.amount),
        "refund": value.refund,
        "refund_status": value.refund_status,
        "reason": value.reason,
        "for_refund": ref(value.for_refund),
        "at": instant(value.at),
    }


def mandate(value: Mandate) -> Plain:
    """Write a mandate."""
    return {
        "ref": str(value.ref),
        "status": value.status,
        "customer": value.customer_id,
        "currency": value.currency,
        "method": _method(value.method),
        "at": instant(value.at),
    }
