"""How each connection does, as the processes that call its provider last said: for pages, lists and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from billhook_web.db import Tx
from billhook_web.stores.filtering import insert_new
from billhook_web.stores.tables import connection_health

FAULT_SHOWN = timedelta(hours=1)
"""A plugin that did not raise for so long is in order again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One connection's health. ``state`` is the breaker's; ``reason``: the failure that opened it.

    ``faults`` counts what its plugin raised or returned against the contract, ``fault`` is the last of them.
    ``notice`` is what an operator must do about its settings while it works on with those it has.
    """

    connection: str
    state: str
    failures: int = 0
    probe_at: datetime | None = None
    reason: str | None = None
    changed_at: datetime
    faults: int = 0
    fault: str | None = None
    fault_at: datetime | None = None
    notice: str | None = None
    notice_at: datetime | None = None

    def is_faulty(self, now: datetime) -> bool:
        """Tell whether its plugin failed lately."""
        return self.fault_at is not None and now - self.fault_at < FAULT_SHOWN

    def trouble(self, now: datetime) -> str | None:
        """Say in one word what is wrong: the provider is ``down``, the plugin ``failing``, the settings ``stale``."""
        if self.state != "closed":
            return "down"
        if self.is_faulty(now):
            return "failing"
        return "stale" if self.notice else None

    def told(self, now: datetime) -> str | None:
        """Say in a sentence what :meth:`trouble` says in a word."""
        match self.trouble(now):
            case "down":
                return self.reason
            case "failing":
                return self.fault
            case "stale":
                return self.notice
            case _:
                return None


def put(tx: Tx, condition: Condition) -> None:
    """Say whether a connection's provider answers; what its plugin raised stays."""
    values = {
        "state": condition.state,
        "failures": condition.failures,
        "probe_at": condition.probe_at,
        "reason": condition.reason,
        "changed_at": condition.changed_at,
    }
    _put(tx, condition.connection, values)


def add_faults(tx: Tx, connection: str, *, count: int, fault: str, now: datetime) -> None:
    """Count what a connection's plugin did against the contract."""
    tx.execute(
        insert_new(tx, connection_health).values(
            connection=connection, state="closed", failures=0, faults=0, changed_at=now
        )
    )
    faults = connection_health.c.faults + count
    _put(tx, connection, {"faults": faults, "fault": fault, "fault_at": now})


def put_notice(tx: Tx, connection: str, *, notice: str | None, now: datetime) -> None:
    """Say what an operator must do about a connection's settings; None: nothing any more."""
    if notice is not None:
        fresh = {"connection": connection, "state": "closed", "failures": 0, "faults": 0, "changed_at": now}
        tx.execute(insert_new(tx, connection_health).values(**fresh))
    t = connection_health
    at = None if notice is None else now
    tx.execute(update(t).where(t.c.connection == connection).values(notice=notice, notice_at=at))


def of_all(tx: Tx) -> Mapping[str, Condition]:
    """Return the condition of every connection that said something, by its name."""
    rows = tx.execute(select(connection_health))
    return {row.connection: Condition(**row._mapping) for row in rows}


def _put(tx: Tx, connection: str, values: Mapping[str, Any]) -> None:
    t = connection_health
    if tx.execute(update(t).where(t.c.connection == connection).values(**values)).rowcount == 0:
        tx.execute(insert_new(tx, t).values(connection=connection, **values))
