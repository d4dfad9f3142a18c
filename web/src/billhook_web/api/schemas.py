"""What the API answers about customers and billing, as documented.

:mod:`billhook_web.api.serialise` makes it; the tests hold every answer against this.
"""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields

from billhook.model import (
    AttemptStatus,
    DeclineClass,
    DisputeStatus,
    InvoiceStatus,
    MandateStatus,
    PaymentStatus,
    RefundStatus,
    SubscriptionStatus,
)
from billhook_web.api.describing import choice, day, flag, instant, many, one, text, thing, whole, words
from billhook_web.stores.accounts import SyncStatus


class MoneySchema(ma.Schema):
    """An amount."""

    amount = whole("minor units: cents for EUR, yen for JPY")
    currency = text("ISO 4217")


class PeriodSchema(ma.Schema):
    """A stretch of time, the end excluded."""

    start = instant()
    end = instant()


class AddressSchema(ma.Schema):
    """A postal address; null: not known."""

    line1 = text(null=True)
    line2 = text(null=True)
    city = text(null=True)
    state = text(null=True)
    postal_code = text(null=True)
    country = text("ISO 3166-1 alpha-2", null=True)


class SyncSchema(ma.Schema):
    """How far a customer has come at a billing engine."""

    connection = text()
    version = whole("the customer's version that this is about")
    status = choice(SyncStatus, "conflict: a value clashes there, correct it and send it again")
    field = text("what clashes", null=True)
    detail = text(null=True)
    at = instant()


class CustomerSchema(ma.Schema):
    """Who pays."""

    id = text("your own id")
    name = text(null=True)
    email = text(null=True)
    address = one(AddressSchema)
    tax_id = text(null=True)
    currency = text("ISO 4217", null=True)
    locale = text("BCP 47", null=True)
    timezone = text("IANA", null=True)
    version = whole("counts your changes")
    created_at = instant()
    updated_at = instant()
    erased_at = instant(
        "since when personal data is erased; until you register the customer again", null=True
    )
    provider_ids = fields.Dict(
        keys=fields.String(), values=fields.String(), required=True,
        metadata={"description": "connection → this customer's id there"},
    )  # fmt: skip
    sync = many(SyncSchema)


class ErasedSchema(ma.Schema):
    """What an erasure came to."""

    customer = text("your own id")
    at = instant()
    facts = whole("that were emptied")
    deliveries = whole("that were reduced to their facts")
    unread = whole("of them: dead letters, which cannot be processed any more")
    effects = whole("whose texts were cleaned")
    audit = whole("entries of the audit whose details were cleaned")


class SubscriptionSchema(ma.Schema):
    """One row of a customer's agreement."""

    ref = thing("the row; a plan change makes a new one")
    id = text("the agreement's id, stable over plan changes")
    customer = text("your id of the customer")
    plan = text("code")
    status = choice(SubscriptionStatus)
    started_at = instant(null=True)
    trial_ends_at = instant(null=True)
    current_period = one(PeriodSchema, null=True)
    previous_plan = text(null=True)
    next_plan = text("a change that is scheduled", null=True)
    next_plan_on = day()
    ends_at = instant("a scheduled end", null=True)
    ended_at = instant(null=True)


class PlanSchema(ma.Schema):
    """A product with recurring terms."""

    ref = thing("the plan")
    code = text()
    name = text()
    amount = one(MoneySchema)
    interval = text("what the amount is paid for")
    pay_in_advance = flag()
    trial_days = fields.Float(required=True)
    retiring = flag("still listed, on its way out")


class UsageLineSchema(ma.Schema):
    """What one meter counted."""

    code = text()
    name = text()
    units = text("decimal, as the billing engine wrote it")
    amount = one(MoneySchema)


class UsageSchema(ma.Schema):
    """Consumption so far in the period."""

    period = one(PeriodSchema)
    amount = one(MoneySchema)
    lines = many(UsageLineSchema)


class AttemptSchema(ma.Schema):
    """One try to collect an invoice."""

    key = text("idempotency key, unique")
    number = whole("counts from 1")
    connection = text()
    status = choice(AttemptStatus)
    by = text("mandate, saved_method, checkout…; null: not yet asked", null=True)
    session = text(null=True)
    url = text("the provider's checkout; give customers pay_url instead", null=True)
    created_at = instant()
    expires_at = instant(null=True)
    payment = thing("the payment", null=True)


