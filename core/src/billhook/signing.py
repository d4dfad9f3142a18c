"""Signatures of webhooks: three schemes, each a pure function of raw bytes, secrets and a given time.

* :class:`StandardWebhooks` — the Standard Webhooks specification 1.0.0; what Billhook itself sends, too
* :class:`HmacSha256` — one header with the HMAC of the body
* :class:`RsaJwt` — an RS256 token that carries the body as a claim

A secret is checked when the object is made, so a mistyped one stops the start-up; the ``ValueError`` says what is
wrong and never shows the secret. Afterwards whatever a stranger sends ends in an answer or in
:class:`~billhook.errors.SignatureInvalid`, nothing else. Verify the bytes as they came: parsed and written again,
the same JSON has other bytes (Rails escapes ``&`` as ``\\u0026``).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import jwt
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from billhook.errors import SignatureInvalid

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

_SECRET_PREFIX = "whsec_"  # noqa: S105 — the scheme's published prefix, no secret
_PUBLIC_KEY_PREFIX = "whpk_"
_PRIVATE_KEY_PREFIX = "whsk_"
_SECRET_BYTES = range(16, 65)  # asked for are 24 to 64, but the official libraries' own tests sign with 23
_ID = re.compile(r"[!-~]{1,256}")  # visible ASCII: a control character could end a log line or a header
_SECONDS = re.compile(r"[1-9][0-9]{0,9}")  # whole and canonical; ten digits reach the year 2286


class StandardWebhooks:
    """Signs and verifies the headers ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.

    ``secrets`` are ``whsec_`` secrets (or the bare base64) and ``whpk_`` ed25519 public keys. Give the old and the
    new one while rotating: either is accepted, and :meth:`sign` signs with every secret. ``tolerance`` is how far
    the timestamp, which is that of the attempt, may lie from ``now`` on either side.
    """

    __slots__ = ("_keys", "_public_keys", "_tolerance")

    def __init__(self, secrets: Sequence[str], tolerance: timedelta = timedelta(minutes=5)) -> None:
        _check_several(secrets)
        public = [secret for secret in secrets if secret.startswith(_PUBLIC_KEY_PREFIX)]
        self._keys = tuple(_standard_key(secret) for secret in secrets if secret not in public)
        self._public_keys = tuple(_standard_public_key(key) for key in public)
        self._tolerance = tolerance

    def __repr__(self) -> str:
        return f"<StandardWebhooks with {len(self._keys) + len(self._public_keys)} secrets>"

    def verify(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> str:
        """Return the webhook's id, the same for every attempt at it.

        :param headers: names in any case.
        :raises SignatureInvalid: a header is missing, repeated or malformed, the timestamp is out of tolerance, or
            none of the signatures is right.
        """
        webhook_id = _header(headers, ID_HEADER, _ID)
        seconds = _header(headers, TIMESTAMP_HEADER, _SECONDS)
        self._check_age(datetime.fromtimestamp(int(seconds), UTC), now)
        tokens = _header(headers, SIGNATURE_HEADER, None).split(" ")
        content = f"{webhook_id}.{seconds}.".encode() + body
        if not (self._matches(content, tokens) or self._matches_public_key(content, tokens)):
            raise SignatureInvalid(
                f"no signature in {SIGNATURE_HEADER} is right; check the endpoint's secret"
            )
        return webhook_id

    def sign(self, body: bytes, *, webhook_id: str, at: datetime) -> dict[str, str]:
        """Return the three headers for one attempt at ``at`` (aware, counted in whole seconds).

        :raises ValueError: there is no secret to sign with, or the id or time cannot be put in a header.
        """
        seconds = str(int(_aware(at).timestamp()))
        if not self._keys:
            raise ValueError(f"signing needs a {_SECRET_PREFIX} secret; a public key can only verify")
        if not _ID.fullmatch(webhook_id) or not _SECONDS.fullmatch(seconds):
            raise ValueError(
                "a webhook is signed with an id of 1 to 256 visible ASCII characters and a time after 1970"
            )
        content = f"{webhook_id}.{seconds}.".encode() + body
        tokens = (f"v1,{_base64_hmac(key, content)}" for key in self._keys)
        return {ID_HEADER: webhook_id, TIMESTAMP_HEADER: seconds, SIGNATURE_HEADER: " ".join(tokens)}

    def _check_age(self, sent_at: datetime, now: datetime) -> None:
        if abs(_aware(now) - sent_at) > self._tolerance:
            raise SignatureInvalid(
                f"{TIMESTAMP_HEADER} is more than {self._tolerance.total_seconds():.0f} s away from now: "
                "an old webhook sent again, or a clock that is wrong"
            )

    def _matches(self, content: bytes, tokens: Sequence[str]) -> bool:
        expected = [f"v1,{_base64_hmac(key, content)}" for key in self._keys]
        return any(_equal(token, good) for good in expected for token in tokens)

    def _matches_public_key(self, content: bytes, tokens: Sequence[str]) -> bool:
        given = (token.removeprefix("v1a,") for token in tokens if token.startswith("v1a,"))
        signatures = [signature for text in given if (signature := _canonical(text)) is not None]
        return any(_ed25519_ok(key, content, one) for key in self._public_keys for one in signatures)


class HmacSha256:
    """A signature that is nothing but the HMAC-SHA256 of the body, written as base64 or lower-case hex.

    The ``secrets`` are used as they are written: of a UUID its text, nothing is decoded. Any of them is accepted,
    so an old one can stay while rotating. No time is signed: a captured webhook stays valid, and only remembering
    its body stops a replay.
    """

    __slots__ = ("_hex", "_keys")

    def __init__(self, secrets: Sequence[str], *, encoding: Literal["base64", "hex"]) -> None:
        _check_several(secrets)
        if encoding not in ("base64", "hex"):
            raise ValueError(f"encoding {encoding!r} is not known; use 'base64' or 'hex'")
        self._keys = tuple(secret.encode() for secret in secrets)
        self._hex = encoding == "hex"

    def __repr__(self) -> str:
        return f"<HmacSha256 with {len(self._keys)} secrets>"

    def verify(self, body: bytes, signature: str) -> None:
        """Return when ``signature`` is that of ``body``.

        :raises SignatureInvalid: it is not.
        """
        if not any(_equal(signature, self._signature(key, body)) for key in self._keys):
            raise SignatureInvalid("the signature does not belong to this body; check the webhook secret")

    def sign(self, body: bytes) -> str:
        """Return the signature of ``body`` by the first secret."""
        return self._signature(self._keys[0], body)

    def _signature(self, key: bytes, body: bytes) -> str:
        return hmac.new(key, body, hashlib.sha256).hexdigest() if self._hex else _base64_hmac(key, body)


class RsaJwt:
    """An RS256 token whose claim ``data`` is the raw body as a string.

    The algorithm is fixed here. The token's own header is never asked: it could name ``none``, or HS256 with the
    public key as a secret. ``issuer`` is what the claim ``iss`` must be; None takes any.
    Such a token carries no time: a captured one stays valid for its body.
    """

    __slots__ = ("_issuer", "_key")

    def __init__(self, public_key_pem: str, *, issuer: str | None) -> None:
        self._key = _rsa_public_key(public_key_pem)
        self._issuer = issuer

    def __repr__(self) -> str:
        return f"<RsaJwt by {self._issuer or 'any issuer'}>"

    def verify(self, body: bytes, token: str) -> None:
        """Return when ``token`` was signed by the key's owner for exactly this ``body``.

        :raises SignatureInvalid: it was not.
        """
        if not token.isascii():  # a lone surrogate cannot even be encoded
            raise SignatureInvalid("the token is not a JWT")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["RS256"],
                issuer=self._issuer,
                options={"require": ["data"]},
            )
        except jwt.PyJWTError as exc:
            raise SignatureInvalid(f"the token is not accepted: {type(exc).__name__}") from exc
        data = claims["data"]
        if not isinstance(data, str) or data.encode(errors="surrogatepass") != body:
            raise SignatureInvalid("the token was signed for another body")


def _check_several(secrets: Sequence[str]) -> None:
    if isinstance(secrets, str):
        raise ValueError("give the secrets as a list, even when there is one")
    if not secrets or not all(secrets):
        raise ValueError("a webhook secret is missing or empty; copy it from the provider's webhook settings")


def _standard_key(secret: str) -> bytes:
    if secret.startswith(_PRIVATE_KEY_PREFIX):
        raise ValueError(
            f"a {_PRIVATE_KEY_PREFIX} key signs; to verify, give the {_PUBLIC_KEY_PREFIX} key beside it"
        )
    text = secret.removeprefix(_SECRET_PREFIX)
    # The official libraries take a secret without its padding, which carries nothing.
    key = _decoded(text + "=" * (-len(text) % 4))
    if key is None:
        raise ValueError(
            f"a webhook secret is {_SECRET_PREFIX} and base64 (A-Z a-z 0-9 + / =); "
            "this one has another character or a part missing: copy it again"
        )
    if len(key) not in _SECRET_BYTES:
        raise ValueError(f"a webhook secret holds 16 to 64 bytes; this one holds {len(key)}: copy it again")
    return key


def _standard_public_key(text: str) -> Ed25519PublicKey:
    key = _decoded(text.removeprefix(_PUBLIC_KEY_PREFIX))
    if key is None or len(key) != 32:
        raise ValueError(
            f"a {_PUBLIC_KEY_PREFIX} key is the base64 of 32 bytes; this one is not: copy it again"
        )
    return Ed25519PublicKey.from_public_bytes(key)


def _rsa_public_key(pem: str) -> RSAPublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            "the public key is not PEM text that starts with -----BEGIN PUBLIC KEY-----"
        ) from None
    if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise ValueError("the public key must be an RSA key of at least 2048 bits")
    return key


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str] | None) -> str:
    values = [value for key, value in headers.items() if key.lower() == name]
    if len(values) != 1 or not values[0]:
        raise SignatureInvalid(f"the header {name} is missing or repeated")
    if form is not None and not form.fullmatch(values[0]):
        raise SignatureInvalid(f"the header {name} is malformed")
    return values[0]


def _aware(instant: datetime) -> datetime:
    if instant.utcoffset() is None:
        raise ValueError("the time must be aware; pass one in UTC")
    return instant


def _base64_hmac(key: bytes, content: bytes) -> str:
    return b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def _equal(given: str, expected: str) -> bool:
    # Comparing the text, not the decoded bytes, leaves exactly one spelling of a right signature.
    return given.isascii() and hmac.compare_digest(given, expected)


def _decoded(text: str) -> bytes | None:
    """Return what the base64 says, or None when it holds a foreign character or a part is missing."""
    try:
        return b64decode(text, validate=True)
    except ValueError:  # binascii.Error, and what b64decode says to non-ASCII text
        return None


def _canonical(text: str) -> bytes | None:
    """Return what the base64 says when nothing else spells the same bytes, else None."""
    decoded = _decoded(text)
    return decoded if decoded is not None and b64encode(decoded).decode() == text else None


def _ed25519_ok(key: Ed25519PublicKey, content: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
