"""Checks of request bodies, stricter than Dodo: an unknown property is an error.

Dodo ignores what it does not know, so a misspelt property would go unseen until money is wrong. A check is a
function of the value and its path in the JSON; it raises :class:`~billhook_dodo.sandbox.errors.ApiError` (422).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from .errors import ApiError, invalid_body

Check = Callable[[object, str], None]

INT32_MAX = 2_147_483_647
METADATA_PAIRS = 50
_METADATA_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_COUNTRY = re.compile(r"[A-Z]{2}\Z")


def text(*, longest: int = 10_000) -> Check:
    """Return a check for a string of at most ``longest`` characters."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, str):
            raise invalid_body(where, "expected a string")
        if len(value) > longest:
            raise invalid_body(where, f"longer than {longest} characters")

    return check


def integer(*, least: int = 0, most: int = INT32_MAX) -> Check:
    """Return a check for a whole number in ``least..most`` (Dodo's amounts are int32)."""

    def check(value: object, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid_body(where, "expected an integer")
        if not least <= value <= most:
            raise invalid_body(where, f"must be between {least} and {most}")

    return check


def boolean(value: object, where: str) -> None:
    """Accept true and false."""
    if not isinstance(value, bool):
        raise invalid_body(where, "expected a boolean")


def currency(value: object, where: str) -> None:
    """Accept an ISO 4217 code in capitals."""
    if not isinstance(value, str) or not _CURRENCY.match(value):
        raise invalid_body(where, "expected a currency code such as EUR")


def country(value: object, where: str) -> None:
    """Accept an ISO 3166 two-letter code in capitals."""
    if not isinstance(value, str) or not _COUNTRY.match(value):
        raise invalid_body(where, "expected a country code such as DE")


def one_of(*words: str) -> Check:
    """Return a check for one of the given words."""

    def check(value: object, where: str) -> None:
        if value not in words:
            raise invalid_body(where, f"expected one of {', '.join(words)}")

    return check


def nullable(inner: Check) -> Check:
    """Return a check that lets null pass and asks ``inner`` about anything else."""

    def check(value: object, where: str) -> None:
        if value is not None:
            inner(value, where)

    return check


def list_of(inner: Check, *, most: int = 100) -> Check:
    """Return a check for a list of at most ``most`` values that pass ``inner``."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, list):
            raise invalid_body(where, "expected a list")
        if len(value) > most:
            raise invalid_body(where, f"more than {most} entries")
        for index, entry in enumerate(value):
            inner(entry, f"{where}[{index}]")

    return check


def record(
    *, required: Mapping[str, Check] | None = None, optional: Mapping[str, Check] | None = None
) -> Check:
    """Return a check for an object with exactly these properties."""
    must = dict(required or {})
    known = must | dict(optional or {})

    def check(value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise invalid_body(where, "expected an object")
        for name in must:
            if name not in value:
                raise invalid_body(_path(where, name), "missing")
        for name, entry in value.items():
            if name not in known:
                raise invalid_body(_path(where, name), "unknown property")
            known[name](entry, _path(where, name))

    return check


def tagged(tag: str, variants: Mapping[str, Check]) -> Check:
    """Return a check for an object whose property ``tag`` names which of ``variants`` it must pass."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise invalid_body(where, "expected an object")
        kind = value.get(tag)
        if not isinstance(kind, str) or kind not in variants:
            raise invalid_body(_path(where, tag), f"expected one of {', '.join(variants)}")
        variants[kind](value, where)

    return check


def metadata(value: object, where: str) -> None:
    """Accept Dodo's metadata: at most 50 pairs, short keys, strings up to 500, numbers and booleans."""
    if not isinstance(value, dict):
        raise invalid_body(where, "expected an object")
    if len(value) > METADATA_PAIRS:
        raise ApiError(422, "MAXIMUM_KEYS_REACHED", f"{where}: more than {METADATA_PAIRS} keys")
    for key, entry in value.items():
        if not _METADATA_KEY.match(key):
            raise invalid_body(_path(where, key), "key must be 1 to 40 of A-Z a-z 0-9 _ -")
        if not isinstance(entry, str | int | float | bool):
            raise invalid_body(_path(where, key), "expected a string, number or boolean")
        if isinstance(entry, str) and len(entry) > 500:
            raise invalid_body(_path(where, key), "longer than 500 characters")


def anything(value: object, where: str) -> None:
    """Accept any value: a documented property whose inside the sandbox does not use."""


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
