"""Typed values out of Dodo's JSON: each reader takes an object and a key, and names the key when it is wrong.

Only what is needed is read and everything else is let pass: Dodo adds properties about monthly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from billhook.errors import PayloadInvalid
from billhook.money import Money

Json = Mapping[str, Any]

_DIGITS = re.compile(r"[0-9]{1,15}")
_LARGEST = 10**15  # minor units; beyond it is a mistake, not money


def parsed(body: bytes) -> Json:
    """Return the JSON object that ``body`` is; raises :class:`PayloadInvalid` for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadInvalid("the body is not JSON") from None
    if not isinstance(value, dict):
        raise PayloadInvalid("the body is not a JSON object")
    return value


def text(data: Json, key: str) -> str:
    """Return a string that must be there."""
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise PayloadInvalid(f"{key}: expected text, got {_kind(value)}")
    return value


def maybe_text(data: Json, key: str) -> str | None:
    """Return a string, or None when it is null, absent or empty."""
    return None if data.get(key) in (None, "") else text(data, key)


def record(data: Json, key: str) -> Json:
    """Return an object that must be there."""
    value = data.get(key)
    if not isinstance(value, dict):
        raise PayloadInvalid(f"{key}: expected an object, got {_kind(value)}")
    return value


def maybe_record(data: Json, key: str) -> Json:
    """Return an object; an empty one when it is null or absent."""
    return {} if data.get(key) is None else record(data, key)


def records(data: Json, key: str) -> Iterator[Json]:
    """Iterate over a list of objects; over nothing when it is null or absent."""
    value = data.get(key)
    if not isinstance(value, list | None):
        raise PayloadInvalid(f"{key}: expected a list, got {_kind(value)}")
    for entry in value or ():
        if not isinstance(entry, dict):
            raise PayloadInvalid(f"{key}: expected objects in the list, got {_kind(entry)}")
        yield entry


def minor(data: Json, key: str) -> int:
    """Return an amount in minor units. Dodo writes integers, and strings of digits in disputes."""
    value = data.get(key)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise PayloadInvalid(f"{key}: expected a whole number of minor units, got {_kind(value)}")
    return value


def money(data: Json, key: str, currency_key: str) -> Money:
    """Return the amount under ``key`` in the currency under ``currency_key``."""
    try:
        return Money(minor(data, key), text(data, currency_key))
    except ValueError as exc:
        raise PayloadInvalid(f"{currency_key}: {exc}") from None


def maybe_money(data: Json, key: str, currency_key: str) -> Money | None:
    """Return the amount, or None when it or its currency is null or absent."""
    if data.get(key) is None or data.get(currency_key) is None:
        return None
    return money(data, key, currency_key)


def instant(data: Json, key: str) -> datetime | None:
    """Return an ISO 8601 time in UTC, or None when it is null or absent. A time without a zone is refused."""
    value = maybe_text(data, key)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise PayloadInvalid(f"{key}: the time has no zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise PayloadInvalid(f"{key}: expected an ISO 8601 time") from None


def words(data: Json, key: str) -> dict[str, str]:
    """Return metadata as text: Dodo allows strings, numbers and booleans as values."""
    return {name: _word(value) for name, value in maybe_record(data, key).items() if value is not None}


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _kind(value: object) -> str:
    """Name a value's JSON type without showing it: it may be personal."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case str():
            return "text" if value else "empty text"
        case int() | float():
            return "another number"
        case list():
            return "a list"
        case _:
            return "an object"
