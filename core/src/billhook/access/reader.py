"""Reads JSON or TOML values by their expected kind and collects every problem on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from billhook.access.problem import Problem
from billhook.dunning import parse_duration
from billhook.money import exponent

T = TypeVar("T")

LARGEST_AMOUNT: Final = 10**18
"""In minor units; larger ones do not survive every JSON reader and database."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ROOM: Final = timedelta(days=40_000)
_EARLIEST = date.min + _ROOM
_LATEST = date.max - _ROOM
_NOTHING: Final = object()


def join(path: str, key: str) -> str:
    """Return the place of ``key`` inside ``path``; an empty path is the document itself."""
    return f"{path}.{key}" if path else key


class Table:
    """One JSON object while it is read: asks for keys by kind, notes problems, and refuses the keys nobody asked for.

    Methods return None for what is absent or wrong; a wrong value is in ``problems`` then.
    """

    def __init__(self, data: Mapping[str, Any], path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        self._data = data
        self._asked: dict[str, None] = {}

    def problem(self, key: str, message: str, *, allowed: Collection[str] = ()) -> None:
        """Note that the value of ``key`` is wrong."""
        self.problems.append(Problem(path=join(self.path, key), message=message, allowed=tuple(allowed)))

    def has(self, key: str) -> bool:
        """Whether the key is there, whatever its value."""
        self._asked[key] = None
        return key in self._data

    def value(self, key: str) -> Any:
        """Return the value of a key that is there, as it is."""
        self._asked[key] = None
        return self._data[key]

    def read(self, key: str, read: Callable[[Any], T], *, required: bool = True) -> T | None:
        """Return the value of ``key`` made by ``read``, whose ValueError becomes a problem."""
        self._asked[key] = None
        value = self._data.get(key, _NOTHING)
        if value is _NOTHING:
            if required:
                self.problem(key, "is missing.")
            return None
        if value is None and not required:
            return None
        try:
            return read(value)
        except ValueError as exc:
            self.problem(key, str(exc))
            return None

    def choice(self, key: str, allowed: Collection[str], default: str) -> str:
        """Return one of ``allowed``; ``default`` when absent or wrong."""
        self._asked[key] = None
        value = self._data.get(key, default)
        if isinstance(value, str) and value in allowed:
            return value
        near = nearest(value, allowed) if isinstance(value, str) else None
        self.problems.append(
            Problem(
                path=join(self.path, key),
                message=f"{value!r} is not one of its values.",
                allowed=tuple(allowed),
                did_you_mean=near,
            )
        )
        return default

    def finish(self) -> None:
        """Refuse every key that was not asked for, with the nearest known one."""
        known = tuple(self._asked)
        for key in self._data:
            if key not in self._asked:
                self.problems.append(
                    Problem(
                        path=join(self.path, str(key)),
                        message="is not a known key.",
                        allowed=known,
                        did_you_mean=nearest(str(key), known),
                    )
                )


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return the known word most like ``word``, or None when none is near."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object as it is; ValueError for anything else."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object, not {_kind(value)}.")
    return value


def text(value: Any) -> str:
    """Return non-empty text of at most 500 characters."""
    if not isinstance(value, str) or not value or len(value) > 500:
        raise ValueError(f"must be text of 1 to 500 characters, not {_shown(value)}.")
    return value


def flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_shown(value)}.")
    return value


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of whole numbers from ``low`` to ``high``; 5.0 and true are none."""

    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {_shown(value)}.")
        return value

    return read


amount = whole(0, LARGEST_AMOUNT)
"""Reads an amount in minor units, zero or above."""

signed_amount = whole(-LARGEST_AMOUNT, LARGEST_AMOUNT)
"""Reads an amount in minor units of either sign."""


def currency(value: Any) -> str:
    """Return an ISO 4217 code in upper case."""
    code = text(value)
    exponent(code)
    return code


def day(value: Any) -> date:
    """Return a date written ``2012-05-31``; TOML's own dates do as well."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return _in_range(value)
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return _in_range(date.fromisoformat(value))
        except ValueError as exc:
            raise ValueError(f"{value!r} is not a date in the calendar: {exc}.") from exc
    raise ValueError(f"must be a date such as '2012-05-31', not {_shown(value)}.")


def instant(value: Any) -> datetime:
    """Return an instant in UTC from ISO 8601 with an offset, as in ``2012-05-31T12:00:00Z``."""
    if isinstance(value, str) and "T" in value:
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(
            f"must be an instant with an offset such as '2012-05-31T12:00:00Z', not {_shown(value)}."
        )
    _in_range(value.date())
    return value.astimezone(UTC)


def moment(value: Any) -> datetime | date:
    """Return an instant, or a date that stands for its first moment in the account's time zone."""
    if isinstance(value, str) and "T" not in value:
        return day(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return day(value)
    return instant(value)


def duration(value: Any) -> timedelta:
    """Return an ISO 8601 duration of days or less, such as ``P7D``."""
    if not isinstance(value, str):
        raise ValueError(f"must be a duration such as 'P7D', not {_shown(value)}.")
    return parse_duration(value)


def texts(value: Any) -> tuple[str, ...]:
    """Return a list of non-empty texts."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of texts, not {_kind(value)}.")
    return tuple(text(item) for item in value)


def _in_range(value: date) -> date:
    # Room on both sides, so that adding the days of a rule cannot leave the calendar.
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError(f"{value} is too far away; use a year from 200 to 9800.")
    return value


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | bool | datetime | date) else _kind(value)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return repr(value)
