"""Words for documenting answers: every field is there in each answer, and says when it may be null."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import marshmallow as ma
from marshmallow import fields


def text(about: str = "", *, null: bool = False) -> fields.String:
    """Document a text."""
    return fields.String(required=True, allow_none=null, metadata=_about(about))


def thing(about: str, *, null: bool = False) -> fields.String:
    """Document a provider's thing."""
    return text(f"{about}, as <connection>:<provider id>", null=null)


def instant(about: str = "", *, null: bool = False) -> fields.String:
    """Document a point in time."""
    return fields.String(
        required=True, allow_none=null, metadata={"format": "date-time", **_about(about or "UTC")}
    )


def day(about: str = "") -> fields.String:
    """Document a date that may be missing."""
    return fields.String(required=True, allow_none=True, metadata={"format": "date", **_about(about)})


def whole(about: str = "minor units", *, null: bool = False) -> fields.Integer:
    """Document a whole number."""
    return fields.Integer(required=True, allow_none=null, metadata=_about(about))


def flag(about: str = "") -> fields.Boolean:
    """Document a yes or no."""
    return fields.Boolean(required=True, metadata=_about(about))


def words(about: str) -> fields.List[Any]:
    """Document a list of words."""
    return fields.List(fields.String(), required=True, metadata=_about(about))


def choice(
    kind: type[StrEnum], about: str = "", *, more: Iterable[str] = (), null: bool = False
) -> fields.String:
    """Document one of a few words."""
    allowed: list[str | None] = [*(str(each) for each in kind), *more]
    enum = [*allowed, None] if null else allowed
    return fields.String(required=True, allow_none=null, metadata={"enum": enum, **_about(about)})


def one(schema: type[ma.Schema], *, null: bool = False) -> fields.Nested:
    """Document a part."""
    return fields.Nested(schema, required=True, allow_none=null)


def many(schema: type[ma.Schema]) -> fields.List[Any]:
    """Document a list of parts."""
    return fields.List(fields.Nested(schema), required=True)


def free(about: str, *, null: bool = False) -> fields.Dict:
    """Document an object whose keys differ from case to case."""
    return fields.Dict(required=True, allow_none=null, metadata=_about(about))


def _about(about: str) -> dict[str, str]:
    return {"description": about} if about else {}


def page(schema: type[ma.Schema]) -> ma.Schema:
    """Document a page of a list."""
    name = schema.__name__.removesuffix("Schema") + "PageSchema"
    made = type(
        name, (ma.Schema,), {"data": many(schema), "next_cursor": text("None: the last page", null=True)}
    )
    schema_of_page: ma.Schema = made()
    return schema_of_page
