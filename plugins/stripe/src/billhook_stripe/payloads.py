"""Typed values out of Stripe's JSON: each reader takes an object and a key, and names the key when it is wrong.

Only what is needed is read and everything else is let pass: Stripe adds properties with every release.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from billhook.errors import PayloadInvalid
from billhook.money import Money

Json = Mapping[str, Any]

_LARGEST = 10**13  # minor units; beyond it is a mistake, not money
_LAST_SECOND = 4_102_444_800  # the year 2100


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


def id_of(data: Json, key: str) -> str | None:
    """Return the id under ``key``, whether Stripe wrote the id alone or expanded the object; None when it is null."""
    value = data.get(key)
    return maybe_text(value, "id") if isinstance(value, dict) else maybe_text(data, key)


def expanded(data: Json, key: str) -> Json:
    """Return the object under ``key`` when Stripe expanded it, else an empty one."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def whole(data: Json, key: str) -> int:
    """Return a whole number from 0."""
    value = data.get(key)
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise PayloadInvalid(f"{key}: expected a whole number, got {_kind(value)}")
    return value


def money(data: Json, key: str) -> Money:
    """Return the amount under ``key``; Stripe writes its currency, in lower case, under ``currency``."""
    try:
        return Money(whole(data, key), text(data, "currency").upper())
    except ValueError as exc:
        raise PayloadInvalid(f"currency: {exc}") from None


def instant(data: Json, key: str) -> datetime:
    """Return a time, which Stripe writes as seconds since 1970, in UTC."""
    seconds = whole(data, key)
    if seconds > _LAST_SECOND:
        raise PayloadInvalid(f"{key}: expected seconds since 1970")
    return datetime.fromtimestamp(seconds, UTC)


def words(data: Json, key: str) -> dict[str, str]:
    """Return metadata: text by text."""
    return {name: value for name, value in maybe_record(data, key).items() if isinstance(value, str)}


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
