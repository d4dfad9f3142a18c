"""While an API key is rotated: the one before it is used where the provider does not accept the new one yet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from billhook.clock import Clock
from billhook.hookspecs import HttpClients
from billhook.http import ApiClient, Timeouts
from billhook_web.db import Database, DatabaseError
from billhook_web.stores import conditions

log = structlog.get_logger(__name__)

TOLD_EVERY: Final = timedelta(minutes=5)
"""How often one connection says that the older key was needed."""


class Overlap:
    """Tells operators that a connection lives on its older key: in the log and in the list of connections."""

    def __init__(self, *, db: Database, clock: Clock, connection: str) -> None:
        self._db = db
        self._clock = clock
        self._connection = connection
        self._lock = threading.Lock()
        self._told_at: datetime | None = None

    def needed(self, field: str, until: datetime) -> None:
        """Note that the provider refused the new value of ``field`` and took the older one, valid ``until``."""
        now = self._clock.now()
        with self._lock:
            if self._told_at is not None and now - self._told_at < TOLD_EVERY:
                return
            self._told_at = now
        log.warning("connection.older_key", connection=self._connection, field=field, until=until.isoformat())
        notice = (
            f"The provider refused the new {field} and takes the one before it, which ends {until:%Y-%m-%d %H:%MZ}: "
            "check the new one at the provider, and set it again"
        )
        try:
            with self._db.begin() as tx:
                conditions.put_notice(tx, self._connection, notice=notice, now=now)
        except DatabaseError as exc:
            log.warning("connection.notice_not_kept", connection=self._connection, error=type(exc).__name__)


def falling_back(http: HttpClients, older: Mapping[str, tuple[str, Callable[[], None]]]) -> HttpClients:
    """Return ``http``, whose clients fall back to an older key.

    :param older: by the new key: the one before it, and who is told when it was needed. The new one is looked for in
        the values of headers as it is written.
    """
    if not older:
        return http

    def make(
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        secrets: Iterable[str],
        timeouts: Timeouts | None = None,
    ) -> ApiClient:
        client = http(name=name, base_url=base_url, headers=headers, secrets=secrets, timeouts=timeouts)
        for new, (before, told) in older.items():
            swapped = {header: value.replace(new, before) for header, value in headers.items()}
            if swapped != dict(headers):
                client.fall_back(swapped, told=told)
        return client

    return make
