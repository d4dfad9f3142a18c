"""How Lago writes: Rails' JSON bytes, its timestamps, and its two webhook signatures.

Lago signs the raw body: ``hmac`` is base64 of HMAC-SHA256 with the organisation's key, ``jwt`` an RS256 token whose
``data`` claim is the body as a string and whose ``iss`` is the instance's URL, without any time claim.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_PEM_LINE = 60  # Ruby's Base64.encode64 wraps at 60 characters
_ESCAPES = str.maketrans(
    {"&": "\\u0026", "<": "\\u003c", ">": "\\u003e", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def rails_json(value: Any) -> bytes:
    """Return compact JSON with ``& < >`` and the line separators U+2028 and U+2029 escaped, as Rails does."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode()


def stamp(at: datetime | None) -> str | None:
    """Return an instant in whole seconds: ``2026-08-01T00:00:00Z``."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def fine_stamp(at: datetime | None) -> str | None:
    """Return an instant in milliseconds, which Lago uses for a few columns only."""
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Signer:
    """Signs webhook bodies with the organisation's HMAC key or the instance's RSA key (made when first needed)."""

    def __init__(self, *, hmac_key: str, issuer: str) -> None:
        self._hmac_key = hmac_key.encode()
        self._issuer = issuer

    @cached_property
    def _private_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def headers(self, body: bytes, *, algorithm: str, unique_key: str) -> dict[str, str]:
        """Return the headers of one delivery. The unique key is not covered by the signature."""
        signature = self.hmac(body) if algorithm == "hmac" else self.jwt(body)
        return {
            "Content-Type": "application/json",
            "X-Lago-Signature": signature,
            "X-Lago-Signature-Algorithm": algorithm,
            "X-Lago-Unique-Key": unique_key,
        }

    def hmac(self, body: bytes) -> str:
        """Return the ``hmac`` signature of ``body``."""
        return base64.b64encode(hmac.new(self._hmac_key, body, hashlib.sha256).digest()).decode()

    def jwt(self, body: bytes) -> str:
        """Return the ``jwt`` signature of ``body``: a token with the whole body inside."""
        claims = {"data": body.decode(), "iss": self._issuer}
        return jwt.encode(claims, self._private_key, algorithm="RS256", headers={"typ": None})

    def public_key(self) -> str:
        """Return the public key as ``GET /webhooks/public_key`` serves it: base64 of the PEM, wrapped."""
        pem = self._private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        encoded = base64.b64encode(pem).decode()
        return "".join(encoded[at : at + _PEM_LINE] + "\n" for at in range(0, len(encoded), _PEM_LINE))
