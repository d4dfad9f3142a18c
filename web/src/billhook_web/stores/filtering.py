"""What every store needs: an INSERT that ignores or changes what is there, and lists narrowed by what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import Select, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billhook_web.db import Tx

Condition = tuple[Callable[[Any, Any], Any], Any, Any]
"""An operator, a column, and the value asked for; None: anything goes."""


def insert_new(tx: Tx, table: Table, returning: str | None = None) -> Any:
    """Return an INSERT that does nothing when a unique value is there already; the same on both databases.

    :param returning: the column of a new row to return; nothing is returned of one that was there.
    """
    return _insert_new(tx.dialect.name, table, returning)


@cache
def _insert_new(dialect: str, table: Table, returning: str | None) -> Any:
    make = postgresql_insert if dialect == "postgresql" else sqlite_insert
    statement = make(table).on_conflict_do_nothing()
    return statement.returning(table.c[returning]) if returning else statement


def upsert(tx: Tx, table: Table, *, key: str) -> Any:
    """Return an INSERT that changes the row that has this unique value already; the same on both databases."""
    return _upsert(tx.dialect.name, table, key)


@cache
def _upsert(dialect: str, table: Table, key: str) -> Any:
    make = postgresql_insert if dialect == "postgresql" else sqlite_insert
    statement = make(table)
    written = {column.name: statement.excluded[column.name] for column in table.c if column.name != key}
    return statement.on_conflict_do_update(index_elements=[key], set_=written)


def narrowed(statement: Select[Any], *conditions: Condition) -> Select[Any]:
    """Apply the conditions whose value was given."""
    for compare, column, value in conditions:
        if value is not None:
            statement = statement.where(compare(column, value))
    return statement
