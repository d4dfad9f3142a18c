"""Secrets at rest: sealed with keys that only the environment holds, and opened only for what they were sealed for.

A sealed value is text: ``bhs1.<key id>.<base64url of nonce, ciphertext and tag>`` (AES-256-GCM). The purpose, such as
``connection:acme:api_key``, is bound to it: copied to another row it does not open. Of several keys the first seals
and all open, so a key is changed in three steps: put the new one in front, seal everything again, drop the old one.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from billhook.clock import new_token, random_bytes
from billhook.errors import SealBroken, Unsupported

VARIABLE: Final = "BILLHOOK_SECRET_KEY"
KEY_BYTES: Final = 32
NO_KEY: Final = "secret_key_missing"
"""The code of the refusal when something must be sealed and there is no key."""

_VERSION = "bhs1"
_NONCE_BYTES = 12
_ID_BYTES = 6
_DISTINCT = 16  # of 32 drawn bytes about 30 differ; a repeated pattern has few


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    aead: AESGCM = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Seals and opens. Without a key it seals nothing and says so; it never lets a secret through in clear."""

    keys: tuple[_Key, ...]
    nonce: Callable[[int], bytes] = field(default=random_bytes, repr=False)

    @classmethod
    def of(cls, keys: Iterable[str]) -> Self:
        """Return a sealer for keys as :func:`new_key` makes them; the first seals, all open.

        :raises ValueError: one is no such key; the message does not show it.
        """
        return cls(keys=tuple(_key(text) for text in keys))

    @property
    def ready(self) -> bool:
        """Whether there is a key to seal with."""
        return bool(self.keys)

    def seal(self, plain: str, *, purpose: str) -> str:
        """Return ``plain`` sealed with the first key.

        :raises Unsupported: there is no key; the message says what to set.
        """
        if not self.keys:
            raise Unsupported(
                f"secrets are stored only sealed, and {VARIABLE} is not set: make a key with "
                "'billhook secrets new-key' and give the same one to every process",
                code=NO_KEY,
            )
        key, nonce = self.keys[0], self.nonce(_NONCE_BYTES)
        sealed = nonce + key.aead.encrypt(nonce, plain.encode(), _bound(key.id, purpose))
        return f"{_VERSION}.{key.id}.{_encoded(sealed)}"

    def open(self, sealed: str, *, purpose: str) -> str:
        """Return what was sealed for ``purpose``.

        :raises SealBroken: no key fits, the value was changed, or it was sealed for something else.
        """
        key_id, body = _parts(sealed, purpose)
        key = next((key for key in self.keys if key.id == key_id), None)
        if key is None:
            raise SealBroken(
                f"the secret for {purpose} is sealed with the key {key_id}, which {VARIABLE} does not hold; "
                "add that key behind the others, or set the secret again"
            )
        try:
            opened = key.aead.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], _bound(key.id, purpose))
        except (InvalidTag, ValueError):
            raise _broken(purpose) from None
        return opened.decode()

    @property
    def mark(self) -> str | None:
        """Return what everything begins with that the first key sealed; None: there is no key."""
        return f"{_VERSION}.{self.keys[0].id}." if self.keys else None

    def is_current(self, sealed: str) -> bool:
        """Whether ``sealed`` was sealed with the first key."""
        return self.mark is not None and sealed.startswith(self.mark)

    def can_open(self, sealed: str) -> bool:
        """Whether the key that sealed this is there; opening may fail all the same when the value was changed."""
        return any(sealed.startswith(f"{_VERSION}.{key.id}.") for key in self.keys)


def new_key() -> str:
    """Return a new key as ``BILLHOOK_SECRET_KEY`` takes it: 256 random bits as base64url."""
    return new_token(size=KEY_BYTES)


def _key(text: str) -> _Key:
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise ValueError(f"a key is no base64url text; {_ADVICE}") from None
    if len(raw) < KEY_BYTES or _encoded(raw) != text.rstrip("="):
        raise ValueError(f"a key is not {KEY_BYTES} bytes or more as base64url; {_ADVICE}")
    if len(set(raw)) < _DISTINCT:
        raise ValueError(f"a key repeats itself too much to be a random one; {_ADVICE}")
    return _Key(_derived(raw, b"id", _ID_BYTES).hex(), AESGCM(_derived(raw, b"seal", KEY_BYTES)))


_ADVICE = "make one with 'billhook secrets new-key'"


def _derived(raw: bytes, use: bytes, size: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=size, salt=None, info=b"billhook " + use).derive(raw)


def _bound(key_id: str, purpose: str) -> bytes:
    return f"{_VERSION}.{key_id}.{purpose}".encode()


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _parts(sealed: str, purpose: str) -> tuple[str, bytes]:
    version, _, rest = sealed.partition(".")
    key_id, _, body = rest.partition(".")
    if version != _VERSION or not key_id or not body:
        raise _broken(purpose)
    try:
        return key_id, urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except (binascii.Error, ValueError):
        raise _broken(purpose) from None


def _broken(purpose: str) -> SealBroken:
    return SealBroken(f"the stored secret for {purpose} was changed or belongs elsewhere; set it again")
