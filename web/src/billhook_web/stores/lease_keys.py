"""The keys that sign leases. The private half of each is sealed before it comes here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select

from billhook_web.db import Tx, lock
from billhook_web.stores.tables import lease_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseKey:
    """One key. It signs from ``signs_at`` until the next one does; ``sealed`` is its private half."""

    kid: str
    public: bytes
    sealed: str = field(repr=False)
    created_at: datetime
    signs_at: datetime


def purpose(kid: str) -> str:
    """Return what the private half of a key is sealed for."""
    return f"lease-key:{kid}"


def hold(tx: Tx) -> None:
    """Let nobody else change the keys until the transaction ends."""
    lock(tx, ["lease-keys"])


def list_keys(tx: Tx) -> Sequence[LeaseKey]:
    """Return all keys in the order in which they sign."""
    rows = tx.execute(select(lease_keys).order_by(lease_keys.c.signs_at, lease_keys.c.created_at))
    return [_key(row) for row in rows]


def add_key(tx: Tx, key: LeaseKey) -> None:
    """Store a new key."""
    tx.execute(
        insert(lease_keys).values(
            kid=key.kid,
            public=key.public,
            sealed=key.sealed,
            created_at=key.created_at,
            signs_at=key.signs_at,
        )
    )


def remove_keys(tx: Tx, kids: Iterable[str]) -> None:
    """Forget keys; what they signed is no longer believed once callers have asked for the keys again."""
    tx.execute(delete(lease_keys).where(lease_keys.c.kid.in_(list(kids))))


def _key(row: Any) -> LeaseKey:
    return LeaseKey(
        kid=row.kid,
        public=bytes(row.public),
        sealed=row.sealed,
        created_at=row.created_at,
        signs_at=row.signs_at,
    )
