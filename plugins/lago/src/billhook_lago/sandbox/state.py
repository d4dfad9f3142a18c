"""What the Lago sandbox remembers: mutable records, one class each.

Amounts are integers in minor units, instants are UTC. The names are Lago's own, so a record reads like its payload.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

Json = dict[str, Any]
"""A JSON object on the wire."""


@dataclass(slots=True, kw_only=True)
class Account:
    """The organisation the sandbox plays. ``tax_rate`` is a percentage put on every plan's fees."""

    organization_id: str
    base_url: str
    number_prefix: str = "BIL-0001"
    tax_rate: float = 0.0
    premium: bool = True


@dataclass(slots=True, kw_only=True, eq=False)
class Customer:
    """A Lago customer; ``fields`` are the plain columns, spelt as in the payload."""

    id: str
    external_id: str
    sequential_id: int
    created_at: datetime
    updated_at: datetime
    fields: Json
    billing_configuration: Json
    shipping_address: Json
    metadata: list[Json] = field(default_factory=list)
    payment_methods: list[Json] = field(default_factory=list)
    deleted: bool = False

    @property
    def currency(self) -> str | None:
        """Return the currency, None until the first priced thing sets it."""
        value = self.fields["currency"]
        return None if value is None else str(value)


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """A plan. ``trial_days`` runs from the first start on a subscription's external id."""

    id: str
    code: str
    name: str
    amount_cents: int
    currency: str
    interval: str
    pay_in_advance: bool
    trial_days: float
    created_at: datetime
    invoice_display_name: str | None = None
    description: str = ""

    @property
    def yearly_cents(self) -> int:
        """Return the price of a year, by which Lago tells an upgrade from a downgrade."""
        per_year = {"weekly": 52, "monthly": 12, "quarterly": 4, "semiannual": 2, "yearly": 1}
        return self.amount_cents * per_year[self.interval]


@dataclass(slots=True, kw_only=True, eq=False)
class AddOn:
    """A thing sold once, for one-off invoices."""

    id: str
    code: str
    name: str
    amount_cents: int
    currency: str
    created_at: datetime
    description: str | None = None
    invoice_display_name: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Subscription:
    """One row of a subscription; a plan change makes a second row with the same ``external_id``."""

    id: str
    external_id: str
    customer: Customer
    plan: Plan
    name: str
    status: str
    billing_time: str
    subscription_at: datetime
    created_at: datetime
    started_at: datetime | None = None
    first_started_at: datetime | None = None  # of the external id: a plan change does not restart the trial
    trial_ended_at: datetime | None = None
    ending_at: datetime | None = None
    terminated_at: datetime | None = None
    canceled_at: datetime | None = None
    unbilled_from: datetime | None = None  # start of the first period with no subscription fee yet
    previous: Subscription | None = None
    next: Subscription | None = None
    on_termination_credit_note: str | None = None
    on_termination_invoice: str = "generate"
    purchase_order_number: str | None = None

    @property
    def trial_ends_at(self) -> datetime | None:
        """Return when the trial is or was over, None without one."""
        if not self.plan.trial_days or self.first_started_at is None:
            return None
        return self.first_started_at + timedelta(days=self.plan.trial_days)


@dataclass(slots=True, kw_only=True, eq=False)
class Fee:
    """One line of an invoice, net of ``taxes_cents``; ``start`` and ``end`` are half-open."""

    id: str
    item_type: str
    item_id: str
    code: str
    name: str
    amount_cents: int
    taxes_cents: int
    taxes_rate: float
    start: datetime
    end: datetime
    subscription: Subscription | None = None
    units: int = 1
    description: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class AppliedCredit:
    """Part of a credit note's balance, spent on a later invoice."""

    id: str
    credit_note: CreditNote
    amount_cents: int


@dataclass(slots=True, kw_only=True, eq=False)
class Invoice:
    """An invoice; the totals follow from its fees, credits and payments."""

    id: str
    customer: Customer
    sequential_id: int
    number: str
    invoice_type: str
    reason: str
    currency: str
    issuing_date: date
    payment_due_date: date
    net_payment_term: int
    created_at: datetime
    updated_at: datetime
    status: str = "finalized"
    payment_status: str = "pending"
    payment_overdue: bool = False
    fees: list[Fee] = field(default_factory=list)
    credits: list[AppliedCredit] = field(default_factory=list)
    metadata: list[Json] = field(default_factory=list)
    paid_cents: int = 0
    offset_cents: int = 0
    has_file: bool = False
    payment_dispute_lost_at: datetime | None = None
    settled_at: datetime | None = None
    voided_at: datetime | None = None

    @property
    def fees_cents(self) -> int:
        """Return the sum of the fees, net of tax."""
        return sum(fee.amount_cents for fee in self.fees)

    @property
    def taxes_cents(self) -> int:
        """Return the tax on all fees."""
        return sum(fee.taxes_cents for fee in self.fees)

    @property
    def credits_cents(self) -> int:
        """Return what credit notes took off the total."""
        return sum(credit.amount_cents for credit in self.credits)

    @property
    def total_cents(self) -> int:
        """Return fees and taxes less credit notes."""
        return self.fees_cents + self.taxes_cents - self.credits_cents

    @property
    def due_cents(self) -> int:
        """Return what is still to be paid; a bare change of ``payment_status`` does not lower it (Lago's trap)."""
        return self.total_cents - self.paid_cents - self.offset_cents


@dataclass(slots=True, kw_only=True, eq=False)
class Payment:
    """A payment recorded by hand on an invoice."""

    id: str
    invoice: Invoice
    amount_cents: int
    reference: str
    created_at: datetime


@dataclass(slots=True, kw_only=True, eq=False)
class CreditNoteItem:
    """The part of a fee a credit note takes back, net of tax."""

    id: str
    fee: Fee
    amount_cents: int


@dataclass(slots=True, kw_only=True, eq=False)
class CreditNote:
    """A credit note: credited to later invoices, refunded, or offset against what is due."""

    id: str
    invoice: Invoice
    sequential_id: int
    number: str
    issuing_date: date
    items: list[CreditNoteItem]
    taxes_cents: int
    reason: str
    description: str | None
    credit_cents: int
    refund_cents: int
    offset_cents: int
    balance_cents: int
    credit_status: str
    refund_status: str | None
    created_at: datetime
    updated_at: datetime
    metadata: dict[str, str] | None = None

    @property
    def items_cents(self) -> int:
        """Return what the items add up to, net of tax."""
        return sum(item.amount_cents for item in self.items)


@dataclass(slots=True, kw_only=True)
class Usage:
    """Metered usage of a subscription's current period, as set through the control surface."""

    amount_cents: int = 0
    units: str = "0.0"
    events: int = 0
