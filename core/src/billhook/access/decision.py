"""The answer: may this customer use it at that instant, why, since when and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from billhook.access.facts import written
from billhook.access.rules import Access, CancelEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One condition that holds. ``rule`` is the standing it gives, None for a reason of the lifecycle.

    ``days`` and ``threshold`` compare like with like: days, an amount in minor units of ``currency``, a number of
    invoices; a tag or a decline code as text. None: has no meaning for this reason.
    """

    rule: str | None
    because: str
    text: str
    invoice: str | None = None
    days: int | None = None
    threshold: int | str | None = None
    amount: int | None = None
    currency: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; every key is always there."""
        return {
            "rule": self.rule,
            "because": self.because,
            "invoice": self.invoice,
            "days": self.days,
            "threshold": self.threshold,
            "amount": self.amount,
            "currency": self.currency,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What the customer's state and access become at ``next_change_at`` if nothing new happens."""

    state: str
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionDecision:
    """The answer for one subscription. ``paid_through`` None: nothing is prepaid."""

    state: str
    access: Access
    paid_through: datetime | None = None
    reasons: tuple[Reason, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "state": self.state,
            "access": self.access.value,
            "paid_through": written(self.paid_through) if self.paid_through else None,
            "reasons": [reason.to_json() for reason in self.reasons],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer for one customer at one instant.

    ``since`` is when the present (standing, state, access, block_changes) began, None when there is no fact at all.
    ``unpaid`` and ``overdue`` are the customer's own, in minor units by currency. ``cancel`` is what the matching rule
    does to subscriptions. ``next_change_at`` None: it never changes by itself.
    """

    customer: str
    at: datetime
    standing: str
    state: str
    access: Access
    block_changes: bool = False
    cancel: CancelEffect = "none"
    since: datetime | None = None
    unpaid: Mapping[str, int] = field(default_factory=dict)
    overdue: Mapping[str, int] = field(default_factory=dict)
    unpaid_invoices: int = 0
    oldest_unpaid_on: date | None = None
    reasons: tuple[Reason, ...] = ()
    next_change_at: datetime | None = None
    next: Next | None = None
    prevented_by: tuple[str, ...] = ()
    subscriptions: Mapping[str, SubscriptionDecision] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, in the contract's shape."""
        return {
            "customer": self.customer,
            "at": written(self.at),
            "standing": self.standing,
            "state": self.state,
            "access": self.access.value,
            "block_changes": self.block_changes,
            "since": written(self.since) if self.since else None,
            "unpaid": dict(self.unpaid),
            "overdue": dict(self.overdue),
            "unpaid_invoices": self.unpaid_invoices,
            "oldest_unpaid_on": written(self.oldest_unpaid_on) if self.oldest_unpaid_on else None,
            "reasons": [reason.to_json() for reason in self.reasons],
            "next_change_at": written(self.next_change_at) if self.next_change_at else None,
            "next": {"state": self.next.state, "access": self.next.access.value} if self.next else None,
            "prevented_by": list(self.prevented_by),
            "subscriptions": {name: each.to_json() for name, each in self.subscriptions.items()},
        }
