"""Dated facts of one account: what was billed, paid, taken back and agreed, and since when each is true.

Amounts are ints in minor units. ``at`` is in UTC. Where a :class:`datetime.date` stands for an instant (the end of a
period), it is the first moment of that day in the account's time zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from billhook.model import DeclineClass

UTC_ZONE = ZoneInfo("UTC")

TagType = Literal["customer.tagged", "customer.untagged"]
LifecycleType = Literal[
    "subscription.reactivated", "subscription.paused", "subscription.resumed", "subscription.ended"
]
CancelMode = Literal["paid_through", "immediate", "at"]
AmendType = Literal["invoice.adjusted", "invoice.credited"]
MarkType = Literal["invoice.voided", "invoice.written_off", "invoice.reinstated"]
PaymentType = Literal[
    "payment.pending",
    "payment.requires_action",
    "payment.succeeded",
    "payment.failed",
    "payment.canceled",
    "payment.unknown",
]
ReversalCause = Literal["late_failure", "correction"]
DisputeType = Literal["dispute.opened", "dispute.won", "dispute.lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagChanged:
    """The customer carries a tag from now on, or no longer."""

    type: TagType
    at: datetime
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated:
    """Another customer pays from now on. ``pays`` is their id; None: the customer pays again."""

    at: datetime
    pays: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A subscription began. ``trial_ends_at`` None: no trial."""

    at: datetime
    subscription: str
    plan: str
    trial_ends_at: datetime | date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled:
    """A subscription was told to end: with what is prepaid, at once, or at ``ends_at`` (mode ``at`` only)."""

    at: datetime
    subscription: str
    mode: CancelMode = "paid_through"
    ends_at: datetime | date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleChanged:
    """A subscription was reactivated, paused, resumed or ended."""

    type: LifecycleType
    at: datetime
    subscription: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What an invoice is for, ``end`` excluded."""

    start: datetime | date
    end: datetime | date


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalized:
    """An invoice was issued. Without ``subscriptions`` it belongs to the whole account."""

    at: datetime
    invoice: str
    amount: int
    currency: str
    issue_date: date
    due_date: date
    subscriptions: tuple[str, ...] = ()
    period: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """What an invoice asks for was adjusted (by a signed amount) or lowered by a credit note."""

    type: AmendType
    at: datetime
    invoice: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """An invoice was voided, written off, or reinstated after a write-off."""

    type: MarkType
    at: datetime
    invoice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentChanged:
    """How far one attempt to pay an invoice has come. ``decline`` is the code of a failure; ``decline_class`` what it
    means for trying again, None: known from the code or not at all."""

    type: PaymentType
    at: datetime
    payment: str
    invoice: str
    amount: int
    currency: str
    decline: str | None = None
    decline_class: DeclineClass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversed:
    """A payment that had succeeded (or was on its way) turned out not to have brought this amount."""

    at: datetime
    payment: str
    amount: int
    cause: ReversalCause


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """Money was given back. ``credited``: what is due falls too; else the invoice opens again."""

    at: datetime
    payment: str
    amount: int
    credited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    """The bank contests a payment, or has decided."""

    type: DisputeType
    at: datetime
    payment: str
    amount: int


AccessFact = (
    TagChanged
    | Delegated
    | Started
    | Canceled
    | LifecycleChanged
    | Finalized
    | Amended
    | Marked
    | PaymentChanged
    | Reversed
    | Refunded
    | Disputed
)
"""Everything that can be said about an account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One customer's facts, in any order, and the time zone its days are counted in."""

    id: str
    facts: tuple[AccessFact, ...] = ()
    timezone: ZoneInfo = UTC_ZONE

    def in_order(self) -> tuple[AccessFact, ...]:
        """Return the facts by ``at``, those of one instant in the order of the list, each once."""
        return tuple(sorted(dict.fromkeys(self.facts), key=_at))


def _at(fact: AccessFact) -> datetime:
    return fact.at


def written(moment: datetime | date) -> str:
    """Return an instant as ISO 8601 in UTC with ``Z``, a date as ``2012-05-31``."""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return moment.isoformat()