class InvoiceSchema(ma.Schema):
    """A request for payment. Amounts are in minor units of ``currency``."""

    ref = thing("the invoice")
    customer = text("your id of the customer", null=True)
    number = text(null=True)
    kind = text()
    status = choice(InvoiceStatus)
    payment_status = choice(PaymentStatus, "follows the money")
    engine_status = choice(PaymentStatus, "what the billing engine believes")
    currency = text("ISO 4217")
    total = whole()
    taxes = whole()
    due = whole("to be paid before any payment")
    paid = whole()
    balance = whole("still open")
    issued_on = day()
    due_on = day()
    finalized_at = instant(null=True)
    overdue = flag()
    disputed = flag()
    collected_by_engine = flag("the engine collects by itself; we only watch")
    flags = words("what a person should look at")
    subscriptions = words("ids of the agreements it bills")
    period = one(PeriodSchema, null=True)
    pay_url = text("where the customer pays; never changes. Null: nobody was asked yet", null=True)
    attempts = many(AttemptSchema)


class PaymentMethodSchema(ma.Schema):
    """A card, bank account…, as far as it may be shown."""

    ref = thing("where it is saved", null=True)
    kind = text()
    brand = text(null=True)
    last4 = text(null=True)
    expires = text("YYYY-MM", null=True)
    reusable = flag()


class DeclineSchema(ma.Schema):
    """Why a payment failed."""

    code = text("the provider's own")
    kind = choice(DeclineClass)
    message = text()
    sensitive = flag("never show this reason to the customer")


class PaymentSchema(ma.Schema):
    """Money on its way from a customer."""

    ref = thing("the payment")
    status = choice(PaymentStatus)
    amount = one(MoneySchema)
    applied = one(MoneySchema)
    at = instant()
    invoice = thing("the invoice", null=True)
    customer = text("your id of the customer", null=True)
    key = text("of the attempt", null=True)
    method = one(PaymentMethodSchema, null=True)
    decline = one(DeclineSchema, null=True)
    refunded = whole()
    disputed = whole()
    dispute_open = flag()
    flags = words("what a person should look at")


class RefundSchema(ma.Schema):
    """Money given back."""

    ref = thing("the refund")
    payment = thing("the payment")
    status = choice(RefundStatus)
    amount = one(MoneySchema, null=True)
    reason = text(null=True)
    credit_note = thing("the document that asked for it", null=True)
    at = instant()


class DisputeSchema(ma.Schema):
    """The bank takes a payment back, or tries to."""

    ref = thing("the dispute")
    payment = thing("the payment")
    status = choice(DisputeStatus)
    amount = one(MoneySchema)
    stage = text(null=True)
    reason = text(null=True)
    resolved_by_refund = flag("given back without a contest")
    at = instant()


class CreditNoteSchema(ma.Schema):
    """A document that lowers or reverses an invoice."""

    ref = thing("the credit note")
    invoice = thing("the invoice")
    number = text(null=True)
    amount = one(MoneySchema)
    refund = whole("the part given back as money, minor units")
    refund_status = choice(RefundStatus, null=True)
    reason = text(null=True)
    for_refund = thing("the refund it documents", null=True)
    at = instant()


class MandateSchema(ma.Schema):
    """A standing permission to charge."""

    ref = thing("the mandate")
    status = choice(MandateStatus)
    customer = text("your id of the customer", null=True)
    currency = text("ISO 4217", null=True)
    method = one(PaymentMethodSchema, null=True)
    at = instant()


class InvoiceDetailSchema(InvoiceSchema):
    """An invoice with everything that hangs on it."""

    payments = many(PaymentSchema)
    refunds = many(RefundSchema)
    disputes = many(DisputeSchema)
    credit_notes = many(CreditNoteSchema)


class CollectionSchema(ma.Schema):
    """What asking for another attempt came to."""

    invoice = thing("the invoice")
    attempt = whole("number of the attempt that is, or will be, made")
    planned = flag("false: one is under way already")
    effect = whole("id of the effect that makes it", null=True)
