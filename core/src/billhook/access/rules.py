"""The access policy as data: rules, their conditions, and the settings around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final, Literal

from billhook.access.problem import Problem

CLEAR: Final = "clear"
"""The standing of a customer no rule matches."""

AgeFrom = Literal["due_date", "issue_date"]
ActivateOn = Literal["subscription_started", "payment_confirmed"]
OnCancel = Literal["paid_through", "immediate"]
Rollup = Literal["worst", "per_subscription"]
DisputeEffect = Literal["ignore", "unpaid"]
DisputeStage = Literal["opened", "lost"]
CancelEffect = Literal["none", "immediate", "end_of_term"]


class Access(StrEnum):
    """How much of the product may be used."""

    FULL = "full"
    LIMITED = "limited"
    NONE = "none"

    @property
    def rank(self) -> int:
        """Return 0 for none, 1 for limited, 2 for full."""
        return _RANKS[self]


_RANKS: Final = {Access.NONE: 0, Access.LIMITED: 1, Access.FULL: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The conditions of a rule, all "equals or exceeds" and ANDed. None: not asked.

    Days are whole days in the account's time zone; amounts are minor units by currency.
    """

    overdue_days: int | None = None
    unpaid_days: int | None = None
    overdue_balance: tuple[tuple[str, int], ...] | None = None
    unpaid_balance: tuple[tuple[str, int], ...] | None = None
    unpaid_invoices: int | None = None
    payment_failed_days: int | None = None
    last_failure: tuple[str, ...] | None = None
    dispute: DisputeStage | None = None
    has_tag: str | None = None
    lacks_tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Gives the standing ``state`` when all its conditions hold. ``cancel`` is what happens to subscriptions then."""

    state: str
    when: When
    access: Access = Access.FULL
    block_changes: bool = False
    cancel: CancelEffect = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a customer's facts mean for access. Rules are read in order, most severe first; the first match counts.

    ``activation_timeout`` None: a pending subscription waits for ever. ``debit_counts_as_paid_for`` None: a debit
    in flight counts as unpaid. ``warnings`` are about how it was written and take no part in equality.
    """

    rules: tuple[Rule, ...] = ()
    age_from: AgeFrom = "due_date"
    activate_on: ActivateOn = "subscription_started"
    activation_timeout: timedelta | None = None
    debit_counts_as_paid_for: timedelta | None = None
    on_cancel: OnCancel = "paid_through"
    rollup: Rollup = "worst"
    prepaid_survives: bool = False
    dispute_opened: DisputeEffect = "ignore"
    dispute_lost: DisputeEffect = "unpaid"
    warnings: tuple[Problem, ...] = field(default=(), compare=False)


CONDITIONS: Final = (
    "overdue_days",
    "unpaid_days",
    "overdue_balance",
    "unpaid_balance",
    "unpaid_invoices",
    "payment_failed_days",
    "last_failure",
    "dispute",
    "has_tag",
    "lacks_tag",
)
"""The names of all conditions, in the order in which they are explained."""
