"""New secrets without a restart: every process looks every few seconds, and makes a connection again when its changed.

Work in flight ends with the objects it has; what begins afterwards gets the new ones. New settings that cannot be used
change nothing: the old ones stay, and operators are told.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from billhook.clock import Clock
from billhook.errors import ConfigInvalid
from billhook_web.db import Database, DatabaseError
from billhook_web.services.connecting import Connecting, Mark
from billhook_web.services.connections import Connections
from billhook_web.settings import ConnectionName
from billhook_web.stores import conditions
from billhook_web.stores.secrets import StoredSecret

log = structlog.get_logger(__name__)

WATCH_SECONDS: Final = 2.0


class Renewal:
    """Notices that a connection's secrets changed and connects it again."""

    def __init__(
        self, *, connecting: Connecting, connections: Connections, marks: Mapping[str, Mark], db: Database, clock: Clock
    ) -> None:  # fmt: skip
        self._connecting = connecting
        self._connections = connections
        self._marks = dict(marks)
        self._db = db
        self._clock = clock
        self._lock = threading.Lock()
        self._began = False

    def check(self) -> None:
        """Take up what changed since the last look; raises DatabaseError."""
        with self._lock:
            stored = self._connecting.vault.in_force()
            if not self._began:
                self._forget_notices()
                self._began = True
            for name in self._connecting.configuration.connections:
                mark = self._connecting.mark(name, stored)
                if mark != self._marks.get(name.name):
                    self._renew(name, stored)
                    self._marks[name.name] = mark

    def _renew(self, name: ConnectionName, stored: Sequence[StoredSecret]) -> None:
        before = self._connections.get(name.name)
        if before is None or before.problem is not None or not self._connecting.is_enabled(name):
            return  # its plugin is out, which a secret does not mend
        try:
            made = self._connecting.one(name, stored)
        except ConfigInvalid as exc:
            self._keep(name.name, "; ".join(str(problem) for problem in exc.problems))
        except DatabaseError:
            raise
        except Exception as exc:  # noqa: BLE001 - foreign code: the connection works on as it is
            self._keep(name.name, f"its plugin failed: {type(exc).__name__}: {exc}")
        else:
            self._connections.put(made)
            self._notice(name.name, None)
            log.info("connection.renewed", connection=name.name)

    def _keep(self, connection: str, reason: str) -> None:
        text = self._connecting.hide(reason)
        log.error("connection.settings_refused", connection=connection, reason=text)
        self._notice(
            connection, f"Its changed settings cannot be used, and it works on with the old ones: {text}"
        )

    def _notice(self, connection: str, notice: str | None) -> None:
        with self._db.begin() as tx:
            conditions.put_notice(tx, connection, notice=notice, now=self._clock.now())

    def _forget_notices(self) -> None:
        """What was noticed of settings before this process began is over: it began with good ones."""
        with self._db.read() as tx:
            known = conditions.of_all(tx)
        for name in self._marks:
            if name in known and known[name].notice is not None:
                self._notice(name, None)


class Watch:
    """A thread that looks every few seconds, in every process that serves or works."""

    def __init__(self, renewal: Renewal, *, seconds: float = WATCH_SECONDS) -> None:
        self._renewal = renewal
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="billhook-secrets", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; waits at most five seconds for a look under way."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._renewal.check()
            except DatabaseError as exc:
                log.warning("secrets.not_read", error=type(exc).__name__)
