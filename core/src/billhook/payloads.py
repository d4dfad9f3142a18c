"""Typed values out of a provider's JSON: each reader takes an object and a key, and names the key when it is wrong.

Only what is needed is read and everything else is let pass, for providers add properties all the time. What is there must
have the right type: an amount that came as text or as a fraction is refused, never guessed. Every reader raises
:class:`~billhook.errors.PayloadInvalid`, which names the key, what was expected and the JSON type that came, but never the
value: it may be personal. A reader that begins with ``maybe_`` takes null and absence for "not told".

A plugin adds the readers only its provider needs: how money is written, times as seconds, enumerations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from billhook.errors import PayloadInvalid

Json = Mapping[str, Any]
"""A JSON object at the edge."""

LARGEST = 10**15
"""The largest number :func:`whole` takes unless told otherwise. As minor units, it is a mistake and not money."""


def parsed(body: bytes) -> Json:
    """Return the JSON object that ``body`` is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadInvalid("the body is not JSON") from None
    if not isinstance(value, dict):
        raise PayloadInvalid("the body is not a JSON object")
    return value


def text(data: Json, key: str) -> str:
    """Return a string that must be there and not be empty."""
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise unexpected(key, "text", value)
    return value


def maybe_text(data: Json, key: str) -> str | None:
    """Return a string, or None when it is null, absent or empty."""
    return None if data.get(key) in (None, "") else text(data, key)


def record(data: Json, key: str) -> Json:
    """Return an object that must be there."""
    value = data.get(key)
    if not isinstance(value, dict):
        raise unexpected(key, "an object", value)
    return value


def maybe_record(data: Json, key: str) -> Json:
    """Return an object; an empty one when it is null or absent."""
    return {} if data.get(key) is None else record(data, key)


def records(data: Json, key: str) -> Iterator[Json]:
    """Iterate over a list of objects; over nothing when it is null or absent."""
    value = data.get(key)
    if not isinstance(value, list | None):
        raise unexpected(key, "a list", value)
    for entry in value or ():
        if not isinstance(entry, dict):
            raise unexpected(key, "objects in the list", entry)
        yield entry


def whole(data: Json, key: str, *, least: int = 0, most: int = LARGEST, of: str = "") -> int:
    """Return a whole number from ``least`` to ``most``; ``of`` says in the error what it counts, such as seconds."""
    value = data.get(key)
    if type(value) is not int or not least <= value <= most:  # a bool is an int to isinstance
        raise unexpected(key, f"a whole number of {of}" if of else "a whole number", value)
    return value


def flag(data: Json, key: str) -> bool:
    """Return the truth under ``key``; null and absence are false."""
    value = data.get(key)
    if not isinstance(value, bool | None):
        raise unexpected(key, "true or false", value)
    return bool(value)


def maybe_instant(data: Json, key: str) -> datetime | None:
    """Return an ISO 8601 time in UTC, or None when it is null, absent or empty. A time without a zone is refused."""
    value = maybe_text(data, key)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        zoned = moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        raise PayloadInvalid(f"{key}: expected an ISO 8601 time") from None
    if zoned is None:
        raise PayloadInvalid(f"{key}: the time has no zone")
    return zoned


def unexpected(key: str, wanted: str, value: object) -> PayloadInvalid:
    """Return the error that ``key`` holds something else than ``wanted``; the value itself is not in it."""
    return PayloadInvalid(f"{key}: expected {wanted}, got {_kind(value)}")


def _kind(value: object) -> str:
    """Name a value's JSON type."""
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
