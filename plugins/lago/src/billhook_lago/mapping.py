"""What Lago's objects mean in Billhook's words: pure functions from its JSON to facts and values.

Every fact carries Lago's own time where the object has one. A subscription has no ``updated_at``, so what stands in
it now (its period, a scheduled change or end) stays undated and the host dates it. Ids in refs are ``lago_id``;
a customer and an agreement go by their ``external_id``.
"""

from __future__ import annotations

from datetime import datetime

from billhook.errors import PayloadInvalid
from billhook.events import (
    CreditNoteIssued,
    CustomerObserved,
    Event,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceVoided,
)
from billhook.model import (
    Address,
    InvoiceStatus,
    PaymentStatus,
    Period,
    Ref,
    RefundStatus,
)
from billhook.money import Money
from billhook_lago.reading import (
    Json,
    cents,
    cents_or,
    day,
    flag,
    instant,
    obj,
    obj_or_empty,
    period,
    rows,
    text,
    text_or_none,
)

METADATA_SUFFIX = "_customer_id"
"""``dodo_customer_id`` in a customer's metadata is the id the customer has at the connection ``dodo``."""

REFUND_KEY = "billhook_refund"
"""The credit note metadata under which the refund it documents is kept, as ``<connection>:<id>``."""

_REFUNDED_BY_LAGO = frozenset({"stripe", "gocardless", "adyen"})
"""The providers at which Lago makes a credit note's refund itself."""

_INVOICE_STATUS = {
    "finalized": InvoiceStatus.FINALIZED,
    "voided": InvoiceStatus.VOIDED,
    "closed": InvoiceStatus.VOIDED,  # of nothing, or its activation failed: never to be paid
    "deleted": InvoiceStatus.VOIDED,
    **dict.fromkeys(("draft", "pending", "failed", "generating", "open"), InvoiceStatus.DRAFT),
}
_PAYMENT_STATUS = {
    "pending": PaymentStatus.PENDING,
    "processing": PaymentStatus.PROCESSING,
    "succeeded": PaymentStatus.SUCCEEDED,
    "failed": PaymentStatus.FAILED,
}


def customer(connection: str, body: Json) -> CustomerObserved:
    """Read a customer."""
    return CustomerObserved(
        at=instant(body, "updated_at"),
        ref=Ref(connection, text(body, "lago_id")),
        customer_id=text(body, "external_id"),
        name=text_or_none(body, "name") or _person(body),
        email=text_or_none(body, "email"),
        address=Address(
            line1=text_or_none(body, "address_line1"),
            line2=text_or_none(body, "address_line2"),
            city=text_or_none(body, "city"),
            state=text_or_none(body, "state"),
            postal_code=text_or_none(body, "zipcode"),
            country=text_or_none(body, "country"),
        ),
        tax_id=text_or_none(body, "tax_identification_number"),
        currency=text_or_none(body, "currency"),
        locale=text_or_none(obj_or_empty(body, "billing_configuration"), "document_locale"),
        timezone=text_or_none(body, "timezone"),
        provider_ids=_provider_ids(body),
    )


def _person(body: Json) -> str | None:
    names = (text_or_none(body, "firstname"), text_or_none(body, "lastname"))
    return " ".join(name for name in names if name) or None


def _provider_ids(body: Json) -> dict[str, str]:
    """Return the ids the customer has elsewhere: at Lago's own payment provider, and those in the metadata, which win."""
    configuration = obj_or_empty(body, "billing_configuration")
    provider, there = (
        text_or_none(configuration, name) for name in ("payment_provider", "provider_customer_id")
    )
    own = {provider: there} if provider and there else {}
    return own | _ids_in_metadata(body)


def _ids_in_metadata(body: Json) -> dict[str, str]:
    entries = {text(row, "key"): text_or_none(row, "value") for row in rows(body, "metadata")}
    return {
        key.removesuffix(METADATA_SUFFIX): value
        for key, value in entries.items()
        if value and key.endswith(METADATA_SUFFIX) and key != METADATA_SUFFIX
    }


def invoice_status(body: Json) -> InvoiceStatus:
    """Return where the document stands; an older body without a status is a final one."""
    word = text_or_none(body, "status") or "finalized"
    if word not in _INVOICE_STATUS:
        raise PayloadInvalid("status is not an invoice status we know")
    return _INVOICE_STATUS[word]


def payment_status(body: Json) -> PaymentStatus:
    """Return what Lago believes about its being paid."""
    word = text_or_none(body, "payment_status") or "pending"
    if word not in _PAYMENT_STATUS:
        raise PayloadInvalid("payment_status is not one we know")
    return _PAYMENT_STATUS[word]


def invoice_paid(body: Json) -> int:
    """Return the payments Lago counted, in minor units. Marking an invoice paid by hand never counts."""
    return cents_or(body, "total_paid_amount_cents", 0)


def invoice_due(body: Json) -> int:
    """Return what is still to be paid, in minor units; older servers do not say, there it is the rest of the total."""
    rest = cents(body, "total_amount_cents") - invoice_paid(body)
    return cents_or(body, "total_due_amount_cents", rest)


