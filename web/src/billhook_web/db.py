"""The database: engine, transactions, and what SQLite and PostgreSQL each need to behave the same.

The only place that begins or commits. ``begin`` is one transaction, committed at its end; ``read`` sees committed rows
and takes no write lock. No network call belongs between the two ends of either. A :class:`Writer` is for the one statement
that has to be fast.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Connection, DateTime, Dialect, Engine, Select, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.types import TypeDecorator

from billhook.clock import monotonic, pause

Tx = Connection
DatabaseError = (DBAPIError, PoolExhausted)
"""What is raised when the database cannot be reached, refuses, is locked for too long or has no connection left."""

LOCK_SECONDS = 10
READ_SECONDS = 5  # how long one statement of a Reader may take on PostgreSQL
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code for a lock that was not to be had in time."""


_statement_seconds: ContextVar[float] = ContextVar("statement_seconds", default=0.0)  # 0: no limit
_LIMITED = "billhook_statement_seconds"


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
        self._write_turn = threading.Lock()
        self._writers: list[Writer] = []

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """Open a transaction; it is committed when the block ends well and undone when it raises."""
        with self.turn(), self.engine.begin() as tx:
            self._limit(tx, local=True)
            yield tx

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this thread's turn to write to SQLite; nothing on PostgreSQL.

        SQLite has one write lock, and who finds it taken sleeps, up to 100 ms at a time, however soon it is free. Threads
        of one process wait for each other here instead and go on at once. Other processes are waited for by SQLite.
        """
        if not self.is_sqlite:
            yield
            return
        mine = self._write_turn.acquire(timeout=LOCK_SECONDS)  # without it SQLite itself decides, and refuses
        try:
            yield
        finally:
            if mine:
                self._write_turn.release()

    def writer(self) -> Writer:
        """Return a new :class:`Writer`; it is closed with the database."""
        self._writers.append(Writer(self))
        return self._writers[-1]

    def reader(self) -> Reader:
        """Return a new :class:`Reader`; it is closed with the database."""
        made = Reader(self)
        self._writers.append(made)
        return made

    def loaded_form(self, column: Column[Any]) -> Callable[[Any], Any]:
        """Return what turns what the driver gives for this column into a value, as SQLAlchemy would."""
        dialect = self.engine.dialect
        return column.type.dialect_impl(dialect).result_processor(dialect, None) or (lambda value: value)

    def stored_form(self, column: Column[Any]) -> Callable[[Any], Any]:
        """Return what turns a value of this column into what the driver stores, as SQLAlchemy would."""
        dialect = self.engine.dialect
        return column.type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a connection for reading, each statement by itself."""
        with self._autocommit.connect() as connection:
            self._limit(connection, local=False)
            yield connection

    def _limit(self, tx: Tx, *, local: bool) -> None:
        """Have the statements of this thread end in their time, see :func:`statements_within`. SQLite knows no such limit.

        What a connection was told for good is remembered with it: telling it again would be a round trip every time.
        """
        wanted = _statement_seconds.get()
        if self.is_sqlite or tx.info.get(_LIMITED, 0.0) == wanted:
            return
        said = {"limit": f"{wanted * 1000:.0f}ms", "local": local}
        tx.execute(text("SELECT set_config('statement_timeout', :limit, :local)"), said)
        if not local:
            tx.info[_LIMITED] = wanted

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
        for writer in self._writers:
            writer.close()
        self.engine.dispose()


