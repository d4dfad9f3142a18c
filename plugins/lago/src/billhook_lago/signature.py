"""Whether a webhook is from our Lago organisation. The algorithm is the configured one; its header is never asked."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

from billhook.errors import ProviderError, Refused, SignatureInvalid, Temporary
from billhook.signing import HmacSha256, RsaJwt
from billhook_lago.client import LagoClient, organization_id, readable
from billhook_lago.config import LagoConfig
from billhook_lago.reading import Json, obj, text

KEY_LIFE: Final = timedelta(minutes=5)
"""A forged token makes us ask Lago for its key once in this time at most."""


class Signature(Protocol):
    """Checks that a body was signed for us."""

    def verify(self, body: bytes, signature: str, envelope: Json | None, *, now: datetime) -> None:
        """Return when it was; ``envelope`` is the parsed body, None when it cannot be parsed.

        :raises SignatureInvalid: it was not.
        """
        ...


class HmacSignature:
    """HMAC over the raw bytes. Lago's key belongs to one organisation, so a right signature says whose it is."""

    def __init__(self, config: LagoConfig) -> None:
        self._hmac = HmacSha256(
            [secret.get_secret_value() for secret in config.webhook_secret], encoding="base64"
        )
        self._organization_id = config.organization_id

    def verify(self, body: bytes, signature: str, envelope: Json | None, *, now: datetime) -> None:
        """See :class:`Signature`. A body that cannot be parsed is ours all the same: only our Lago has the key."""
        self._hmac.verify(body, signature)
        if self._organization_id is not None and envelope is not None:
            check_organization(envelope, self._organization_id)


class JwtSignature:
    """An RS256 token by the key of the Lago *instance*.

    On a shared instance every other organisation's webhooks carry the same key, so the organisation is part of the
    check. Key and organisation are fetched with the first webhook, not at start-up: a Lago that is down must not
    stop the host.
    """

    def __init__(self, config: LagoConfig, client: LagoClient) -> None:
        self._client = client
        self._configured_organization = config.organization_id
        self._lock = threading.Lock()
        self._known: tuple[RsaJwt, str] | None = None
        self._fetched_at: datetime | None = None

    def verify(self, body: bytes, signature: str, envelope: Json | None, *, now: datetime) -> None:
        """See :class:`Signature`. A token that does not fit may be of a newer key: it is asked for, but not often.

        :raises Temporary: key or organisation cannot be fetched now; Lago must send it again.
        """
        token, organization_id = self._keys(now, older_than=None)
        try:
            token.verify(body, signature)
        except SignatureInvalid:
            newer, organization_id = self._keys(now, older_than=KEY_LIFE)
            if newer is token:
                raise
            newer.verify(body, signature)
        if envelope is None:
            raise SignatureInvalid(
                "the body names no organisation, and the key is that of a whole Lago instance"
            )
        check_organization(envelope, organization_id)

    def _keys(self, now: datetime, *, older_than: timedelta | None) -> tuple[RsaJwt, str]:
        """Return the key, fetched for the first time, or again when ours is ``older_than`` that."""
        with self._lock:
            at = self._fetched_at
            if self._known is None or at is None or (older_than is not None and now - at >= older_than):
                self._known, self._fetched_at = self._fetched(), now
            return self._known

    def _fetched(self) -> tuple[RsaJwt, str]:
        try:
            answer = self._client.get("webhooks", "json_public_key")
            with readable():
                encoded = text(obj(answer, "webhook"), "public_key")
            # Lago does not say its own address as the issuer we would call it by, so any issuer will do.
            token = RsaJwt(b64decode(encoded).decode("ascii"), issuer=None)
            return token, self._configured_organization or self._fetched_organization()
        except (ProviderError, Refused, ValueError) as exc:
            raise Temporary(f"the key of Lago's webhooks cannot be fetched: {exc}") from exc

    def _fetched_organization(self) -> str:
        found = organization_id(self._client)
        if found is None:
            raise Temporary("Lago does not tell the organisation; set the connection's ORGANIZATION_ID")
        return found


def check_organization(envelope: Json, expected: str) -> None:
    """Return when the body is of the organisation ``expected``; raises SignatureInvalid."""
    if envelope.get("organization_id") != expected:
        raise SignatureInvalid("the webhook is of another Lago organisation")


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header that must be there; names are lower-case. Raises SignatureInvalid."""
    value = headers.get(name, "")
    if not value:
        raise SignatureInvalid(f"the header {name} is missing")
    return value
