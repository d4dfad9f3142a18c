"""Signs leases, keeps their keys, and changes them without an instant in which a good lease is refused.

A new key is published ahead of its first signature, longer than callers may keep the list of keys, and an old one stays
published until the last lease it signed is over. The first key signs at once: nobody has a list without it yet.
"""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from billhook.clock import random_bytes
from billhook.lease import KEY_BYTES, LONGEST, Lease, Subject, jwks_of, key_id, public_of, sign_lease
from billhook_web.db import Database, Tx
from billhook_web.sealing import Sealer
from billhook_web.stores import audit, lease_keys
from billhook_web.stores.lease_keys import LeaseKey

PUBLISHED_FOR: Final = timedelta(minutes=5)
"""How long callers may keep the list of public keys."""

KNOWN_FOR: Final = timedelta(minutes=1)
"""How long a process works with the keys it read."""

AHEAD: Final = PUBLISHED_FOR + 2 * KNOWN_FOR
"""How long before its first signature a key is published: another process shows it only when it reads the keys again."""

BEHIND: Final = LONGEST + 2 * KNOWN_FOR
"""How long after its last signature a key stays published. The spare minute is for clocks that differ."""

MOST_SUBSCRIPTIONS: Final = 20
"""A customer with more of them is leased without their states: a token has to fit a header."""


class KeyState(StrEnum):
    """What a key does now."""

    WAITING = "waiting"  # published, and signs later
    SIGNING = "signing"
    LEAVING = "leaving"  # published for what it signed
    OVER = "over"  # no longer published; removed by the next rotation


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ring:
    """The keys as read at ``read_at``."""

    keys: tuple[LeaseKey, ...]
    read_at: datetime


