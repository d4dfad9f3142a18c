"""Outgoing webhooks: Standard Webhooks signatures, Dodo's envelope, Dodo's retry schedule.

The body is rendered when it leaves, not when the event happened: Dodo sends the latest data at the time of each
attempt, so a repeated ``webhook-id`` may carry another body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from billhook.clock import Clock
from billhook.testing.sandbox import Outgoing, Post, WebhookSender

from .catalog_json import instant
from .records import Json
from .state import BUSINESS_ID, new_id

PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """One place Dodo reports to. No ``filter_types`` means every event."""

    endpoint_id: str
    url: str
    secret: str
    sender: WebhookSender
    created_at: datetime
    description: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    filter_types: list[str] | None = None
    rate_limit: int | None = None
    disabled: bool = False
    idempotency_key: str | None = None

    def wants(self, event_type: str) -> bool:
        """Say whether this endpoint is told about the event."""
        return not self.disabled and (not self.filter_types or event_type in self.filter_types)


@dataclass(frozen=True, slots=True)
class Message:
    """One event on its way to one endpoint."""

    webhook_id: str
    endpoint_id: str
    outgoing: Outgoing


class Webhooks:
    """The endpoints of the business and everything ever announced to them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.endpoints: dict[str, Endpoint] = {}
        self.messages: list[Message] = []

    def add_endpoint(self, *, url: str, secret: str, post: Post, details: Json | None = None) -> Endpoint:
        """Register an endpoint; ``details`` are its optional properties as posted to ``/webhooks``."""
        given = details or {}
        endpoint = Endpoint(
            endpoint_id=new_id("ep"),
            url=url,
            secret=secret,
            sender=WebhookSender(clock=self._clock, post=post, pauses=PAUSES),
            created_at=self._clock.now(),
            description=given.get("description") or "",
            metadata=dict(given.get("metadata") or {}),
            filter_types=given.get("filter_types"),
            rate_limit=given.get("rate_limit"),
            disabled=bool(given.get("disabled")),
            idempotency_key=given.get("idempotency_key"),
        )
        self.endpoints[endpoint.endpoint_id] = endpoint
        return endpoint

    def emit(self, event_type: str, payload_type: str, render: Callable[[], Json]) -> None:
        """Announce an event to every endpoint that wants it; it leaves at the next :meth:`deliver`."""
        webhook_id = new_id("msg")
        body = _envelope(event_type, payload_type, self._clock.now(), render)
        for endpoint in self.endpoints.values():
            if endpoint.wants(event_type):
                self._queue(endpoint, webhook_id, event_type, body)

    def deliver(self) -> int:
        """Attempt everything that is due once; return how many attempts were made."""
        return sum(endpoint.sender.deliver_due() for endpoint in list(self.endpoints.values()))

    def _queue(self, endpoint: Endpoint, webhook_id: str, event_type: str, body: Callable[[], bytes]) -> None:
        def headers(raw: bytes, now: datetime) -> dict[str, str]:
            return signed_headers(endpoint.secret, webhook_id=webhook_id, now=now, body=raw)

        outgoing = Outgoing(type=event_type, body=body, headers=headers, due_at=self._clock.now())
        self.messages.append(Message(webhook_id, endpoint.endpoint_id, outgoing))
        endpoint.sender.add(outgoing)


def signed_headers(secret: str, *, webhook_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt: HMAC-SHA256 over ``id.timestamp.body``, timestamp of this attempt."""
    timestamp = str(int(now.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = b".".join((webhook_id.encode(), timestamp.encode(), body))
    digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{digest}",
    }


def _envelope(
    event_type: str, payload_type: str, at: datetime, render: Callable[[], Json]
) -> Callable[[], bytes]:
    def body() -> bytes:
        envelope = {
            "business_id": BUSINESS_ID,
            "type": event_type,
            "timestamp": instant(at),
            "data": {"payload_type": payload_type} | render(),
        }
        return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode()

    return body
