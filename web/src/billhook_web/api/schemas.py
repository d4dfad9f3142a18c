"""What the API answers, as documented. :mod:`billhook_web.api.serialise` makes it; a test holds the two together."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

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
from billhook.provider import Severity
from billhook_web.stores.accounts import SyncStatus
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.outbox import EffectStatus


def text(about: str = "", *, null: bool = False) -> fields.String:
    """Document a text."""
    return fields.String(required=True, allow_none=null, metadata=_about(about))


def ref(about: str, *, null: bool = False) -> fields.String:
    """Document a provider's thing."""
    return text(f"{about}, as <connection>:<provider id>", null=null)


def instant(about: str = "", *, null: bool = False) -> fields.String:
    """Document a point in time."""
    return fields.String(
        required=True, allow_none=null, metadata={"format": "date-time", **_about(about or "UTC")}
    )


def day(about: str = "") -> fields.String:
    """Document a date that may be missing."""
    return fields.String(required=True, allow_none=True, metadata={"format": "date", **_about(about)})


def whole(about: str = "minor units", *, null: bool = False) -> fields.Integer:
    """Document a whole number."""
    return fields.Integer(required=True, allow_none=null, metadata=_about(about))


def flag(about: str = "") -> fields.Boolean:
    """Document a yes or no."""
    return fields.Boolean(required=True, metadata=_about(about))


def words(about: str) -> fields.List[Any]:
    """Document a list of words."""
    return fields.List(fields.String(), required=True, metadata=_about(about))


def choice(
    kind: type[StrEnum], about: str = "", *, more: Iterable[str] = (), null: bool = False
) -> fields.String:
    """Document one of a few words."""
    allowed: list[str | None] = [*(str(each) for each in kind), *more]
    enum = [*allowed, None] if null else allowed
    return fields.String(required=True, allow_none=null, metadata={"enum": enum, **_about(about)})


def one(schema: type[ma.Schema], *, null: bool = False) -> fields.Nested:
    """Document a part."""
    return fields.Nested(schema, required=True, allow_none=null)


def many(schema: type[ma.Schema]) -> fields.List[Any]:
    """Document a list of parts."""
    return fields.List(fields.Nested(schema), required=True)


def free(about: str, *, null: bool = False) -> fields.Dict:
    """Document an object whose keys differ from case to case."""
    return fields.Dict(required=True, allow_none=null, metadata=_about(about))


def _about(about: str) -> dict[str, str]:
    return {"description": about} if about else {}


def page(schema: type[ma.Schema]) -> ma.Schema:
    """Document a page of a list."""
    name = schema.__name__.removesuffix("Schema") + "PageSchema"
    made = type(
        name, (ma.Schema,), {"data": many(schema), "next_cursor": text("None: the last page", null=True)}
    )
    schema_of_page: ma.Schema = made()
    return schema_of_page


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
    provider_ids = fields.Dict(
        keys=fields.String(), values=fields.String(), required=True,
        metadata={"description": "connection → this customer's id there"},
    )  # fmt: skip
    sync = many(SyncSchema)


class SubscriptionSchema(ma.Schema):
    """One row of a customer's agreement."""

    ref = ref("the row; a plan change makes a new one")
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

    ref = ref("the plan")
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
    payment = ref("the payment", null=True)


class InvoiceSchema(ma.Schema):
    """A request for payment. Amounts are in minor units of ``currency``."""

    ref = ref("the invoice")
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

    ref = ref("where it is saved", null=True)
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

    ref = ref("the payment")
    status = choice(PaymentStatus)
    amount = one(MoneySchema)
    applied = one(MoneySchema)
    at = instant()
    invoice = ref("the invoice", null=True)
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

    ref = ref("the refund")
    payment = ref("the payment")
    status = choice(RefundStatus)
    amount = one(MoneySchema, null=True)
    reason = text(null=True)
    credit_note = ref("the document that asked for it", null=True)
    at = instant()


class DisputeSchema(ma.Schema):
    """The bank takes a payment back, or tries to."""

    ref = ref("the dispute")
    payment = ref("the payment")
    status = choice(DisputeStatus)
    amount = one(MoneySchema)
    stage = text(null=True)
    reason = text(null=True)
    resolved_by_refund = flag("given back without a contest")
    at = instant()