class Writer:
    """Statements past SQLAlchemy, each committed by itself, on a connection of the driver that stays open.

    For one thread at a time. It saves a checkout, a transaction and a round trip or two for every statement; the guarantee
    is the same: when :meth:`execute` returns, the rows are committed.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._dialect = db.engine.dialect
        self._cursor: Any = None

    def marks(self, count: int) -> list[str]:
        """Return what stands for so many parameters in the SQL."""
        return ["?"] * count if self._db.is_sqlite else [f"${at}" for at in range(1, count + 1)]

    def execute(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run one statement that may be run twice, and return its rows.

        A connection that broke since the last statement is replaced once.

        :raises DatabaseError: it is not known to be committed.
        """
        fresh = self._cursor is None
        try:
            return self._execute(sql, parameters)
        except DBAPIError as exc:
            if fresh or not exc.connection_invalidated:
                raise
        return self._execute(sql, parameters)

    def close(self) -> None:
        """Close the connection; the next statement opens another."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.connection.close()

    def _execute(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        options = {} if self._db.is_sqlite else {"prepare": True}
        if self._cursor is None:
            self._cursor = self._connect()
        try:
            with self._turn():
                rows: list[tuple[Any, ...]] = self._cursor.execute(sql, parameters, **options).fetchall()
        except self._dialect.loaded_dbapi.Error as exc:
            broken = self._dialect.is_disconnect(exc, self._cursor.connection, None)
            if broken:
                self.close()
            raise self._told(exc, broken=broken) from exc
        return rows

    def _turn(self) -> AbstractContextManager[None]:
        return self._db.turn()

    def _connect(self) -> Any:
        # Prepared like every other connection, then taken out of the pool and told to commit each statement.
        try:
            pooled = self._db.engine.raw_connection()
        except self._dialect.loaded_dbapi.Error as exc:
            raise self._told(exc, broken=True) from exc
        connection: Any = pooled.driver_connection
        pooled.detach()
        if self._db.is_sqlite:
            connection.isolation_level = None
            return connection.cursor()
        from psycopg import RawCursor  # there is a connection, so the extra is installed

        connection.autocommit = True
        return RawCursor(
            connection
        )  # takes the SQL as it is: looking for marks in it costs more than sending it

    def _told(self, exc: Exception, *, broken: bool) -> DBAPIError:
        """Return the exception that SQLAlchemy would have raised, without the values of the row."""
        dbapi = self._dialect.loaded_dbapi
        told = DBAPIError.instance(
            None,
            None,
            exc,
            dbapi.Error,
            hide_parameters=True,
            connection_invalidated=broken,
            dialect=self._dialect,
        )
        assert isinstance(told, DBAPIError)  # noqa: S101 - it is one whenever the driver's own error came in
        return told


class Reader(Writer):
    """As :class:`Writer`, for statements that only read: they wait for nobody's turn to write, and end in their time."""

    def _turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _connect(self) -> Any:
        cursor = super()._connect()
        if not self._db.is_sqlite:
            cursor.execute(f"SET statement_timeout = {READ_SECONDS * 1000}")
        return cursor


def _write_ahead(cursor: Any) -> None:
    """Turn on the write-ahead log. Whoever is not the first to open a new file is refused at once, whatever the
    time-out says, while another turns it on: ask again."""
    deadline = monotonic() + LOCK_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
            pause(0.02)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")
        _write_ahead(cursor)
        # A 2xx means "durably stored": FULL also survives a power cut, NORMAL only a crash of the process.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later cannot be refused.
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def statements_within(seconds: float) -> Iterator[None]:
    """Let PostgreSQL end every statement that this thread runs in the block after so long, with a DatabaseError."""
    token = _statement_seconds.set(seconds)
    try:
        yield
    finally:
        _statement_seconds.reset(token)


def give_way(tx: Tx, *, seconds: float) -> None:
    """Wait at most so long for each lock on a table until the transaction ends; then :func:`gave_way` is true.

    For PostgreSQL, where whoever waits for a table's lock makes everybody wait who comes after. SQLite has one lock,
    which the transaction holds already.
    """
    if tx.dialect.name == "postgresql":
        tx.execute(
            text("SELECT set_config('lock_timeout', :limit, true)"), {"limit": f"{seconds * 1000:.0f}ms"}
        )


def gave_way(exc: BaseException) -> bool:
    """Say whether a transaction ended because a lock was not to be had in time."""
    return getattr(getattr(exc, "orig", None), "sqlstate", None) == LOCK_NOT_AVAILABLE


_KEY = "hashtextextended(name, 0)"
_NAMES = "FROM unnest(CAST(:names AS text[])) AS name"  # row by row, in the order of the list


def lock(tx: Tx, names: Iterable[str]) -> None:
    """Serialise work on the named things until the transaction ends.

    PostgreSQL takes one advisory lock per name, in one order for everybody. On SQLite the transaction holds the only
    write lock already.
    """
    if tx.dialect.name == "postgresql" and (wanted := sorted(set(names))):
        tx.execute(text(f"SELECT pg_advisory_xact_lock({_KEY}) {_NAMES}"), {"names": wanted})


def lock_free(tx: Tx, names: Iterable[str]) -> set[str]:
    """Do as :func:`lock`, but wait for nobody; return what is ours now.

    For who takes many at once: whoever waits while holding others would make everybody wait who wants one of those.
    """
    wanted = sorted(set(names))
    if tx.dialect.name != "postgresql" or not wanted:
        return set(wanted)
    statement = text(f"SELECT name {_NAMES} WHERE pg_try_advisory_xact_lock({_KEY})")
    return set(tx.execute(statement, {"names": wanted}).scalars())


def skip_locked(statement: Select[Any], tx: Tx) -> Select[Any]:
    """Add FOR UPDATE SKIP LOCKED where the database knows it."""
    return statement.with_for_update(skip_locked=True) if tx.dialect.name == "postgresql" else statement
