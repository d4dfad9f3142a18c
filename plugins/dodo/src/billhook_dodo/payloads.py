"""Typed values out of Dodo's JSON: the readers of :mod:`billhook.payloads`, and those of what only Dodo writes so.

Dodo adds properties about monthly, writes the amounts of disputes as strings of digits, and names each amount's currency.
"""

from __future__ import annotations

import json
import re
from typing import Final

from billhook.errors import PayloadInvalid
from billhook.money import Money
from billhook.payloads import Json, maybe_record, maybe_text, parsed, record, records, text, whole
from billhook.payloads import maybe_instant as instant

__all__ = [
    "Json",
    "instant",
    "maybe_money",
    "maybe_record",
    "maybe_text",
    "minor",
    "money",
    "parsed",
    "record",
    "records",
    "text",
    "words",
]

_DIGITS: Final = re.compile(r"[0-9]{1,15}")


def minor(data: Json, key: str) -> int:
    """Return an amount in minor units. Dodo writes integers, and strings of digits in disputes."""
    value = data.get(key)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return whole(data, key, of="minor units")


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


def words(data: Json, key: str) -> dict[str, str]:
    """Return metadata as text: Dodo allows strings, numbers and booleans as values."""
    return {name: _word(value) for name, value in maybe_record(data, key).items() if value is not None}


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
