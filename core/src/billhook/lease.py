"""A signed lease: an access answer that whoever holds the public key believes without asking, for minutes.

A lease is a compact JWS (RFC 7515) signed with Ed25519, so that who can verify one cannot make one. Its header holds
exactly ``alg`` (``EdDSA``), ``typ`` (``billhook-lease+jwt``) and ``kid``; its claims are those of :class:`Lease`.

The verifier pins the algorithm and takes the key from its own list; the header only says which of them. All that can be
wrong is :class:`~billhook.errors.LeaseInvalid`. Keys are raw bytes (32), times whole seconds, ``now`` an argument.
"""

from __future__ import annotations

import hashlib
import threading
from base64 import b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from billhook.errors import LeaseInvalid

LEASE_TYPE: Final = "billhook-lease+jwt"
ALGORITHM: Final = "EdDSA"
LONGEST: Final = timedelta(minutes=5)
"""No lease is made for longer: a revocation that a caller cannot hear of waits at most so long."""

T = TypeVar("T")

KEY_BYTES: Final = 32
LONGEST_TOKEN: Final = 16 * 1024
_HEADER: Final = frozenset({"alg", "typ", "kid"})
_SECONDS: Final = range(1, 10_000_000_000)  # to the year 2286


class Subject(StrEnum):
    """Whose access a lease states."""

    CUSTOMER = "customer"
    SUBSCRIPTION = "subscription"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What is leased. The claim of each field stands behind it.

    ``subscriptions`` are the states and access levels by subscription; None: the lease does not state them.
    """

    issuer: str  # iss: the public URL of the host
    kind: Subject  # sub: "customer:<id>" or "subscription:<ref>"
    subject: str
    issued_at: datetime  # iat and nbf
    expires_at: datetime  # exp
    version: int  # ver: that of the decision
    state: str
    standing: str
    access: str
    block_changes: bool
    subscriptions: Mapping[str, tuple[str, str]] | None = field(default=None)

    def check_time(self, now: datetime, *, leeway: timedelta = timedelta()) -> None:
        """Return when the lease holds at ``now``; ``leeway`` allows for two clocks that differ.

        :raises LeaseInvalid: it is over, or it has not begun.
        """
        if now >= self.expires_at + leeway:
            raise LeaseInvalid(f"the lease ended at {self.expires_at:%Y-%m-%dT%H:%M:%SZ}")
        if now < self.issued_at - leeway:
            raise LeaseInvalid("the lease begins in the future; check this machine's clock")


def public_of(seed: bytes) -> bytes:
    """Return the public key that belongs to a private one."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def key_id(public: bytes) -> str:
    """Return what a key is called: part of a digest of the public key, so it never names two."""
    return _text(hashlib.sha256(public).digest()[:12])


def sign_lease(lease: Lease, *, seed: bytes) -> str:
    """Return the token. ``seed`` is the private key; times are cut to whole seconds, so it never lasts longer.

    :raises ValueError: it would last longer than :data:`LONGEST`.
    """
    if lease.expires_at - lease.issued_at > LONGEST:
        raise ValueError(f"a lease lasts at most {LONGEST.total_seconds():.0f} s")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    headers = {"typ": LEASE_TYPE, "kid": key_id(key.public_key().public_bytes_raw())}
    return jwt.encode(_claims(lease), key, algorithm=ALGORITHM, headers=headers)