class CreditNoteSchema(ma.Schema):
    """A document that lowers or reverses an invoice."""

    ref = ref("the credit note")
    invoice = ref("the invoice")
    number = text(null=True)
    amount = one(MoneySchema)
    refund = whole("the part given back as money, minor units")
    refund_status = choice(RefundStatus, null=True)
    reason = text(null=True)
    for_refund = ref("the refund it documents", null=True)
    at = instant()


class MandateSchema(ma.Schema):
    """A standing permission to charge."""

    ref = ref("the mandate")
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

    invoice = ref("the invoice")
    attempt = whole("number of the attempt that is, or will be, made")
    planned = flag("false: one is under way already")
    effect = whole("id of the effect that makes it", null=True)


class EventSchema(ma.Schema):
    """One delivery that was received."""

    id = whole("")
    connection = text()
    key = text("the sender's id of the delivery")
    type = text("the sender's word for it")
    status = choice(InboxStatus)
    attempt_count = whole("")
    new_facts = whole("facts it told us first")
    received_at = instant()
    due_at = instant("when it is processed (again)", null=True)
    processed_at = instant(null=True)
    error = text(null=True)


class FactSchema(ma.Schema):
    """What a delivery told us, in our words."""

    type = text()
    at = instant(null=True)
    subject = ref("what it is about")
    values = free("what it says")


class EventDetailSchema(EventSchema):
    """A delivery with what it told us."""

    facts = many(FactSchema)
    body = text("as it was received; only with include=body", null=True)


class ReplayedSchema(ma.Schema):
    """What a replay of many came to."""

    replayed = whole("deliveries that are processed again")
    more = flag("there are more: call again")


class EffectSchema(ma.Schema):
    """Something that has to happen, and how far it has come."""

    id = whole("")
    key = text("unique: planning it again is the same effect")
    kind = text()
    lane = text("effects of one lane follow each other")
    subject = text("the invoice's ref or the customer's id")
    status = choice(EffectStatus)
    due_at = instant()
    attempt_count = whole("")
    created_at = instant()
    finished_at = instant(null=True)
    note = text(null=True)
    error = text(null=True)
    values = free("what is to be done")


class EffectAttemptSchema(ma.Schema):
    """One try at an effect."""

    at = instant()
    milliseconds = whole("")
    outcome = text()
    detail = text(null=True)


class EffectDetailSchema(EffectSchema):
    """An effect with every try at it."""

    attempts = many(EffectAttemptSchema)


class ConnectionSchema(ma.Schema):
    """One configured use of a plugin."""

    name = text()
    plugin = text()
    title = text(null=True)
    kinds = words("billing_engine, payment_provider, webhook_source")
    traits = fields.Dict(
        keys=fields.String(), values=fields.Boolean(), required=True,
        metadata={"description": "how the provider behaves"},
    )  # fmt: skip
    operations = words("what it can do beyond collecting and keeping books")
    webhook_url = text("where the provider sends its webhooks", null=True)
    settings = free("masked; only for keys with the scope admin", null=True)
    problem = text("why its plugin is out", null=True)


class FindingSchema(ma.Schema):
    """One result of a check."""

    severity = choice(Severity)
    what = text()
    fix = text("how to mend it")


class CheckSchema(ma.Schema):
    """What a check found."""

    connection = text()
    ok = flag("no finding is an error")
    findings = many(FindingSchema)


class InputErrorSchema(ma.Schema):
    """One field that is wrong."""

    field = text("path of the field, parts joined by dots; empty: the whole")
    message = text()
    allowed = fields.List(fields.String(), metadata={"description": "what would have been right"})


class ProblemSchema(ma.Schema):
    """RFC 9457."""

    type = text()
    title = text()
    status = whole("")
    detail = text()
    request_id = fields.String(metadata={"description": "names this request in the log"})
    field = fields.String(metadata={"description": "what clashes"})
    code = fields.String(metadata={"description": "the provider's own word"})
    errors = fields.List(
        fields.Nested(InputErrorSchema), metadata={"description": "every field that is wrong"}
    )
