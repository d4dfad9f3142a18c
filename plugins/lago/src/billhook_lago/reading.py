"""Reading Lago's JSON: typed access to its fields, refusing what is not what Lago writes.

Lago's published schema is unreliable about which fields may be null or absent, and older servers leave newer fields
out, so most readers have a form that gives None. What is there must have the right type: an amount that came as text
or a fraction is refused, never guessed. Everything raises :class:`PayloadInvalid`, naming the field and no value.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from billhook.errors import PayloadInvalid
from billhook.model import Period

Json = Mapping[str, Any]
"""A JSON object at the edge."""


def obj(source: Json, key: str) -> Json:
    """Return the object under ``key``."""
    value = source.get(key)
    if not isinstance(value, dict):
        raise PayloadInvalid(f"{key} is not an object")
    return value


def obj_or_empty(source: Json, key: str) -> Json:
    """Return the object under ``key``; an empty one when it is absent or null."""
    return {} if source.get(key) is None else obj(source, key)


def rows(source: Json, key: str) -> list[Json]:
    """Return the objects listed under ``key``; none when it is absent or null."""
    value = source.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise PayloadInvalid(f"{key} is not a list of objects")
    return value


def text(source: Json, key: str) -> str:
    """Return the text under ``key``, which must not be empty."""
    value = source.get(key)
    if not isinstance(value, str) or not value:
        raise PayloadInvalid(f"{key} is missing or not text")
    return value


def text_or_none(source: Json, key: str) -> str | None:
    """Return the text under ``key``; None when it is absent, null or empty, which Lago uses alike."""
    return text(source, key) if source.get(key) not in (None, "") else None


def cents(source: Json, key: str) -> int:
    """Return the amount under ``key`` in minor units."""
    value = source.get(key)
    if type(value) is not int:  # a bool is an int to isinstance
        raise PayloadInvalid(f"{key} is not a whole number of minor units")
    return value


def cents_or(source: Json, key: str, default: int) -> int:
    """Return the amount under ``key`` in minor units; ``default`` when it is absent or null."""
    return default if source.get(key) is None else cents(source, key)


def flag(source: Json, key: str) -> bool:
    """Return the truth under ``key``; absent and null are false."""
    value = source.get(key)
    if value is not None and not isinstance(value, bool):
        raise PayloadInvalid(f"{key} is not true or false")
    return bool(value)


def instant(source: Json, key: str) -> datetime | None:
    """Return the time under ``key`` in UTC; None when it is absent or null. A time without a zone is refused."""
    value = text_or_none(source, key)
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        aware = parsed.tzinfo is not None and len(value) > len("YYYY-MM-DD")
        converted = parsed.astimezone(UTC) if aware else None
    except (ValueError, OverflowError):
        converted = None
    if converted is None:
        raise PayloadInvalid(f"{key} is not a time with a zone")
    return converted


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
