"""Who may call the API: bearer keys, of which only a digest is stored, and what each key may do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from billhook.clock import new_token
from billhook_web.db import Database
from billhook_web.runtime import Runtime
from billhook_web.stores import accounts, audit
from billhook_web.stores.accounts import ApiKey

ALL: Final = "*"
"""The scope that contains every other."""

SCOPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "customers:read": "see customers and how far their data got",
        "customers:write": "register and change customers",
        "billing:read": "see subscriptions, plans, usage, invoices, payments, refunds, credit notes, disputes, mandates",
        "billing:write": "start, change and end subscriptions; ask for another attempt to collect",
        "events:read": "see what was received and what was done about it, with the bodies as they came",
        "events:write": "replay deliveries, retry effects",
        "access:read": "ask who may use the product, why and until when, also what would be",
        "access:write": "exempt customers: tags, who pays, invoices written off",
        "policies:read": "see access policies, and what another one would change",
        "policies:write": "write access policies, and say which one counts for whom",
        "portal:write": "let a customer into their billing pages by a one-time link",
        "connections:read": "see what is connected and let it be checked",
        "webhooks:read": "see who receives webhooks, what was sent and what was answered",
        "webhooks:write": "add, change and remove receivers of webhooks, send test events, send again",
        "admin": "see the settings of connections, with secrets masked, and what operators did",
    }
)
"""What a key may be allowed to do. A scope says nothing about any other."""

PREFIX: Final = "bh_live_"
KEY_BYTES: Final = 32
BOOTSTRAP: Final = "BILLHOOK_API_KEY"
"""The name of the key that comes from the environment."""

HOST: Final = "host"
"""The actor of what the host does by itself because its configuration says so."""


def create_key(db: Database, *, name: str, scopes: Sequence[str], now: datetime, actor: str = HOST) -> str:
    """Make a key and return it: this is the only time it can be seen.

    :param actor: who makes it, for the audit.
    :raises ValueError: no scope is given, or one does not exist.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES and scope != ALL]
    if unknown or not scopes:
        raise ValueError(f"{unknown or 'nothing'} is no scope; choose from {', '.join((*SCOPES, ALL))}")
    key = new_token(PREFIX, size=KEY_BYTES)
    with db.begin() as tx:
        added = accounts.add_api_key(
            tx, name=name, digest=digest_of(key), last4=key[-4:], scopes=scopes, now=now
        )
        detail = {"name": name, "scopes": list(scopes)}
        audit.add(tx, at=now, actor=actor, action="key.create", subject=added, detail=detail)
    return key


def revoke_key(db: Database, key_id: int, *, now: datetime, actor: str) -> bool:
    """End a key at once; False when there is no such key in force."""
    with db.begin() as tx:
        ended = accounts.revoke_api_key(tx, key_id, now=now)
        if ended:
            audit.add(tx, at=now, actor=actor, action="key.revoke", subject=key_id)
    return ended


def ensure_bootstrap_key(runtime: Runtime) -> None:
    """Store the keys that ``BILLHOOK_API_KEY`` names, with all scopes; end those it named before.

    Call it at start-up: a key that was replaced in the environment must not stay good.
    """
    keys = {digest_of(key): key for key in _bootstrap_keys(runtime)}
    now = runtime.clock.now()
    with runtime.db.begin() as tx:
        named = {found.id for digest in keys if (found := accounts.find_api_key(tx, digest))}
        for known in accounts.list_api_keys(tx):
            if known.name == BOOTSTRAP and known.revoked_at is None and known.id not in named:
                accounts.revoke_api_key(tx, known.id, now=now)
                audit.add(
                    tx, at=now, actor=HOST, action="key.revoke", subject=known.id, detail={"name": BOOTSTRAP}
                )
        for digest, key in keys.items():
            added = accounts.add_api_key(
                tx, name=BOOTSTRAP, digest=digest, last4=key[-4:], scopes=(ALL,), now=now
            )
            if added is not None:
                detail = {"name": BOOTSTRAP, "scopes": [ALL]}
                audit.add(tx, at=now, actor=HOST, action="key.create", subject=added, detail=detail)


def digest_of(key: str) -> str:
    """Return what is stored of a key. A fast hash is enough: a key has 256 random bits."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def authorize(runtime: Runtime, header: str | None, *, scope: str) -> ApiKey:
    """Return the caller's key.

    The digest is looked up by an index, so how long it takes says nothing about the key.

    :raises Unauthorized: no key, or none that is in force.    :raises Forbidden: it lacks ``scope``.
    """
    scheme, _, key = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise _unauthorized("Send an API key: Authorization: Bearer <key>.")
    found = _find(runtime, digest_of(key.strip()))
    if found is None:
        raise _unauthorized("This API key is not known, or it was revoked.", error="invalid_token")
    if scope not in found.scopes and ALL not in found.scopes:
        raise Forbidden(f"This API key lacks the scope {scope!r}. Use one that has it.")
    return found


def _find(runtime: Runtime, digest: str) -> ApiKey | None:
    with runtime.db.read() as tx:
        found = accounts.find_api_key(tx, digest)
    if found is not None or digest not in {digest_of(key) for key in _bootstrap_keys(runtime)}:
        return found
    # The database was made after start-up: the environment's key is stored with its first use.
    ensure_bootstrap_key(runtime)
    with runtime.db.read() as tx:
        return accounts.find_api_key(tx, digest)


def _bootstrap_keys(runtime: Runtime) -> tuple[str, ...]:
    return tuple(key.get_secret_value() for key in runtime.configuration.host.api_key)


def _unauthorized(detail: str, *, error: str | None = None) -> Unauthorized:
    challenge = WWWAuthenticate("bearer", {"realm": "billhook", **({"error": error} if error else {})})
    return Unauthorized(detail, www_authenticate=challenge)
