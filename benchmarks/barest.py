"""The barest receiver there is, for comparison: the same server, the same HMAC, one committed INSERT, nothing else.

``python -m benchmarks.barest PORT THREADS URL`` serves until it is told to stop. The table has a number, a unique key and
the body; no framework, no dedupe by content, no wake-up, no log.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from sqlalchemy.engine import make_url

from benchmarks.load import SECRET

Insert = Callable[[str, bytes], None]
TABLE = (
    "CREATE TABLE IF NOT EXISTS barest (id {id} PRIMARY KEY, key text NOT NULL UNIQUE, body {bytes} NOT NULL)"
)
_STATUS = {True: "200 OK", False: "401 Unauthorized"}


def application(url: str) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application."""
    insert = sqlite_insert(url) if url.startswith("sqlite") else postgres_insert(url)
    secret = SECRET.encode()

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        expected = base64.b64encode(hmac.new(secret, body, hashlib.sha256).digest()).decode()
        right = hmac.compare_digest(expected, environ.get("HTTP_X_LAGO_SIGNATURE", ""))
        if right:
            insert(environ["HTTP_X_LAGO_UNIQUE_KEY"], body)
        start(_STATUS[right], [("Content-Length", "0")])
        return [b""]

    return app


def postgres_insert(url: str) -> Insert:
    """Return what commits one row; every thread has its connection, in autocommit, its statement prepared."""
    import psycopg

    mine = threading.local()
    parsed = make_url(url)
    conninfo = psycopg.conninfo.make_conninfo(
        host=str(parsed.query["host"]), user=parsed.username, dbname=parsed.database
    )
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(TABLE.format(id="bigserial", bytes="bytea"))

    def insert(key: str, body: bytes) -> None:
        if not hasattr(mine, "connection"):
            mine.connection = psycopg.connect(conninfo, autocommit=True)
        mine.connection.execute(
            "INSERT INTO barest (key, body) VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, body), prepare=True
        )

    return insert


def sqlite_insert(url: str) -> Insert:
    """Return what commits one row, flushed to the disk before it says so, like ours."""
    mine = threading.local()
    path = str(make_url(url).database)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    connect().execute(TABLE.format(id="integer", bytes="blob"))

    def insert(key: str, body: bytes) -> None:
        if not hasattr(mine, "connection"):
            mine.connection = connect()
        mine.connection.execute("INSERT OR IGNORE INTO barest (key, body) VALUES (?, ?)", (key, body))

    return insert


def serve(name: str, port: int, threads: int, load: Callable[[], Any]) -> None:
    """Serve what ``load`` makes, as the host is served, until told to stop."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.log import LogLevels

    server = Granian(
        name,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=threads,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
    )
    server.serve(target_loader=load, wrap_loader=False)


def main() -> None:
    """Serve."""
    port, threads, url = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    serve("benchmarks.barest", port, threads, partial(application, url))


if __name__ == "__main__":
    main()