def jwks_of(keys: Mapping[str, bytes]) -> dict[str, Any]:
    """Return public keys, by their id, as a JSON Web Key Set (RFC 7517, RFC 8037)."""
    return {
        "keys": [
            {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": ALGORITHM, "kid": kid, "x": _text(public)}
            for kid, public in keys.items()
        ]
    }


def keys_of(jwks: object) -> dict[str, bytes]:
    """Return the public keys of a key set by their id; keys of other kinds are passed over.

    :raises ValueError: it is no key set.
    """
    listed = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        raise ValueError("a key set is an object with a list of objects under 'keys'")
    found: dict[str, bytes] = {}
    for each in listed:
        kid, x = each.get("kid"), each.get("x")
        ours = each.get("kty") == "OKP" and each.get("crv") == "Ed25519" and each.get("use", "sig") == "sig"
        if ours and isinstance(kid, str) and isinstance(x, str):
            found[kid] = _bytes(x)
    return found


class LeaseVerifier:
    """Verifies leases offline. Threads may share one.

    Of the tokens whose signature was right it remembers the last ``remembered``: asking again costs a look-up and the
    check of the time. ``issuer`` is what ``iss`` must be; None takes any, which is enough when the keys come from there.
    """

    def __init__(
        self,
        keys: Mapping[str, bytes],
        *,
        issuer: str | None = None,
        leeway: timedelta = timedelta(),
        remembered: int = 1024,
    ) -> None:
        """Take the public keys by their id.

        :raises ValueError: one is not 32 bytes long.
        """
        self._keys = {kid: _public_key(public) for kid, public in keys.items()}
        self._issuer = issuer
        self._leeway = leeway
        self._remembered = remembered
        self._known: OrderedDict[str, Lease] = OrderedDict()
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        return f"<LeaseVerifier with {len(self._keys)} keys>"

    @property
    def key_ids(self) -> frozenset[str]:
        """The keys it believes."""
        return frozenset(self._keys)

    def verify(self, token: str, *, now: datetime) -> Lease:
        """Return what the token states, if it holds at ``now`` (aware).

        :raises LeaseInvalid: it is no lease, nobody we know signed it, it was changed, or its time is over.
        """
        with self._turn:
            lease = self._known.get(token)
        if lease is None:
            lease = self._verified(token)
            self._remember(token, lease)
        lease.check_time(now, leeway=self._leeway)
        return lease

    def _remember(self, token: str, lease: Lease) -> None:
        with self._turn:
            self._known[token] = lease
            while len(self._known) > self._remembered:
                self._known.popitem(last=False)

    def _verified(self, token: str) -> Lease:
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise LeaseInvalid("this is no lease: it is not a compact token")
        key = self._key_for(token)
        try:
            # PyJWT would read the machine's clock; the times are checked against ``now`` instead.
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)
        except (jwt.PyJWTError, ValueError, RecursionError) as exc:
            raise LeaseInvalid(f"the lease is not accepted: {type(exc).__name__}") from exc
        lease = _lease(claims)
        if self._issuer is not None and lease.issuer != self._issuer:
            raise LeaseInvalid(f"the lease was issued by {lease.issuer!r}, not by {self._issuer!r}")
        return lease

    def _key_for(self, token: str) -> Ed25519PublicKey:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as exc:
            raise LeaseInvalid("this is no lease: its header cannot be read") from exc
        if frozenset(header) != _HEADER or header["typ"] != LEASE_TYPE or header["alg"] != ALGORITHM:
            raise LeaseInvalid(f"this is no lease: its header is not that of a {LEASE_TYPE} by {ALGORITHM}")
        key = self._keys.get(header["kid"])
        if key is None:
            raise LeaseInvalid("the lease was signed by a key that is not known here", unknown_key=True)
        return key


_SIGNATURE_ONLY: Final[Any] = {
    "verify_signature": True,
    **dict.fromkeys(
        ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"),
        False,
    ),
}


def _claims(lease: Lease) -> dict[str, Any]:
    begins, ends = int(lease.issued_at.timestamp()), int(lease.expires_at.timestamp())
    claims = {
        "iss": lease.issuer,
        "sub": f"{lease.kind}:{lease.subject}",
        "iat": begins,
        "nbf": begins,
        "exp": ends,
        "ver": lease.version,
        "state": lease.state,
        "standing": lease.standing,
        "access": lease.access,
        "block_changes": lease.block_changes,
    }
    if lease.subscriptions is not None:
        claims["subscriptions"] = {
            ref: {"state": state, "access": access} for ref, (state, access) in lease.subscriptions.items()
        }
    return claims


def _lease(claims: Mapping[str, Any]) -> Lease:
    kind, _, subject = _claim(claims, "sub", str).partition(":")
    if kind not in set(Subject) or not subject:
        raise LeaseInvalid("the claim sub is neither 'customer:<id>' nor 'subscription:<ref>'")
    begins = max(_instant(claims, "iat"), _instant(claims, "nbf"))
    return Lease(
        issuer=_claim(claims, "iss", str),
        kind=Subject(kind),
        subject=subject,
        issued_at=begins,
        expires_at=_instant(claims, "exp"),
        version=_claim(claims, "ver", int),
        state=_claim(claims, "state", str),
        standing=_claim(claims, "standing", str),
        access=_claim(claims, "access", str),
        block_changes=_claim(claims, "block_changes", bool),
        subscriptions=_subscriptions(claims.get("subscriptions")),
    )


def _claim(claims: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = claims.get(name)
    if type(value) is not kind:  # exactly: True is an int, too
        raise LeaseInvalid(f"the claim {name} is missing or of the wrong type")
    return value


def _instant(claims: Mapping[str, Any], name: str) -> datetime:
    seconds = _claim(claims, name, int)
    if seconds not in _SECONDS:
        raise LeaseInvalid(f"the claim {name} is no time")
    return datetime.fromtimestamp(seconds, UTC)


def _subscriptions(value: object) -> Mapping[str, tuple[str, str]] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        raise LeaseInvalid("the claim subscriptions is of the wrong type")
    return MappingProxyType(
        {ref: (_claim(each, "state", str), _claim(each, "access", str)) for ref, each in value.items()}
    )


def _public_key(public: bytes) -> Ed25519PublicKey:
    if len(public) != KEY_BYTES:
        raise ValueError(f"a public key has {KEY_BYTES} bytes; this one has {len(public)}")
    return Ed25519PublicKey.from_public_bytes(public)


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    raw = b64decode(
        text + "=" * (-len(text) % 4), altchars=b"-_", validate=True
    )  # binascii.Error is a ValueError
    if len(raw) != KEY_BYTES:
        raise ValueError(f"an Ed25519 key has {KEY_BYTES} bytes; this one has {len(raw)}")
    return raw
