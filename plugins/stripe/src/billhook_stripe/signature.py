"""Stripe's webhook signatures: ``Stripe-Signature: t=<seconds>,v1=<hex>[,v1=…]`` over ``<seconds>.<raw body>``.

While a secret is rolled Stripe signs with both, and we accept both. Stripe's own library lets a time from the future
pass; here it is refused like one that is too old.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from billhook.errors import SignatureInvalid

HEADER: Final = "stripe-signature"
TOLERANCE: Final = timedelta(minutes=5)

_TIME = re.compile(r"[0-9]{1,10}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class StripeSignatures:
    """Checks signatures with one or several secrets."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = tuple(secret.encode() for secret in secrets)

    def verify(self, body: bytes, header: str | None, *, now: datetime) -> None:
        """Return when one of the signatures is right and its time near; raises :class:`SignatureInvalid`."""
        if not header:
            raise SignatureInvalid("no Stripe-Signature header")
        stamp, given = _read(header)
        if abs(now - datetime.fromtimestamp(int(stamp), UTC)) > TOLERANCE:
            raise SignatureInvalid("the signature's time is too far from now; is this machine's clock right?")
        signed = stamp.encode() + b"." + body
        right = [hmac.new(key, signed, hashlib.sha256).hexdigest() for key in self._keys]
        if not any(hmac.compare_digest(one, other) for one in right for other in given):
            raise SignatureInvalid("no signature matches the body; is the secret that of this endpoint?")

    def sign(self, body: bytes, *, at: datetime) -> str:
        """Return the header Stripe would send, signed with the first secret."""
        stamp = str(int(at.timestamp()))
        digest = hmac.new(self._keys[0], stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return f"t={stamp},v1={digest}"


def _read(header: str) -> tuple[str, list[str]]:
    """Return the time and the signatures of the scheme we know; others (``v0``) are let pass."""
    parts = list(_parts(header))
    times = [value for name, value in parts if name == "t" and _TIME.fullmatch(value)]
    given = [value for name, value in parts if name == "v1" and _DIGEST.fullmatch(value)]
    if len(times) != 1 or not given:
        raise SignatureInvalid("the Stripe-Signature header holds no time or no v1 signature")
    return times[0], given


def _parts(header: str) -> Iterator[tuple[str, str]]:
    for part in header[:4096].split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise SignatureInvalid("the Stripe-Signature header cannot be read")
        yield name.strip(), value
