"""Two things every store needs: an INSERT that ignores what is there, and lists narrowed by what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billhook_web.db import Tx

Condition = tuple[Callable[[Any, Any], Any], Any, Any]
"""An operator, a column, and the value asked for; None: anything goes."""


def insert_new(tx: Tx, table: Any) -> Any:
    """Return an INSERT that does nothing when a unique value is there already; the same on both databases."""
    make = postgresql_insert if tx.dialect.name == "postgresql" else sqlite_insert
    return make(table).on_conflict_do_nothing()


def narrowed(statement: Select[Any], *conditions: Condition) -> Select[Any]:
    """Apply the conditions whose value was given."""
    for compare, column, value in conditions:
        if value is not None:
            statement = statement.where(compare(column, value))
    return statement
