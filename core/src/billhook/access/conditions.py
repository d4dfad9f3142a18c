"""Since when the rules of a policy hold, if nothing new happens.

Without new facts an invoice only grows older and a debit in flight only lapses, so every condition, once it holds,
goes on holding: one instant says all about it, and the latest of its conditions' instants all about a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from heapq import merge
from itertools import chain

from billhook.access.debts import ALWAYS, Debts
from billhook.access.ledger import Ledger
from billhook.access.rules import Policy, Rule, When

Times = tuple[datetime | None, ...]
Arrival = tuple[datetime, int]
Condition = Callable[[Debts], datetime | None]


class Rulebook:
    """The rules of a policy, made ready once for being held against many states of affairs."""

    def __init__(self, policy: Policy) -> None:
        self._rules: tuple[tuple[Rule, tuple[Condition, ...]], ...] = tuple(
            (rule, tuple(_conditions(rule.when))) for rule in policy.rules
        )
        self._never: Times = (None,) * len(policy.rules)
        self._needs_debts = all(conditions for _, conditions in self._rules)

    def times(self, debts: Debts, ledger: Ledger, tags: set[str]) -> Times:
        """Return for each rule since when all its conditions hold if nothing new happens; None: never."""
        if self._needs_debts and not debts.open:
            return self._never
        return tuple(
            _holds_from(conditions, debts) if _applies(rule.when, debts, ledger, tags) else None
            for rule, conditions in self._rules
        )


def _applies(when: When, debts: Debts, ledger: Ledger, tags: set[str]) -> bool:
    """Tell whether the conditions hold that no passing of time changes."""
    if when.has_tag is not None and when.has_tag not in tags:
        return False
    if when.lacks_tag is not None and when.lacks_tag in tags:
        return False
    return when.dispute is None or ledger.disputed(when.dispute, debts.subscription) is not None


def _holds_from(conditions: tuple[Condition, ...], debts: Debts) -> datetime | None:
    latest = ALWAYS
    for condition in conditions:
        time = condition(debts)
        if time is None:
            return None
        latest = max(latest, time)
    return latest


def _conditions(when: When) -> Iterator[Condition]:
    if (overdue := when.overdue_days) is not None:
        yield lambda debts: _first(debts, debts.by_due, lambda name: debts.overdue_from(name, overdue))
    if (age := when.unpaid_days) is not None:
        yield lambda debts: _first(debts, debts.by_age, lambda name: debts.aged_from(name, age))
    if (since := when.payment_failed_days) is not None:
        yield lambda debts: _first(debts, debts.by_failure, lambda name: debts.failed_from(name, since))
    if (unpaid := when.unpaid_balance) is not None:
        yield lambda debts: _earliest(_reached(debts, *limit, overdue=False) for limit in unpaid)
    if (late := when.overdue_balance) is not None:
        yield lambda debts: _earliest(_reached(debts, *limit, overdue=True) for limit in late)
    if (number := when.unpaid_invoices) is not None:
        yield lambda debts: _nth(debts, number)
    if (wanted := when.last_failure) is not None:
        yield lambda debts: _failed_with(debts, wanted)


def _failed_with(debts: Debts, wanted: tuple[str, ...]) -> datetime | None:
    best: datetime | None = None
    for name in chain.from_iterable(debts.declined.get(word, ()) for word in wanted):
        if name not in debts.covered:
            return ALWAYS
        best = min(best or debts.covered[name], debts.covered[name])
    return best


def _first(
    debts: Debts, ordered: Iterable[tuple[object, str]], crossed: Callable[[str], datetime | None]
) -> datetime | None:
    best: datetime | None = None
    for _, name in ordered:
        time = crossed(name)
        if time is not None:
            best = time if best is None else min(best, time)
        if name not in debts.covered:
            break  # later ones cross later
    return best


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min((time for time in times if time is not None), default=None)


def _reached(debts: Debts, currency: str, limit: int, *, overdue: bool) -> datetime | None:
    if debts.totals.get(currency, 0) < limit:
        return None
    flying = sorted(_arrivals(debts, currency, debts.covered, overdue=overdue))
    total = 0
    if overdue:
        names = (name for _, name in debts.by_due if name not in debts.covered)
        arriving: Iterable[Arrival] = _arrivals(debts, currency, names, overdue=True)
        arriving = merge(arriving, flying) if flying else arriving
    else:
        total = debts.totals[currency] - sum(amount for _, amount in flying)
        arriving = flying
    if total >= limit:
        return ALWAYS
    for time, amount in arriving:
        total += amount
        if total >= limit:
            return time
    return None


def _arrivals(debts: Debts, currency: str, names: Iterable[str], *, overdue: bool) -> Iterator[Arrival]:
    """Yield when each of some open invoices begins to count, if it is in that currency, and how much it is."""
    begin = debts.overdue_from if overdue else debts.unpaid_from
    for name in names:
        code, amount = debts.balance(name)
        if code == currency:
            yield begin(name), amount


def _nth(debts: Debts, number: int) -> datetime | None:
    missing = number - (len(debts.open) - len(debts.covered))
    if missing <= 0:
        return ALWAYS
    lapses = sorted(debts.covered.values())
    return lapses[missing - 1] if missing <= len(lapses) else None
