"""Typed values out of Stripe's JSON: the readers of :mod:`billhook.payloads`, and those of what only Stripe writes so.

Stripe expands an object or gives its id alone, writes times as seconds since 1970 and currencies in lower case.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from billhook.errors import PayloadInvalid
from billhook.money import Money
from billhook.payloads import Json, maybe_record, maybe_text, parsed, record, text
from billhook.payloads import whole as any_whole

__all__ = [
    "Json",
    "expanded",
    "id_of",
    "instant",
    "maybe_record",
    "maybe_text",
    "money",
    "parsed",
    "record",
    "text",
    "whole",
    "words",
]

_LARGEST: Final = 10**13  # minor units; beyond it is a mistake, not money
_LAST_SECOND: Final = 4_102_444_800  # the year 2100


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
    return any_whole(data, key, most=_LARGEST)


def money(data: Json, key: str) -> Money:
    """Return the amount under ``key``; Stripe writes its currency, in lower case, under ``currency``."""
    try:
        return Money(whole(data, key), text(data, "currency").upper())
    except ValueError as exc:
        raise PayloadInvalid(f"currency: {exc}") from None


def instant(data: Json, key: str) -> datetime:
    """Return a time, which Stripe writes as seconds since 1970, in UTC."""
    seconds = any_whole(data, key, most=_LAST_SECOND, of="seconds since 1970")
    return datetime.fromtimestamp(seconds, UTC)


def words(data: Json, key: str) -> dict[str, str]:
    """Return metadata: text by text."""
    return {name: value for name, value in maybe_record(data, key).items() if isinstance(value, str)}
