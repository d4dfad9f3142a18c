"""A lease verified without a client: by whoever was handed one and has the host's public keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from billhook.clock import Clock, SystemClock
from billhook.errors import LeaseInvalid
from billhook.lease import Lease, LeaseVerifier, keys_of


def verify_lease(
    token: str,
    jwks: Mapping[str, Any],
    *,
    issuer: str | None = None,
    leeway: timedelta = timedelta(),
    clock: Clock | None = None,
) -> Lease:
    """Return what a lease states.

    :param jwks: what the host answers at ``/.well-known/jwks.json``; keep it for as long as its ``max-age``.
    :param issuer: the host's public URL; None: any.    :param leeway: how far this machine's clock may be off.
    :raises LeaseInvalid: believe nothing it says.
    """
    try:
        keys = keys_of(jwks)
    except ValueError as exc:
        raise LeaseInvalid(f"the public keys cannot be read: {exc}") from exc
    return LeaseVerifier(keys, issuer=issuer, leeway=leeway).verify(token, now=(clock or SystemClock()).now())
