"""Whole days in an account's time zone: when a day begins, and which day an instant belongs to."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_ONE_DAY = timedelta(days=1)


@lru_cache(maxsize=8192)
def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of ``day`` in ``zone``, in UTC.

    Where clocks skip midnight it is the instant of the jump; where they repeat it, its first occurrence.
    """
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def day_of(instant: datetime, zone: ZoneInfo) -> date:
    """Return the last day that has begun in ``zone`` at ``instant``.

    That is the local date, except for the few minutes where clocks go back over midnight: a day that began stays.
    """
    day = instant.astimezone(zone).date()
    return day + _ONE_DAY if midnight(day + _ONE_DAY, zone) <= instant else day


def begins(day: date, days: int, zone: ZoneInfo) -> datetime:
    """Return when ``days`` whole days since ``day`` are reached."""
    return midnight(day + timedelta(days=days), zone)


def instant_of(moment: datetime | date, zone: ZoneInfo) -> datetime:
    """Return an instant as it is, and a date as its first moment in ``zone``."""
    return moment if isinstance(moment, datetime) else midnight(moment, zone)
