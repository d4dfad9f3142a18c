"""The values Billhook speaks of: customers, subscriptions, invoices, payments and what happens to them.

All are frozen. Amounts are :class:`~billhook.money.Money` or ints in minor units, instants are aware and in UTC,
a period is half-open. A provider's thing is addressed by its :class:`Ref`; a customer by the integrator's own id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from billhook.money import Money


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """A provider's id for a thing, with the connection it came through: ``acme:5f1e…``."""

    connection: str
    id: str

    def __str__(self) -> str:
        return f"{self.connection}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read ``<connection>:<provider id>``; ValueError when either part is missing."""
        connection, colon, provider_id = text.partition(":")
        if not (connection and colon and provider_id):
            raise ValueError(f"{text!r} is not a ref; write <connection>:<provider id>")
        return cls(connection, provider_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A stretch of time in UTC, ``end`` excluded."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A postal address; ``country`` is ISO 3166-1 alpha-2. None: not known."""

    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Who pays. ``id`` is the integrator's own id. None: not known.

    ``locale`` is a BCP 47 tag, ``timezone`` an IANA name, ``currency`` ISO 4217. ``provider_ids`` maps a
    connection to the id this customer has there.
    """

    id: str
    name: str | None = None
    email: str | None = None
    address: Address = field(default_factory=Address)
    tax_id: str | None = None
    currency: str | None = None
    locale: str | None = None
    timezone: str | None = None
    provider_ids: Mapping[str, str] = field(default_factory=dict)


class SubscriptionStatus(StrEnum):
    """Where a subscription stands with its billing engine."""

    PENDING = "pending"
    INCOMPLETE = "incomplete"  # waits for the payment that activates it
    TRIALING = "trialing"
    ACTIVE = "active"
    PAUSED = "paused"
    SUPERSEDED = (
        "superseded"  # replaced by the next row of the same agreement (plan change): no end of access
    )
    CANCELED = "canceled"  # never became active, or a pending change that was called off
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One row of a customer's agreement. ``external_id`` stays the same over plan changes, ``ref`` does not."""

    ref: Ref
    external_id: str
    customer_id: str
    plan: str
    status: SubscriptionStatus
    started_at: datetime | None = None
    trial_ends_at: datetime | None = None
    current_period: Period | None = None
    previous_plan: str | None = None
    next_plan: str | None = None
    next_plan_on: date | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None


class InvoiceStatus(StrEnum):
    """Where an invoice document stands."""

    DRAFT = "draft"
    FINALIZED = "finalized"
    VOIDED = "voided"


class PaymentStatus(StrEnum):
    """How far a payment, or the paying of an invoice, has come."""

    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A request for payment, as its billing engine states it and as it was really paid.

    ``total`` is the document's total; ``due`` what was to be paid before any payment (after prepaid credit and
    credit notes). ``engine_status`` is what the billing engine believes; ``payment_status`` and ``balance`` follow
    the money: a lost dispute opens the balance again although the engine may still say *succeeded*.
    """

    ref: Ref
    customer_id: str | None
    number: str | None
    kind: str
    status: InvoiceStatus
    currency: str
    total: int
    taxes: int
    due: int
    paid: int
    balance: int
    payment_status: PaymentStatus
    engine_status: PaymentStatus
    issued_on: date | None = None
    due_on: date | None = None
    overdue: bool = False
    disputed: bool = False
    collected_by_engine: bool = False
    subscriptions: tuple[str, ...] = ()
    period: Period | None = None
    finalized_at: datetime | None = None
    observed_at: datetime | None = None
    flags: tuple[str, ...] = ()


class DeclineClass(StrEnum):
    """What a decline means for trying again."""

    SOFT = "soft"
    """May work later: not enough money, the bank did not answer."""
    HARD = "hard"
    """Never will: card stolen, account closed. Card networks fine merchants who try again."""
    AUTHENTICATION = "authentication"
    """The customer must act (3-D Secure); without them the same answer comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """Why a payment failed. ``code`` is the provider's own; ``sensitive`` reasons (stolen, lost, fraud) are shown
    to nobody but operators."""

    code: str
    kind: DeclineClass
    message: str = ""
    sensitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """A card, bank account… as far as it may be shown."""

    ref: Ref | None = None
    kind: str = "card"
    brand: str | None = None
    last4: str | None = None
    expires: str | None = None  # YYYY-MM
    reusable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Money on its way from a customer. ``applied`` is the part that counts towards the invoice (without a tax
    the merchant of record put on top); ``refunded`` and ``disputed`` have been taken back from it."""

    ref: Ref
    status: PaymentStatus
    amount: Money
    applied: Money
    at: datetime
    invoice: Ref | None = None
    customer_id: str | None = None
    key: str | None = None
    session: str | None = None
    method: PaymentMethod | None = None
    decline: Decline | None = None
    refunded: int = 0
    disputed: int = 0
    dispute_open: bool = False
    flags: tuple[str, ...] = ()


class RefundStatus(StrEnum):
    """How far a refund has come."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money given back. ``amount`` None: the provider did not say; the rest of the payment.
    ``credit_note`` names the document it was asked for by, when it began in the billing engine."""

    ref: Ref
    payment: Ref
    status: RefundStatus
    at: datetime
    amount: Money | None = None
    reason: str | None = None
    credit_note: Ref | None = None


class DisputeStatus(StrEnum):
    """How far a dispute has come. ``lost`` and ``refunded`` mean the money is gone."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """The bank takes a payment back, or tries to."""

    ref: Ref
    payment: Ref
    status: DisputeStatus
    amount: Money
    at: datetime
    stage: str | None = None
    reason: str | None = None
    resolved_by_refund: bool = False  # e.g. Visa RDR: given back without a contest


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNote:
    """A document that lowers or reverses a finalised invoice. ``refund`` is the part given back as money;
    ``for_refund`` names the provider's refund it documents, when we issued it."""

    ref: Ref
    invoice: Ref
    number: str | None
    amount: Money
    refund: int
    refund_status: RefundStatus | None
    at: datetime
    reason: str | None = None
    for_refund: Ref | None = None


