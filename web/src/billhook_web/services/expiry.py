"""How long a card is still good for, as far as its owner should hear of it."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import Final

SOON: Final = timedelta(days=30)
"""A card that ends within this time is said to expire soon: the next monthly invoice may come too late for it."""


class Expiry(StrEnum):
    """Where a payment method stands."""

    NONE = "none"  # it has no end, as a bank account
    GOOD = "good"
    SOON = "soon"
    OVER = "over"


def last_day(expires: str | None) -> date | None:
    """Return the last day a card is good for, from ``YYYY-MM``; None: it says none that can be read."""
    year, dash, month = (expires or "").partition("-")
    if not (
        dash and year.isdecimal() and month.isdecimal() and 1 <= int(month) <= 12 and 0 < int(year) < 9999
    ):
        return None
    after = date(int(year) + int(month) // 12, int(month) % 12 + 1, 1)
    return after - timedelta(days=1)


def expiry_of(expires: str | None, *, today: date) -> Expiry:
    """Say where a method stands on a day; a card is good until the end of its month."""
    last = last_day(expires)
    if last is None:
        return Expiry.NONE
    if last < today:
        return Expiry.OVER
    return Expiry.SOON if last - today <= SOON else Expiry.GOOD
