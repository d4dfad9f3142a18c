"""Normalised facts: what providers told us, in our words, dated.

A fact says what became true and when (``at``, the provider's own time; None where the provider gives none, then the
host puts in when it heard of it). Facts never say what to do. The same fact twice is one fact (:func:`fact_key`), and
no fact relies on another having come before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, TypeAdapter

from billhook.model import (
    Address,
    Decline,
    DisputeStatus,
    InvoiceStatus,
    MandateStatus,
    PaymentMethod,
    PaymentStatus,
    Period,
    Ref,
    RefundStatus,
)
from billhook.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Base of all facts. ``at`` is kept in UTC; ValueError when it has no offset."""

    at: datetime | None = None

    def __post_init__(self) -> None:
        """Give equal instants one spelling: the time is part of :func:`fact_key`."""
        if self.at is None:
            return
        if self.at.utcoffset() is None:
            raise ValueError("a fact's time must be aware; pass one in UTC")
        object.__setattr__(self, "at", self.at.astimezone(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerObserved(Fact):
    """A billing engine or payment provider showed us a customer. ``ref`` is the customer there."""

    type: Literal["customer.observed"] = "customer.observed"
    ref: Ref
    customer_id: str
    name: str | None = None
    email: str | None = None
    address: Address = field(default_factory=Address)
    tax_id: str | None = None
    currency: str | None = None
    locale: str | None = None
    timezone: str | None = None
    provider_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerTagged(Fact):
    """An operator put a tag on a customer, for instance one that exempts from a rule. ``ref``: the host and the customer."""

    type: Literal["customer.tagged"] = "customer.tagged"
    ref: Ref
    customer_id: str
    tag: str
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerUntagged(Fact):
    """An operator took a tag off a customer."""

    type: Literal["customer.untagged"] = "customer.untagged"
    ref: Ref
    customer_id: str
    tag: str
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerDelegated(Fact):
    """Another customer pays for this one. ``pays``: that customer's id; None ends it."""

    type: Literal["customer.delegated"] = "customer.delegated"
    ref: Ref
    customer_id: str
    pays: str | None = None
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFact(Fact):
    """Base of what is said about one row of an agreement."""

    ref: Ref
    external_id: str
    customer_id: str
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionIncomplete(SubscriptionFact):
    """It waits for the payment that activates it."""

    type: Literal["subscription.incomplete"] = "subscription.incomplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionStarted(SubscriptionFact):
    """It is active from ``at``. ``previous_plan`` set: the new half of a plan change."""

    type: Literal["subscription.started"] = "subscription.started"
    trial_ends_at: datetime | None = None
    previous_plan: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionUpdated(SubscriptionFact):
    """How it stands: the current period, a scheduled change or end. None: nothing is scheduled (any more)."""

    type: Literal["subscription.updated"] = "subscription.updated"
    current_period: Period | None = None
    next_plan: str | None = None
    next_plan_on: date | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionTrialEnded(SubscriptionFact):
    """The trial is over."""

    type: Literal["subscription.trial_ended"] = "subscription.trial_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSuperseded(SubscriptionFact):
    """This row gave way to another of the same agreement (plan change). Access does not end."""

    type: Literal["subscription.superseded"] = "subscription.superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionCanceled(SubscriptionFact):
    """This row never became active: a pending change called off, or an activation that failed (``reason``)."""

    type: Literal["subscription.canceled"] = "subscription.canceled"
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionEnded(SubscriptionFact):
    """The agreement is over."""

    type: Literal["subscription.ended"] = "subscription.ended"
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFinalized(Fact):
    """A document to be paid. Amounts in minor units of ``currency``; ``due`` is what is to be paid before any payment.

    ``collected_by_engine``: the engine charges this customer through a provider of its own; we only watch.
    """

    type: Literal["invoice.finalized"] = "invoice.finalized"
    ref: Ref
    customer_id: str
    number: str | None = None
    kind: str = "subscription"
    currency: str
    total: int
    taxes: int
    due: int
    issued_on: date | None = None
    due_on: date | None = None
    collected_by_engine: bool = False
    subscriptions: tuple[str, ...] = ()
    period: Period | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceObserved(Fact):
    """How the billing engine sees an invoice at ``at``: its status, what it believes was paid and is due."""

    type: Literal["invoice.observed"] = "invoice.observed"
    ref: Ref
    customer_id: str | None = None
    number: str | None = None
    status: InvoiceStatus
    payment_status: PaymentStatus
    currency: str
    total: int
    due: int
    paid: int
    overdue: bool = False
    dispute_lost_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceVoided(Fact):
    """Nothing is due any more. Voided, or a draft that was deleted."""

    type: Literal["invoice.voided"] = "invoice.voided"
    ref: Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionRequested(Fact):
    """Somebody asked the billing engine to try this invoice again, and the engine has no provider of its own."""

    type: Literal["invoice.collection_requested"] = "invoice.collection_requested"
    ref: Ref
    customer_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCollectionFailed(Fact):
    """The billing engine's own provider failed to collect."""

    type: Literal["invoice.engine_collection_failed"] = "invoice.engine_collection_failed"
    ref: Ref
    customer_id: str | None = None
    provider: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceWrittenOff(Fact):
    """An operator gave the debt up: it is not collected and counts against nobody's access. ``by``: who, ``reason``: why."""

    type: Literal["invoice.written_off"] = "invoice.written_off"
    ref: Ref
    customer_id: str | None = None
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceReinstated(Fact):
    """A debt that was given up is asked for again."""

    type: Literal["invoice.reinstated"] = "invoice.reinstated"
    ref: Ref
    customer_id: str | None = None
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteIssued(Fact):
    """A credit note exists. ``refund`` (minor units) is to be given back as money; ``engine_refunds``: the engine
    does that at its own provider. ``for_refund``: the refund it documents, when we issued it."""

    type: Literal["credit_note.issued"] = "credit_note.issued"
    ref: Ref
    invoice: Ref
    number: str | None = None
    amount: Money
    refund: int = 0
    refund_status: RefundStatus | None = None
    reason: str | None = None
    engine_refunds: bool = False
    for_refund: Ref | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFact(Fact):
    """Base of what is said about one payment.

    ``amount`` is what the customer pays in all; ``applied`` what counts towards the invoice; ``metadata`` is what we
    (or others) put on it, from which the host finds the invoice. ``saves_method``: a set-up payment, settles nothing.
    ``settled`` is ``applied`` in the currency the provider settles in, for customers billed in another one.
    """

    ref: Ref
    amount: Money
    applied: Money
    settled: Money | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    session: str | None = None
    provider_customer: str | None = None
    method: PaymentMethod | None = None
    saves_method: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentProcessing(PaymentFact):
    """On its way; may still fail, days later for a bank debit. ``requires_action``: the customer must do something."""

    type: Literal["payment.processing"] = "payment.processing"
    requires_action: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSucceeded(PaymentFact):
    """The money moved. Final but for refunds and disputes."""

    type: Literal["payment.succeeded"] = "payment.succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFailed(PaymentFact):
    """Declined."""

    type: Literal["payment.failed"] = "payment.failed"
    decline: Decline


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCanceled(PaymentFact):
    """Given up before any money moved."""

    type: Literal["payment.canceled"] = "payment.canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundChanged(Fact):
    """A refund of ``payment`` stands at ``status``. ``amount`` None: the rest of the payment."""

    type: Literal["refund.changed"] = "refund.changed"
    ref: Ref
    payment: Ref
    status: RefundStatus
    amount: Money | None = None
    reason: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeChanged(Fact):
    """A dispute of ``payment`` stands at ``status``."""

    type: Literal["dispute.changed"] = "dispute.changed"
    ref: Ref
    payment: Ref
    status: DisputeStatus
    amount: Money
    stage: str | None = None
    reason: str | None = None
    resolved_by_refund: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateChanged(Fact):
    """A standing permission stands at ``status``; ``metadata`` names whose it is.

    ``setup``: the provider's id of the set-up (:class:`billhook.methods.Setup`) that gave it; None: nothing says so.
    """

    type: Literal["mandate.changed"] = "mandate.changed"
    ref: Ref
    status: MandateStatus
    provider_customer: str | None = None
    currency: str | None = None
    method: PaymentMethod | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    setup: str | None = None


Event = (
    CustomerObserved
    | CustomerTagged
    | CustomerUntagged
    | CustomerDelegated
    | SubscriptionIncomplete
    | SubscriptionStarted
    | SubscriptionUpdated
    | SubscriptionTrialEnded
    | SubscriptionSuperseded
    | SubscriptionCanceled
    | SubscriptionEnded
    | InvoiceFinalized
    | InvoiceObserved
    | InvoiceVoided
    | CollectionRequested
    | EngineCollectionFailed
    | InvoiceWrittenOff
    | InvoiceReinstated
    | CreditNoteIssued
    | PaymentProcessing
    | PaymentSucceeded
    | PaymentFailed
    | PaymentCanceled
    | RefundChanged
    | DisputeChanged
    | MandateChanged
)

SubscriptionEvent = (
    SubscriptionIncomplete
    | SubscriptionStarted
    | SubscriptionUpdated
    | SubscriptionTrialEnded
    | SubscriptionSuperseded
    | SubscriptionCanceled
    | SubscriptionEnded
)
InvoiceEvent = (
    InvoiceFinalized
    | InvoiceObserved
    | InvoiceVoided
    | CollectionRequested
    | EngineCollectionFailed
    | InvoiceWrittenOff
    | InvoiceReinstated
)
CustomerEvent = CustomerTagged | CustomerUntagged | CustomerDelegated
"""What operators say of a customer; it counts for access alone."""
PaymentEvent = PaymentProcessing | PaymentSucceeded | PaymentFailed | PaymentCanceled


EVENT_TYPES: Final = frozenset(
    str(each.default) for kind in get_args(Event) for each in fields(kind) if each.name == "type"
)
"""The name of every fact there is, as ``type`` holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refetch:
    """A thin webhook: it names a thing that must be fetched before anything can be said about it.

    ``kind`` and ``id`` mean what the source that returned it makes of them.
    """

    kind: str
    id: str
    hints: Mapping[str, str] = field(default_factory=dict)


@cache
def _adapter() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Field(discriminator="type")])


def to_json(event: Event) -> str:
    """Write a fact as canonical JSON: the same fact always gives the same text.

    :raises ValueError: a field holds a value of another type than it says; read back, it would not be this fact.
    """
    plain: Any = _adapter().dump_python(event, mode="json", warnings="error")
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str | bytes) -> Event:
    """Read a fact written by :func:`to_json`."""
    return _adapter().validate_json(text)


def all_to_json(events: Iterable[Event]) -> str:
    """Write several facts as one JSON array."""
    return "[" + ",".join(to_json(event) for event in events) + "]"


def all_from_json(text: str) -> list[Event]:
    """Read what :func:`all_to_json` wrote."""
    return [from_json(json.dumps(each)) for each in json.loads(text)]


def fact_key(event: Event) -> str:
    """Return what makes this fact this fact: a repetition of it has the same key, a newer statement another.

    An undated fact (``at`` None) must be dated first: its time is part of what it says.
    """
    if event.at is None:
        raise ValueError(f"{event.type} has no time; date it before asking for its key")
    return hashlib.sha256(to_json(event).encode()).hexdigest()


def dated(event: Event, *, heard_at: datetime) -> Event:
    """Return ``event`` with a time: its own, or when we heard of it."""
    return event if event.at is not None else replace(event, at=heard_at)
