"""Ingress: verify a delivery over its raw bytes, store it, and only then say yes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billhook.provider import WebhookRequest, WebhookSource
from billhook_web.db import Database
from billhook_web.stores import inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A delivery that is durably stored. ``inbox_id`` None: this connection has had it before."""

    inbox_id: int | None


def receive(db: Database, source: WebhookSource, request: WebhookRequest, *, now: datetime) -> Receipt:
    """Store one delivery; when this returns it survives any crash.

    :raises SignatureInvalid: nothing was stored.
    :raises Temporary: it cannot be verified just now; nothing was stored, the sender should try again.
    """
    delivery = source.verify(request, now=now)
    with db.begin() as tx:
        inbox_id = inbox.add(tx, connection=source.connection, delivery=delivery, body=request.body, now=now)
    return Receipt(inbox_id=inbox_id)
