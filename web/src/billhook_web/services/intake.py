"""Ingress: verify a delivery over its raw bytes, store it, and only then say yes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billhook.provider import WebhookRequest, WebhookSource
from billhook_web.db import Database
from billhook_web.services.verifying import Verify, verified
from billhook_web.stores.gathering import Gathering


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A delivery that is durably stored. ``inbox_id`` None: this connection has had it before."""

    inbox_id: int | None


class Intake:
    """Takes deliveries in, for all threads of a process."""

    def __init__(self, db: Database, *, verify: Verify = verified) -> None:
        self._gathering = Gathering(db)
        self._verify = verify

    def receive(self, source: WebhookSource, request: WebhookRequest, *, now: datetime) -> Receipt:
        """Store one delivery; when this returns it survives any crash.

        :raises SignatureInvalid: nothing was stored.
        :raises Temporary: it cannot be verified just now; nothing was stored, the sender should try again.
        :raises billhook_web.db.DatabaseError: it is not known to be stored, the sender should try again.
        """
        delivery = self._verify(source, request, now=now)
        inbox_id = self._gathering.add(
            connection=source.connection, delivery=delivery, body=request.body, now=now
        )
        return Receipt(inbox_id=inbox_id)
