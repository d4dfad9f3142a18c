"""The database: engine, transactions, and what SQLite and PostgreSQL each need to behave the same.

The only place that begins or commits. ``begin`` is one transaction, committed at its end; ``read`` sees committed rows
and takes no write lock. No network call belongs between the two ends of either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Engine, Select, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.types import TypeDecorator

Tx = Connection
DatabaseError = (DBAPIError, PoolExhausted)
"""What is raised when the database cannot be reached, refuses, is locked for too long or has no connection left."""

LOCK_SECONDS = 10


class UTCDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC. Refuses naive values: nobody could say what they mean."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; without the zone where the database has none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time must be aware")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return UTC, aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """One database, shared by all threads of a process."""

    def __init__(self, url: str, *, pool_size: int = 12) -> None:
        self.url = make_url(url)
        if self.url.drivername in ("postgresql", "postgres"):
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": 10}
        options["hide_parameters"] = True  # an error's text must not hold what a row holds
        if not self.is_sqlite:
            options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": 5}}
        self.engine: Engine = create_engine(self.url, **options)
        if self.is_sqlite:
            _prepare_sqlite(self.engine)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """Open a transaction; it is committed when the block ends well and undone when it raises."""
        with self.engine.begin() as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a connection for reading, each statement by itself."""
        with self._autocommit.connect() as connection:
            yield connection

    def reachable(self) -> bool:
        """Say whether the database answers."""
        try:
            with self.read() as tx:
                tx.execute(text("SELECT 1"))
        except DatabaseError:
            return False
        return True

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # A 2xx means "durably stored": FULL also survives a power cut, NORMAL only a crash of the process.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later cannot be refused.
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def lock(tx: Tx, names: Iterable[str]) -> None:
    """Serialise work on the named things until the transaction ends.

    PostgreSQL takes one advisory lock per name, in one order for everybody. On SQLite the transaction holds the only
    write lock already.
    """
    if tx.dialect.name != "postgresql":
        return
    for name in sorted(set(names)):
        tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def skip_locked(statement: Select[Any], tx: Tx) -> Select[Any]:
    """Add FOR UPDATE SKIP LOCKED where the database knows it."""
    return statement.with_for_update(skip_locked=True) if tx.dialect.name == "postgresql" else statement
