"""Billing periods in UTC: which ``[start, end)`` an instant falls into, and what part of a price a stretch costs."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

_MONTHS = {"monthly": 1, "quarterly": 3, "semiannual": 6, "yearly": 12}


def period_of(at: datetime, *, interval: str, anchor: datetime | None) -> tuple[datetime, datetime]:
    """Return the period ``at`` falls into.

    :param interval: ``weekly``, ``monthly``, ``quarterly``, ``semiannual`` or ``yearly``.
    :param anchor: the day an anniversary subscription renews on; None for the calendar.
    """
    if interval == "weekly":
        return _weekly(at, anchor)
    if anchor is None:
        return _calendar(at, _MONTHS[interval])
    return _anniversary(at, _midnight(anchor), _MONTHS[interval])


def part_cents(
    amount_cents: int, *, start: datetime, end: datetime, period: tuple[datetime, datetime]
) -> int:
    """Return the price of ``[start, end)`` as a part of the period, by whole days, half a cent up."""
    whole = (_midnight(period[1]) - _midnight(period[0])).days
    days = max(0, min(whole, (_midnight(end) - _midnight(start)).days))
    return (2 * amount_cents * days + whole) // (2 * whole)


def add_months(at: datetime, months: int) -> datetime:
    """Return the same day ``months`` later, or the last day of a shorter month."""
    index = at.year * 12 + at.month - 1 + months
    year, month = divmod(index, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return at.replace(year=year, month=month + 1, day=min(at.day, last))


def _midnight(at: datetime) -> datetime:
    return datetime(at.year, at.month, at.day, tzinfo=UTC)


def _weekly(at: datetime, anchor: datetime | None) -> tuple[datetime, datetime]:
    first_day = 0 if anchor is None else anchor.weekday()
    start = _midnight(at) - timedelta(days=(at.weekday() - first_day) % 7)
    return start, start + timedelta(days=7)


def _calendar(at: datetime, months: int) -> tuple[datetime, datetime]:
    start = datetime(at.year, (at.month - 1) // months * months + 1, 1, tzinfo=UTC)
    return start, add_months(start, months)


def _anniversary(at: datetime, anchor: datetime, months: int) -> tuple[datetime, datetime]:
    elapsed = (at.year - anchor.year) * 12 + at.month - anchor.month
    steps = elapsed // months
    if add_months(anchor, steps * months) > at:
        steps -= 1
    return add_months(anchor, steps * months), add_months(anchor, (steps + 1) * months)
