"""Every column that holds sealed values, so that all of them can be counted and sealed again with a new key.

A table that keeps secrets joins with one line in :data:`COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Table, and_, func, not_, select, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from billhook_web.db import Database, Tx
from billhook_web.stores import endpoints, lease_keys, secrets, tables, webhook_tables

BATCH: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedColumn:
    """One column of sealed values; ``purpose`` says what the value of a row is sealed for."""

    table: Table
    column: str
    purpose: Callable[[Mapping[str, Any]], str]

    @property
    def name(self) -> str:
        """Return what it is called when it is talked about."""
        return f"{self.table.name}.{self.column}"


COLUMNS: Final[tuple[SealedColumn, ...]] = (
    SealedColumn(
        table=tables.connection_secrets,
        column="sealed",
        purpose=lambda row: secrets.purpose(row["connection"], row["field"]),
    ),
    *(
        SealedColumn(
            table=webhook_tables.webhook_endpoints,
            column=column,
            purpose=lambda row: endpoints.purpose(row["id"]),
        )
        for column in ("secret", "previous_secret")
    ),
    SealedColumn(
        table=tables.lease_keys, column="sealed", purpose=lambda row: lease_keys.purpose(row["kid"])
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedValue:
    """One value that is not sealed with the first key. ``key``: its row's primary key."""

    column: SealedColumn
    key: Mapping[str, Any]
    sealed: str
    purpose: str


def count(tx: Tx, column: SealedColumn, *, current: str | None) -> tuple[int, int]:
    """Return how many values there are, and how many do not begin with ``current``, the mark of the first key."""
    value = _value(column)
    everything = select(func.count()).select_from(column.table).where(value.is_not(None))
    total = tx.execute(everything).scalar_one()
    return total, tx.execute(everything.where(_older(value, current))).scalar_one()


def older(db: Database, column: SealedColumn, *, current: str | None) -> Iterator[SealedValue]:
    """Yield every value that does not begin with ``current``, in batches: each may be changed while this runs."""
    keys = tuple(column.table.primary_key.columns)
    last: tuple[Any, ...] | None = None
    while True:
        statement = select(column.table).where(_older(_value(column), current)).order_by(*keys).limit(BATCH)
        with db.read() as tx:
            rows = tx.execute(statement if last is None else statement.where(_after(keys, last))).all()
        for row in rows:
            found = dict(row._mapping)
            last = tuple(found[key.name] for key in keys)
            yield SealedValue(
                column=column,
                key={key.name: found[key.name] for key in keys},
                sealed=found[column.column],
                purpose=column.purpose(found),
            )
        if len(rows) < BATCH:
            return


def replace(tx: Tx, value: SealedValue, *, sealed: str) -> bool:
    """Put a newly sealed form in place; False: the value was changed meanwhile, and is left as it is."""
    table = value.column.table
    same = and_(
        *(table.c[name] == part for name, part in value.key.items()), _value(value.column) == value.sealed
    )
    statement = update(table).where(same).values({value.column.column: sealed})
    return tx.execute(statement).rowcount > 0


def _value(column: SealedColumn) -> Column[Any]:
    found: Column[Any] = column.table.c[column.column]
    return found


def _older(value: Column[Any], current: str | None) -> ColumnElement[bool]:
    if current is None:
        return value.is_not(None)
    return and_(value.is_not(None), not_(value.startswith(current, autoescape=True)))


def _after(keys: tuple[Column[Any], ...], last: tuple[Any, ...]) -> ColumnElement[bool]:
    """Return the condition for rows behind ``last`` in the order of the keys."""
    return tuple_(*keys) > tuple_(*last)
