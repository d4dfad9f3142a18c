"""A second ledger beside the real one, in temporary tables of one connection: made anew, compared, swapped in.

A temporary table hides the real one of the same name, on SQLite and PostgreSQL alike. So the code that keeps the real
ledger keeps the shadow one, unchanged, for as long as this connection's transaction lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, Table, text

from billhook_web.db import Tx, UTCDateTime
from billhook_web.stores import tables
from billhook_web.stores.access import OUTDATED
from billhook_web.stores.access_tables import access_decisions, access_history

MADE = (tables.facts, tables.customers, *tables.PROJECTIONS.values(), access_decisions, access_history)
"""What is made from what was heard, and for access from the policies that counted then."""

COPIED = (tables.attempts, tables.customer_links)
"""What the making may touch, but is not made by it alone: our own asking for money, ids that providers answered."""

_OF_THE_MOMENT = {
    "facts": {"id", "seen_at", "inbox_id", "customer_id"},
    "customers": {"created_at", "updated_at", "version", "given"},
    "access_decisions": {"policy"},
    "access_history": {"id", "recorded_at"},
}
"""When we heard of it, in which delivery first, and whose thing we thought it was then (the projections say whose it
is): a retelling has its own."""

_NUMBERED = ((tables.facts, "id"), (access_history, "id"))
"""Tables whose rows are numbered as they are put in place."""

BATCH = 500

_COUNTED = {"access_decisions": "version > 0"}
"""A decision before anything was heard is made when somebody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One row that is in the real ledger and not in the one made anew (``missing``), or the other way round."""

    table: str
    row: str
    missing: bool


@contextmanager
def hidden_behind_shadows(tx: Tx) -> Iterator[None]:
    """Hide the ledger's tables behind empty ones for the block, its customers keeping only what integrators said.

    Afterwards the shadows are still there as ``shadow_<table>``, to compare and to swap.
    """
    for table in (*MADE, *COPIED):
        _shadow(tx, table)
    columns = "id, given, observed, name, email, version, created_at, updated_at, erased_at"
    values = columns.replace("observed", "'{}'")
    told = f"SELECT {values} FROM {_real(tx, 'customers')}"  # noqa: S608 - names of our own tables
    tx.execute(text(f"INSERT INTO customers ({columns}) {told}"))
    for table in COPIED:
        tx.execute(text(f"INSERT INTO {table.name} SELECT * FROM {_real(tx, table.name)}"))  # noqa: S608
    yield
    for table in (*MADE, *COPIED):
        tx.execute(text(f"ALTER TABLE {_temporary(tx)}.{table.name} RENAME TO shadow_{table.name}"))


def _shadow(tx: Tx, table: Table) -> None:
    """Make the temporary twin, with the unique columns that the ledger's writing relies on."""
    source = _real(tx, table.name)
    if tx.dialect.name == "postgresql":
        tx.execute(text(f"CREATE TEMPORARY TABLE {table.name} (LIKE {source} INCLUDING ALL) ON COMMIT DROP"))
        return
    schema = tx.execute(text(f"SELECT sql FROM main.sqlite_master WHERE name = '{table.name}'")).scalar_one()  # noqa: S608
    tx.execute(text(schema.replace("CREATE TABLE", "CREATE TEMPORARY TABLE", 1)))
    for column in ("subject", "payment", "invoice", "alias", "customer_id", "payer"):
        if column in table.c:
            tx.execute(text(f"CREATE INDEX temp.shadow_{table.name}_{column} ON {table.name} ({column})"))


def differences(tx: Tx, *, limit: int) -> list[Difference]:
    """Compare the shadows with the real tables; at most ``limit`` rows of each table and direction."""
    found: list[Difference] = []
    for table in MADE:
        passing = _OF_THE_MOMENT.get(table.name, set())
        columns = ", ".join(column.name for column in table.c if column.name not in passing)
        where = _COUNTED.get(table.name, "1 = 1")
        real = f"SELECT {columns} FROM {_real(tx, table.name)} WHERE {where}"  # noqa: S608 - names of our own tables
        made = f"SELECT {columns} FROM shadow_{table.name} WHERE {where}"  # noqa: S608
        for one, other, missing in ((real, made, True), (made, real, False)):
            rows = tx.execute(text(f"{one} EXCEPT {other} LIMIT {limit}"))
            found += [Difference(table=table.name, row=str(row[0]), missing=missing) for row in rows]
    return found


def swap(tx: Tx) -> None:
    """Put what was made anew in the place of what was there; when something was first seen or noted is kept."""
    facts = _real(tx, "facts")
    seen = f"SELECT real.seen_at FROM {facts} AS real WHERE real.key = shadow_facts.key"  # noqa: S608
    known = f"EXISTS (SELECT 1 FROM {facts} AS real WHERE real.key = shadow_facts.key)"  # noqa: S608
    tx.execute(text(f"UPDATE shadow_facts SET seen_at = ({seen}) WHERE {known}"))  # noqa: S608
    _keep_of_access(tx)
    for table in MADE:
        columns = ", ".join(column.name for column in table.c if (table, column.name) not in _NUMBERED)
        tx.execute(text(f"DELETE FROM {_real(tx, table.name)}"))  # noqa: S608
        made = f"SELECT {columns} FROM shadow_{table.name}"  # noqa: S608
        order = " ORDER BY id" if (table, "id") in _NUMBERED else ""
        tx.execute(text(f"INSERT INTO {_real(tx, table.name)} ({columns}) {made}{order}"))


def _keep_of_access(tx: Tx) -> None:
    """Keep when changes were noted, and which policies were looked at; what is new there is to be looked at again."""
    history, decisions = _real(tx, "access_history"), _real(tx, "access_decisions")
    same = "real.customer_id = made.customer_id AND real.version = made.version AND real.at = made.at"
    noted = f"SELECT real.recorded_at FROM {history} AS real WHERE {same}"  # noqa: S608 - names of our own tables
    keep = f"UPDATE shadow_access_history AS made SET recorded_at = COALESCE(({noted}), made.recorded_at)"  # noqa: S608
    tx.execute(text(keep))
    looked = f"SELECT real.policy FROM {decisions} AS real WHERE real.customer_id = made.customer_id"  # noqa: S608
    tx.execute(text(f"UPDATE shadow_access_decisions AS made SET policy = COALESCE(({looked}), {OUTDATED})"))  # noqa: S608


def settled(tx: Tx) -> Iterator[tuple[str, datetime]]:
    """Yield up to when each customer was really judged; within :func:`hidden_behind_shadows`."""
    after = ""
    while True:
        wanted = f"customer_id, settled_at FROM {_real(tx, 'access_decisions')} WHERE customer_id > :after"
        statement = text(f"SELECT {wanted} AND version > 0 ORDER BY customer_id LIMIT {BATCH}")
        rows = tx.execute(
            statement.columns(customer_id=String, settled_at=UTCDateTime), {"after": after}
        ).all()
        if not rows:
            return
        yield from ((row.customer_id, row.settled_at) for row in rows)
        after = rows[-1].customer_id


def drop(tx: Tx) -> None:
    """Remove the shadows."""
    for table in (*MADE, *COPIED):
        tx.execute(text(f"DROP TABLE {_temporary(tx)}.shadow_{table.name}"))


def _real(tx: Tx, name: str) -> str:
    return f"main.{name}" if tx.dialect.name == "sqlite" else f"public.{name}"


def _temporary(tx: Tx) -> str:
    return "temp" if tx.dialect.name == "sqlite" else "pg_temp"
