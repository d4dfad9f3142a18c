"""Registering and changing customers: stored at once, brought to the billing engines from the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billhook.clock import Clock
from billhook.effects import SyncCustomer
from billhook_web.db import Database, Tx, lock
from billhook_web.services.connections import Connections
from billhook_web.stores import access, accounts, outbox
from billhook_web.stores.accounts import CustomerRow, Sync, SyncStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Upserted:
    """A stored customer, whether it is new, and the effects to wake."""

    row: CustomerRow
    created: bool
    effects: tuple[int, ...]


class Customers:
    """Keeps what integrators say about their customers."""

    def __init__(self, *, db: Database, clock: Clock, connections: Connections) -> None:
        self._db = db
        self._clock = clock
        self._connections = connections

    def upsert(self, customer_id: str, fields: Mapping[str, Any]) -> Upserted:
        """Store what is said; fields that are not mentioned stay. Needs no provider to be up.

        Saying the same again still counts as a change when the last sync did not end well, so that an operator can
        push once more by repeating the call.
        """
        now = self._clock.now()
        with self._db.begin() as tx:
            lock(tx, [f"customer/{customer_id}"])
            before = accounts.get_customer(tx, customer_id)
            given = {**before.given, **fields} if before else dict(fields)
            if "address" in fields and before and before.given.get("address"):
                given["address"] = {**before.given["address"], **(fields["address"] or {})}
            if before is not None and before.version and given == before.given and _all_well(before):
                return Upserted(row=before, created=False, effects=())
            version = accounts.put_customer(tx, customer_id, given=given, now=now)
            effects = self._sync(tx, customer_id, version)
            if before is None or before.given.get("timezone") != given.get("timezone"):
                access.outdate(tx, [customer_id])  # days are counted in it
            row = accounts.get_customer(tx, customer_id)
        assert row is not None  # noqa: S101 - it was written in this transaction
        return Upserted(row=row, created=before is None, effects=effects)

    def _sync(self, tx: Tx, customer_id: str, version: int) -> tuple[int, ...]:
        now = self._clock.now()
        planned: list[int] = []
        for connection in self._connections.engines():
            effect = SyncCustomer(customer_id=customer_id, connection=connection.name, version=version)
            effect_id = outbox.add(tx, effect, now=now)
            if effect_id is None:
                continue
            note = f"Version {version} replaces it."
            outbox.supersede(tx, lane=effect.lane, below_id=effect_id, now=now, note=note)
            sync = Sync(connection=connection.name, version=version, status=SyncStatus.PENDING, at=now)
            accounts.put_sync(tx, customer_id, sync)
            planned.append(effect_id)
        return tuple(planned)


def _all_well(row: CustomerRow) -> bool:
    if row.erased_at is not None:
        return False  # saying anything registers them again
    return all(sync.status in (SyncStatus.SYNCED, SyncStatus.PENDING) for sync in row.syncs)