class MandateStatus(StrEnum):
    """Whether a standing permission may be charged now."""

    ACTIVE = "active"
    ON_HOLD = "on_hold"  # a charge failed; usable again only after the customer or a saved method clears it
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """A customer's standing permission to charge them without being present."""

    ref: Ref
    status: MandateStatus
    at: datetime
    customer_id: str | None = None
    provider_customer: str | None = None
    currency: str | None = None
    method: PaymentMethod | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A product with recurring terms. ``amount`` per ``interval``; ``trial_days`` in days."""

    ref: Ref
    code: str
    name: str
    amount: Money
    interval: str
    pay_in_advance: bool = False
    trial_days: float = 0
    retiring: bool = False  # still listed by the engine, on its way out


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """What one meter counted. ``units`` is a decimal as the engine wrote it."""

    code: str
    name: str
    units: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Consumption of one subscription so far in its period."""

    period: Period
    amount: Money
    lines: tuple[UsageLine, ...] = ()


class AttemptStatus(StrEnum):
    """How far one attempt to collect an invoice has come."""

    PLANNED = "planned"  # the key is taken, the provider not yet asked
    OPEN = "open"  # the customer can pay at the url
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the provider was asked and did not answer
    VOID = "void"  # called off before any money moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to collect one invoice: its ``key`` was taken before the provider was asked, and is never reused."""

    key: str
    invoice: Ref
    number: int  # counts from 1
    connection: str
    status: AttemptStatus
    amount: Money
    created_at: datetime
    by: str | None = None
    session: str | None = None
    url: str | None = None
    expires_at: datetime | None = None
    payment: Ref | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a fact touched, after it: the customer, and the invoice or subscription with everything that hangs on it."""

    customer: Customer | None = None
    subscription: Subscription | None = None
    invoice: Invoice | None = None
    payments: tuple[Payment, ...] = ()
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    credit_notes: tuple[CreditNote, ...] = ()
    attempts: tuple[Attempt, ...] = ()
