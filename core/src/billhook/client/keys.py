"""The host's public keys as a client keeps them: when they are read, and the leases they verify."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billhook.client.exchange import Call, Reply
from billhook.clock import Clock
from billhook.errors import LeaseInvalid
from billhook.lease import Lease, LeaseVerifier, keys_of

log = logging.getLogger("billhook.client")

JWKS_PATH: Final = "/.well-known/jwks.json"
KEYS_FOR: Final = timedelta(minutes=5)
"""How old the public keys may be when a lease is verified with them."""

KEYS_PAUSE: Final = timedelta(seconds=10)
"""How long an unknown key has to wait before the keys are asked for again: anybody can make a token that names one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    verifier: LeaseVerifier
    asked_at: datetime


class KeyRing:
    """Public keys, and what they verify. Threads may share one."""

    def __init__(self, *, clock: Clock, issuer: str | None) -> None:
        self._clock = clock
        self._issuer = issuer
        self._keys: _Keys | None = None

    def lacks(self, token: str) -> bool:
        """Say whether the public keys should be read for this token: there are none, old ones, or not the one it names."""
        if not token:
            return False
        now, keys = self._clock.now(), self._keys
        if keys is None:
            return True
        age = now - keys.asked_at
        if age >= KEYS_FOR or age < timedelta():
            return True
        return age >= KEYS_PAUSE and self._is_unknown(keys, token, now)

    def call(self) -> Call:
        """Return the request for the public keys."""
        return Call(method="GET", path=JWKS_PATH, at=self._clock.now())

    def came(self, call: Call, reply: Reply | None) -> None:
        """Take in the public keys; without a readable reply the ones that are known stay."""
        verifier = self._keys.verifier if self._keys else LeaseVerifier({})
        if reply is not None and reply.status == 200:
            try:
                verifier = LeaseVerifier(keys_of(json.loads(reply.body)), issuer=self._issuer)
            except (ValueError, RecursionError) as exc:
                log.warning("client.keys_unreadable %s", exc)
        self._keys = _Keys(verifier=verifier, asked_at=call.at)

    def verify(self, token: str) -> Lease:
        """Verify a lease with the keys that are known.

        :raises LeaseInvalid: it does not hold, or its key is not known.
        """
        verifier = self._keys.verifier if self._keys else LeaseVerifier({})
        return verifier.verify(token, now=self._clock.now())

    def _is_unknown(self, keys: _Keys, token: str, now: datetime) -> bool:
        try:
            keys.verifier.verify(token, now=now)
        except LeaseInvalid as exc:
            return exc.unknown_key
        return False
