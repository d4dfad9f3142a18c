"""Fields of bodies and queries: text that can be stored, instants, currencies, time zones, cursors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import marshmallow as ma
from marshmallow import fields, validate

from billhook.money import exponent
from billhook_web.api.parsing import Told, is_clean

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


class Text(fields.String):
    """One line of text, not empty; ``longest`` in characters."""

    def __init__(self, *, longest: int = 255, about: str, **kwargs: Any) -> None:
        super().__init__(
            validate=[validate.Length(min=1, max=longest), _clean], metadata={"description": about}, **kwargs
        )


def _clean(text: str) -> None:
    if not is_clean(text):
        raise ma.ValidationError("It has control characters.")


class Choice(Text):
    """One of a few words."""

    def __init__(self, choices: Iterable[str], *, about: str, **kwargs: Any) -> None:
        super().__init__(about=about, **kwargs)
        self._choices = tuple(str(choice) for choice in choices)
        self.metadata = {**self.metadata, "enum": list(self._choices)}

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if text not in self._choices:
            raise ma.ValidationError([Told("It is none of the allowed words.", allowed=self._choices)])
        return text


class Instant(fields.Field[datetime]):
    """A point in time, ISO 8601 with an offset or ``Z``; a date alone is its midnight in UTC."""

    def __init__(self, *, about: str, **kwargs: Any) -> None:
        super().__init__(
            metadata={
                "description": f"{about} ISO 8601: a date, or a time with its offset.",
                "type": "string",
            },
            **kwargs,
        )

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        return read_instant(value)


def read_instant(value: object) -> datetime:
    """Read a date or an instant as UTC; raises marshmallow's ValidationError."""
    wrong = ma.ValidationError("Write it as 2026-09-01 or 2026-09-01T09:00:00Z.")
    if not isinstance(value, str):
        raise wrong
    try:
        if _DATE.fullmatch(value):
            return datetime.combine(date.fromisoformat(value), time(), UTC)
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            raise ma.ValidationError("It has no offset; end it with Z when it is UTC.")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        if isinstance(exc, ma.ValidationError):
            raise
        raise wrong from exc


def country(code: str) -> None:
    """Check the shape of an ISO 3166-1 alpha-2 code."""
    if not _COUNTRY.fullmatch(code):
        raise ma.ValidationError("Write the country as two capital letters (ISO 3166-1), such as DE.")


def currency(code: str) -> None:
    """Check that a currency exists."""
    try:
        exponent(code)
    except ValueError as exc:
        raise ma.ValidationError("It is no currency; use an ISO 4217 code in capitals, such as EUR.") from exc


def locale(tag: str) -> None:
    """Check the shape of a BCP 47 tag."""
    if not _LOCALE.fullmatch(tag):
        raise ma.ValidationError("Write the locale as a BCP 47 tag, such as de or pt-BR.")


def timezone(name: str) -> None:
    """Check that a time zone exists."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ma.ValidationError("It is no IANA time zone; write it as Europe/Berlin.") from exc


email = validate.Email(error="It is no e-mail address.")
