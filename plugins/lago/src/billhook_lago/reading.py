"""Typed values out of Lago's JSON: the readers of :mod:`billhook.payloads`, and those of what only Lago writes so.

Lago's published schema is unreliable about which fields may be null or absent, and older servers leave newer fields
out, so most readers have a form that gives None. What is there must have the right type: an amount that came as text
or a fraction is refused, never guessed. Everything raises :class:`PayloadInvalid`, naming the field and no value.
"""

from __future__ import annotations

from datetime import date, timedelta

from billhook.errors import PayloadInvalid
from billhook.model import Period
from billhook.payloads import LARGEST, Json, flag, records, text, whole
from billhook.payloads import maybe_instant as instant
from billhook.payloads import maybe_record as obj_or_empty
from billhook.payloads import maybe_text as text_or_none  # absent, null and empty, which Lago uses alike
from billhook.payloads import record as obj

__all__ = [
    "Json",
    "cents",
    "cents_or",
    "day",
    "flag",
    "instant",
    "obj",
    "obj_or_empty",
    "period",
    "rows",
    "text",
    "text_or_none",
]


def rows(source: Json, key: str) -> list[Json]:
    """Return the objects listed under ``key``; none when it is absent or null."""
    return list(records(source, key))


def cents(source: Json, key: str) -> int:
    """Return the amount under ``key`` in minor units; what is owed back is below zero."""
    return whole(source, key, least=-LARGEST, of="minor units")


def cents_or(source: Json, key: str, default: int) -> int:
    """Return the amount under ``key`` in minor units; ``default`` when it is absent or null."""
    return default if source.get(key) is None else cents(source, key)


def day(source: Json, key: str) -> date | None:
    """Return the date under ``key``; None when it is absent or null."""
    value = text_or_none(source, key)
    if value is None:
        return None
    try:
        return date.fromisoformat(value[:10])  # some servers write a date as midnight
    except ValueError:
        raise PayloadInvalid(f"{key} is not a date") from None


def period(source: Json, start: str, end: str) -> Period | None:
    """Return the stretch between two times, half-open; None when Lago gives none (a product-catalog plan).

    Lago's end is inclusive, the last second of a day: 23:59:59 there is midnight here.
    """
    begin, last = instant(source, start), instant(source, end)
    if begin is None or last is None:
        return None
    stop = last.replace(microsecond=0) + timedelta(seconds=1) if last.second == 59 else last
    return Period(start=begin, end=stop) if begin < stop else None