class Leasing:
    """Signs decisions as leases for callers, with keys kept sealed in the database. Threads share one."""

    def __init__(
        self, *, db: Database, sealer: Sealer, issuer: str, random: Callable[[int], bytes] = random_bytes
    ) -> None:
        """Prepare; nothing is read or made yet.

        :param issuer: the host's public URL, which every lease names.
        """
        self._db = db
        self._sealer = sealer
        self._issuer = issuer
        self._random = random
        self._ring: _Ring | None = None
        self._seeds: dict[str, bytes] = {}
        self._turn = threading.Lock()

    def sign(
        self, decision: Mapping[str, Any], *, version: int, now: datetime, subscription: str | None = None
    ) -> str:
        """Return the lease of a decision, as it is answered in JSON, for five minutes or until it changes by itself.

        :param subscription: the one the decision is about; None: it is about ``decision["customer"]``.
        :raises Unsupported: secrets cannot be sealed here; the message says what to set.
        :raises SealBroken: the key was sealed by a secret that is not configured.
        """
        kind = Subject.CUSTOMER if subscription is None else Subject.SUBSCRIPTION
        lease = Lease(
            issuer=self._issuer,
            kind=kind,
            subject=decision["customer"] if subscription is None else subscription,
            issued_at=now,
            expires_at=_end(decision.get("next_change_at"), now),
            version=version,
            state=decision["state"],
            standing=decision["standing"],
            access=decision["access"],
            block_changes=decision["block_changes"],
            subscriptions=_subscriptions(decision) if kind is Subject.CUSTOMER else None,
        )
        return sign_lease(lease, seed=self._seed(self._signing(now)))

    def jwks(self, *, now: datetime) -> dict[str, Any]:
        """Return the public keys that callers should know; none while secrets cannot be sealed here."""
        keys = self._keys(now)
        return jwks_of({key.kid: key.public for key in keys if _state(key, keys, now) is not KeyState.OVER})

    def states(self, *, now: datetime) -> Sequence[tuple[LeaseKey, KeyState]]:
        """Return every key with what it does, in the order in which they sign."""
        with self._db.read() as tx:
            keys = tuple(lease_keys.list_keys(tx))
        return [(key, _state(key, keys, now)) for key in keys]

    def rotate(self, *, now: datetime, actor: str, at_once: bool = False) -> LeaseKey:
        """Make a new key and return it; forget those whose last lease is over.

        :param at_once: the old ones are no longer to be believed: they are forgotten and the new one signs now. A
            caller believes them until it asks for the keys again, at most :data:`PUBLISHED_FOR` later.
        :raises Unsupported: secrets cannot be sealed here.
        """
        with self._db.begin() as tx:
            lease_keys.hold(tx)
            keys = tuple(lease_keys.list_keys(tx))
            gone = [key.kid for key in keys if at_once or _state(key, keys, now) is KeyState.OVER]
            lease_keys.remove_keys(tx, gone)
            first = at_once or len(gone) == len(keys)
            made = self._make(tx, now=now, signs_at=now if first else now + AHEAD)
            detail = {"at_once": at_once, "removed": gone}
            audit.add(tx, at=now, actor=actor, action="lease.rotate-key", subject=made.kid, detail=detail)
        with self._turn:
            self._ring = None
        return made

    def _signing(self, now: datetime) -> LeaseKey:
        keys = self._keys(now)
        for key in reversed(keys):
            if key.signs_at <= now:
                return key
        if not keys:
            self._sealer.seal("", purpose=lease_keys.purpose(""))  # says what to set
        return keys[0]  # a clock that was set back

    def _keys(self, now: datetime) -> tuple[LeaseKey, ...]:
        with self._turn:
            ring = self._ring
        if ring is not None and ring.keys and timedelta() <= now - ring.read_at < KNOWN_FOR:
            return ring.keys
        with self._db.read() as tx:
            keys = tuple(lease_keys.list_keys(tx))
        if not keys and self._sealer.ready:
            keys = self._first(now)
        with self._turn:
            self._ring = _Ring(keys=keys, read_at=now)
            self._seeds = {kid: seed for kid, seed in self._seeds.items() if kid in {k.kid for k in keys}}
        return keys

    def _first(self, now: datetime) -> tuple[LeaseKey, ...]:
        """Make the first key, unless another process just did."""
        with self._db.begin() as tx:
            lease_keys.hold(tx)
            return tuple(lease_keys.list_keys(tx)) or (self._make(tx, now=now, signs_at=now),)

    def _make(self, tx: Tx, *, now: datetime, signs_at: datetime) -> LeaseKey:
        seed = self._random(KEY_BYTES)
        public = public_of(seed)
        kid = key_id(public)
        sealed = self._sealer.seal(b64encode(seed).decode(), purpose=lease_keys.purpose(kid))
        key = LeaseKey(kid=kid, public=public, sealed=sealed, created_at=now, signs_at=signs_at)
        lease_keys.add_key(tx, key)
        return key

    def _seed(self, key: LeaseKey) -> bytes:
        seed = self._seeds.get(key.kid)
        if seed is None:
            seed = b64decode(self._sealer.open(key.sealed, purpose=lease_keys.purpose(key.kid)))
            with self._turn:
                self._seeds[key.kid] = seed
        return seed


def _state(key: LeaseKey, keys: Sequence[LeaseKey], now: datetime) -> KeyState:
    if key.signs_at > now:
        return KeyState.WAITING
    later = [each.signs_at for each in keys[keys.index(key) + 1 :] if each.signs_at <= now]
    if not later:
        return KeyState.SIGNING
    return KeyState.LEAVING if now < later[0] + BEHIND else KeyState.OVER


def _end(next_change_at: str | None, now: datetime) -> datetime:
    latest = now + LONGEST
    return latest if next_change_at is None else min(latest, datetime.fromisoformat(next_change_at))


def _subscriptions(decision: Mapping[str, Any]) -> Mapping[str, tuple[str, str]] | None:
    known: Mapping[str, Any] = decision.get("subscriptions") or {}
    if len(known) > MOST_SUBSCRIPTIONS:
        return None
    return {ref: (each["state"], each["access"]) for ref, each in known.items()}