def invoice_facts(connection: str, body: Json) -> list[Event]:
    """Read a complete invoice: the document, once it is final, and how Lago sees it now."""
    seen: list[Event] = [*invoice_observed(connection, body), *payer(connection, body)]
    if invoice_status(body) is not InvoiceStatus.FINALIZED:
        return seen
    return [invoice_finalized(connection, body), *seen]


def payer(connection: str, body: Json) -> list[CustomerObserved]:
    """Read the customer an invoice carries: their own webhook may never have come, and who pays must be known.

    A customer without a time or an id of their own says too little.
    """
    inside = obj_or_empty(body, "customer")
    complete = all(text_or_none(inside, key) for key in ("lago_id", "external_id", "updated_at"))
    return [customer(connection, inside)] if complete else []


def invoice_finalized(connection: str, body: Json) -> InvoiceFinalized:
    """Read the document of an invoice that carries its subscriptions or fees."""
    payer = obj(body, "customer")
    return InvoiceFinalized(
        at=instant(body, "created_at"),
        ref=Ref(connection, text(body, "lago_id")),
        customer_id=text(payer, "external_id"),
        number=text_or_none(body, "number"),
        kind=text_or_none(body, "invoice_type") or "subscription",
        currency=text(body, "currency"),
        total=cents(body, "total_amount_cents"),
        taxes=cents_or(body, "taxes_amount_cents", 0),
        due=invoice_due(body) + invoice_paid(body),
        issued_on=day(body, "issuing_date"),
        due_on=day(body, "payment_due_date"),
        collected_by_engine=bool(
            text_or_none(obj_or_empty(payer, "billing_configuration"), "payment_provider")
        ),
        subscriptions=_agreements(body),
        period=_invoice_period(body),
    )


def _agreements(body: Json) -> tuple[str, ...]:
    named = [text(row, "external_id") for row in rows(body, "subscriptions")]
    named += [
        agreement
        for fee in rows(body, "fees")
        if (agreement := text_or_none(fee, "external_subscription_id"))
    ]
    return tuple(dict.fromkeys(named))


def _invoice_period(body: Json) -> Period | None:
    """Return the stretch all subscriptions on the invoice are billed for."""
    billed = [
        stretch
        for row in rows(body, "billing_periods")
        if (stretch := period(row, "subscription_from_datetime", "subscription_to_datetime"))
    ]
    if not billed:
        return None
    return Period(start=min(p.start for p in billed), end=max(p.end for p in billed))


def invoice_observed(
    connection: str, body: Json, *, status: PaymentStatus | None = None
) -> list[InvoiceObserved | InvoiceVoided]:
    """Read how Lago sees an invoice; ``status`` is what the webhook's name says, where it says it.

    A lost dispute and a void need not move ``updated_at``, so the latest of the three times counts.
    """
    ref = Ref(connection, text(body, "lago_id"))
    lost_at, voided_at = instant(body, "payment_dispute_lost_at"), instant(body, "voided_at")
    document = invoice_status(body)
    observed = InvoiceObserved(
        at=_latest(instant(body, "updated_at"), lost_at, voided_at),
        ref=ref,
        customer_id=text_or_none(obj_or_empty(body, "customer"), "external_id"),
        number=text_or_none(body, "number"),
        status=document,
        payment_status=status or payment_status(body),
        currency=text(body, "currency"),
        total=cents(body, "total_amount_cents"),
        due=invoice_due(body),
        paid=invoice_paid(body),
        overdue=flag(body, "payment_overdue"),
        dispute_lost_at=lost_at,
    )
    if document is InvoiceStatus.VOIDED:
        return [observed, InvoiceVoided(at=voided_at or observed.at, ref=ref)]
    return [observed]


def _latest(*instants: datetime | None) -> datetime | None:
    return max((at for at in instants if at is not None), default=None)


def credit_note(connection: str, body: Json) -> CreditNoteIssued:
    """Read a credit note."""
    provider = text_or_none(
        obj_or_empty(obj_or_empty(body, "customer"), "billing_configuration"), "payment_provider"
    )
    refund = cents_or(body, "refund_amount_cents", 0)
    return CreditNoteIssued(
        at=instant(body, "updated_at"),
        ref=Ref(connection, text(body, "lago_id")),
        invoice=Ref(connection, text(body, "lago_invoice_id")),
        number=text_or_none(body, "number"),
        amount=money(cents(body, "total_amount_cents"), text(body, "currency")),
        refund=refund,
        refund_status=_refund_status(body),
        reason=text_or_none(body, "reason"),
        engine_refunds=refund > 0 and provider in _REFUNDED_BY_LAGO,
        for_refund=documented_refund(body),
    )


def documented_refund(body: Json) -> Ref | None:
    """Return the refund we issued this credit note for; None: it was not issued by us."""
    named = text_or_none(obj_or_empty(body, "metadata"), REFUND_KEY)
    try:
        return Ref.parse(named) if named else None
    except ValueError:  # somebody else's text under our key
        return None


def _refund_status(body: Json) -> RefundStatus | None:
    word = text_or_none(body, "refund_status")
    try:
        return RefundStatus(word) if word else None
    except ValueError:
        raise PayloadInvalid("refund_status is not one we know") from None


def money(amount: int, currency: str) -> Money:
    """Return an amount; PayloadInvalid when the currency is none."""
    try:
        return Money(amount, currency)
    except ValueError:
        raise PayloadInvalid("currency is not an ISO 4217 code") from None
