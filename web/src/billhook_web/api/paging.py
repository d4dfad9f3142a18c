"""Lists: the queries they take, and cursors that name the last row of a page, so that new rows move nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import marshmallow as ma
from flask import Response, jsonify
from marshmallow import fields, validate

from billhook_web.api.fields import Instant, Text
from billhook_web.api.parsing import Input, is_clean

T = TypeVar("T")

LARGEST_ID = 2**63 - 1
_WRONG = "It is no cursor of this list; take next_cursor of the page before, or leave it out."


def encode(*position: object) -> str:
    """Write a position as an opaque cursor."""
    plain = [part.isoformat() if isinstance(part, datetime) else part for part in position]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


class Cursor(fields.Field[Any]):
    """Reads what :func:`encode` wrote; ``position`` checks its parts and raises ValueError."""

    def __init__(self, position: Callable[[Any], Any]) -> None:
        super().__init__(
            metadata={"description": "next_cursor of the page before", "type": "string"}, load_default=None
        )
        self._position = position

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        try:
            padded = str(value) + "=" * (-len(str(value)) % 4)
            return self._position(json.loads(base64.b64decode(padded, altchars=b"-_", validate=True)))
        except (ValueError, TypeError, RecursionError) as exc:
            raise ma.ValidationError(_WRONG) from exc


def _place(plain: Any) -> tuple[datetime, str]:
    """A position in a list by time: (time, id)."""
    at, name = plain
    instant = datetime.fromisoformat(at)
    if instant.tzinfo is None or not isinstance(name, str) or not is_clean(name):
        raise ValueError("no position")
    return instant, name


def _number(plain: Any) -> int:
    """A position in a list by number."""
    (number,) = plain
    if type(number) is not int or not 0 <= number <= LARGEST_ID:
        raise ValueError("no position")
    return number


class ListQuery(Input):
    """What every list takes."""

    limit = fields.Integer(
        load_default=50,
        validate=validate.Range(min=1, max=200),
        metadata={"description": "rows per page"},
    )
    since = Instant(about="Not before.", load_default=None)
    until = Instant(about="Before.", load_default=None)


class ByTime(ListQuery):
    """A list by time, newest first."""

    cursor = Cursor(_place)


class ById(ListQuery):
    """A list by number, newest first."""

    cursor = Cursor(_number)


def filter_text(about: str) -> Text:
    """Return a field that filters by a text; None: any."""
    return Text(about=about, load_default=None, longest=512)


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """Split one row more than a page into the page and its last row; None: there is no page after it."""
    page = rows[:limit]
    return page, page[-1] if len(rows) > limit else None


def answer_page(data: list[dict[str, Any]], next_cursor: str | None) -> Response:
    """Answer a page."""
    return jsonify(data=data, next_cursor=next_cursor)
