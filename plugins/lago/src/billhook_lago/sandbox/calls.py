"""One API call: what came in, and the rules its body and query must keep.

Rails drops parameters it does not know; the sandbox refuses them with ``is_not_permitted``, so that a misspelt field
fails a test here and not a bill there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from werkzeug.wrappers import Response

from billhook_lago.sandbox.answers import ApiError, bad_request, invalid
from billhook_lago.sandbox.state import Json

ANY: None = None
"""Marks a parameter whose inner shape is free."""

Schema = Mapping[str, Any]
"""Permitted parameters: name to ANY, to a nested schema, or to a list with one schema for its entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An authorised API call. ``query`` keeps every value of a repeated name in ``lists``."""

    args: Mapping[str, str]
    query: Mapping[str, str]
    lists: Mapping[str, list[str]] = field(default_factory=dict)
    body: Any = None

    def root(self, name: str, schema: Schema, *, beside: Schema | None = None) -> Json:
        """Return the object under root key ``name``; ``beside`` are keys allowed next to it.

        :raises ApiError: 400 when it is missing, 422 for a parameter that is not permitted.
        """
        if not isinstance(self.body, dict) or not isinstance(self.body.get(name), dict):
            raise bad_request(f"param is missing or the value is empty or invalid: {name}")
        unknown = _unknown(self.body, {name: schema, **(beside or {})}, "")
        if unknown:
            details = {path.removeprefix(f"{name}."): ["is_not_permitted"] for path in unknown}
            raise ApiError(422, code="validation_errors", details=details)
        return dict(self.body[name])

    def only_filters(self, *names: str) -> None:
        """Refuse a filter the endpoint does not know; real Lago would ignore it and return too much."""
        known = {"page", "per_page", *names, *(f"{name}[]" for name in names)}
        for name in self.query:
            if name not in known and not (name.startswith("metadata[") and "metadata" in names):
                raise invalid(**{name: "is_not_permitted"})

    def values(self, *names: str) -> list[str]:
        """Return every value given under any of ``names``, with or without ``[]``."""
        return [value for name in names for key in (name, f"{name}[]") for value in self.lists.get(key, [])]


Handler = Callable[[Call], Response]
Rule = tuple[str, str, Handler]
"""Method, path below ``/api/v1`` (werkzeug syntax) and handler."""


def require(body: Json, *names: str) -> None:
    """Refuse a body in which one of ``names`` is absent or null."""
    missing = [name for name in names if body.get(name) in (None, "")]
    if missing:
        raise invalid(**dict.fromkeys(missing, "value_is_mandatory"))


def choose(body: Json, name: str, allowed: tuple[str, ...], default: str | None = None) -> str | None:
    """Return ``body[name]``, which must be one of ``allowed``; ``default`` when absent."""
    value = body.get(name, default)
    if value is not None and value not in allowed:
        raise invalid(**{name: "value_is_invalid"})
    return value


def cents(body: Json, name: str, default: int = 0) -> int:
    """Return an amount in minor units; it must be an integer of 0 or more."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise invalid(**{name: "value_is_invalid"})
    return value


def instant(body: Json, name: str) -> datetime | None:
    """Return a time or date as a UTC instant, None for null or absent."""
    value = body.get(name)
    if value in (None, ""):
        return None
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError as exc:
        raise invalid(**{name: "invalid_date"}) from exc
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def day(text: str) -> date:
    """Return a date given as a filter; a 422 when it is none."""
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise invalid(date="invalid_format") from exc


def _unknown(value: Any, schema: Any, path: str) -> list[str]:
    if schema is ANY or value is None:
        return []
    if isinstance(schema, list):
        entries = value if isinstance(value, list) else []
        return [name for entry in entries for name in _unknown(entry, schema[0], path)]
    if not isinstance(value, dict):
        return []
    found: list[str] = []
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        found += _unknown(inner, schema[key], here) if key in schema else [here]
    return found
