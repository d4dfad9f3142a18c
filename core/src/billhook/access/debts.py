"""Open invoices kept in order: since when each is unpaid, of an age or overdue, if nothing new happens."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from billhook.access.calendar import begins, day_of
from billhook.access.ledger import InvoiceState, decline_words
from billhook.access.rules import Policy

ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
"""Holds already, whatever the clock says."""

Dated = tuple[date, str]
Timed = tuple[datetime, str]


class _Keys(NamedTuple):
    """Where an invoice stands in the sorted lists, remembered for taking it out again."""

    due: date
    issued: date
    failed: datetime | None
    currency: str
    balance: int
    lapse: datetime | None
    declined: tuple[str, ...]


class Debts:
    """The open invoices of an account, or of one subscription of it."""

    def __init__(
        self,
        policy: Policy,
        zone: ZoneInfo,
        invoices: Iterable[InvoiceState] = (),
        *,
        subscription: str | None = None,
    ) -> None:
        self.policy = policy
        self.zone = zone
        self.subscription = subscription
        self.open: dict[str, InvoiceState] = {}
        self.covered: dict[str, datetime] = {}  # by a debit in flight, until then
        self.declined: dict[str, dict[str, None]] = {}  # by decline code and class: the latest attempt failed
        self.totals: dict[str, int] = {}
        self._keys: dict[str, _Keys] = {}
        self._due: list[Dated] = []
        self._issued: list[Dated] = []
        self._failed: list[Timed] = []
        self._lapses: list[Timed] = []
        for invoice in invoices:
            self.update(invoice)

    def update(self, invoice: InvoiceState, *, counts: bool = True) -> None:
        """Take an invoice in, out, or over after a fact about it. ``counts``: whether it belongs here at all."""
        self._discard(invoice.id)
        document = invoice.document
        if document is None or not counts or not invoice.is_open:
            return
        keys = _Keys(
            document.due_date,
            document.issue_date,
            invoice.first_failed_at,
            document.currency,
            invoice.balance,
            invoice.covered_until,
            decline_words(invoice.failure),
        )
        self.open[invoice.id], self._keys[invoice.id] = invoice, keys
        insort(self._due, (keys.due, invoice.id))
        insort(self._issued, (keys.issued, invoice.id))
        if keys.failed is not None:
            insort(self._failed, (keys.failed, invoice.id))
        if keys.lapse is not None:
            self.covered[invoice.id] = keys.lapse
            insort(self._lapses, (keys.lapse, invoice.id))
        for word in keys.declined:
            self.declined.setdefault(word, {})[invoice.id] = None
        self.totals[keys.currency] = self.totals.get(keys.currency, 0) + keys.balance

    def _discard(self, name: str) -> None:
        keys = self._keys.pop(name, None)
        if keys is None:
            return
        del self.open[name]
        if self.covered.pop(name, None) is not None and keys.lapse is not None:
            del self._lapses[bisect_left(self._lapses, (keys.lapse, name))]
        for word in keys.declined:
            del self.declined[word][name]
        del self._due[bisect_left(self._due, (keys.due, name))]
        del self._issued[bisect_left(self._issued, (keys.issued, name))]
        if keys.failed is not None:
            del self._failed[bisect_left(self._failed, (keys.failed, name))]
        self.totals[keys.currency] -= keys.balance

    def pass_to(self, now: datetime) -> None:
        """Forget the debits in flight that lapse by now: what is asked from here on, they do not cover."""
        while self._lapses and self._lapses[0][0] <= now:
            del self.covered[self._lapses.pop(0)[1]]

    @property
    def by_age(self) -> list[Dated]:
        """Return (date, invoice) of every open invoice, oldest first, by the date that ages run from."""
        return self._due if self.policy.age_from == "due_date" else self._issued

    @property
    def by_due(self) -> list[Dated]:
        """Return (due date, invoice) of every open invoice, earliest first."""
        return self._due

    @property
    def by_failure(self) -> list[Timed]:
        """Return (first failed attempt, invoice) of every open invoice that has one, earliest first."""
        return self._failed

    def overdue_from(self, name: str, days: int = 1) -> datetime:
        """Return when an open invoice is unpaid and that many whole days past its due date (at least one)."""
        crossed = begins(self._keys[name].due, max(days, 1), self.zone)
        return max(crossed, self.covered.get(name, ALWAYS))

    def aged_from(self, name: str, days: int) -> datetime:
        """Return when an open invoice is unpaid and that many whole days old."""
        keys = self._keys[name]
        start = keys.due if self.policy.age_from == "due_date" else keys.issued
        return max(begins(start, days, self.zone), self.covered.get(name, ALWAYS))

    def failed_from(self, name: str, days: int) -> datetime | None:
        """Return when an open invoice is unpaid and its first failed attempt that many whole days ago."""
        failed = self._keys[name].failed
        if failed is None:
            return None
        crossed = failed if days == 0 else begins(day_of(failed, self.zone), days, self.zone)
        return max(crossed, self.covered.get(name, ALWAYS))

    def unpaid_from(self, name: str) -> datetime:
        """Return when an open invoice is unpaid: at once, or when the debit in flight lapses."""
        return self.covered.get(name, ALWAYS)

    def balance(self, name: str) -> tuple[str, int]:
        """Return currency and balance of an open invoice."""
        return self._keys[name].currency, self._keys[name].balance


@dataclass(frozen=True, slots=True)
class Owed:
    """What is unpaid at an instant: minor units by currency, how many invoices, and the oldest one's date."""

    unpaid: dict[str, int]
    overdue: dict[str, int]
    invoices: int
    oldest_on: date | None


def owed_at(debts: Debts, at: datetime) -> Owed:
    """Add up what is unpaid, and what of it is overdue, at ``at``."""
    unpaid = {code: total for code, total in debts.totals.items() if total}
    overdue = dict(unpaid)
    for name, lapse in debts.covered.items():
        if lapse > at:
            currency, balance = debts.balance(name)
            unpaid[currency] -= balance
            overdue[currency] -= balance
    for _, name in reversed(debts.by_due):
        lapse = debts.unpaid_from(name)
        if lapse > at:
            continue
        if debts.overdue_from(name) <= at:
            break  # all others are due earlier
        currency, balance = debts.balance(name)
        overdue[currency] -= balance
    counted = (day for day, name in debts.by_age if debts.unpaid_from(name) <= at)
    covered = sum(1 for lapse in debts.covered.values() if lapse > at)
    return Owed(_some(unpaid), _some(overdue), len(debts.open) - covered, next(counted, None))


def _some(amounts: dict[str, int]) -> dict[str, int]:
    return {code: amount for code, amount in amounts.items() if amount}
