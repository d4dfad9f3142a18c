"""What the sandbox announces: events as Stripe writes them, webhook endpoints, signatures and retries.

A delivery carries the object as it was when the event happened, the same in every attempt; only the signature's time is
new each time.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billhook.clock import Clock
from billhook.testing.sandbox import Outgoing, Post, WebhookSender

from .errors import Json, missing
from .world import ACCOUNT, new_id

PAUSES = (
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    *[timedelta(hours=10)] * 6,
)
"""Waits between attempts, about three days in all, as in live mode."""


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """One place Stripe reports to. ``shown`` is the object as the API shows it; ``thin``: it takes thin events.

    ``post`` carries every attempt: what waits goes to a new address too.
    """

    shown: Json
    secret: str
    post: Post
    sender: WebhookSender
    thin: bool = False

    def wants(self, event_type: str) -> bool:
        """Say whether this endpoint is told about the event."""
        told = self.shown["enabled_events"]
        return self.shown["status"] == "enabled" and ("*" in told or event_type in told)


class Hooks:
    """The endpoints of the account and every event there was."""

    def __init__(self, clock: Clock, *, version: str) -> None:
        self._clock = clock
        self._version = version
        self.endpoints: dict[str, Endpoint] = {}
        self.events: dict[str, Json] = {}

    def add(
        self, *, url: str, secret: str, post: Post, events: list[str] | None = None, thin: bool = False
    ) -> Endpoint:
        """Register an endpoint; None hears of everything."""
        shown: Json = {
            "id": new_id("we"),
            "object": "webhook_endpoint",
            "api_version": self._version,
            "application": None,
            "created": int(self._clock.now().timestamp()),
            "description": None,
            "enabled_events": events or ["*"],
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
        }
        sender = WebhookSender(
            clock=self._clock, post=lambda body, headers: endpoint.post(body, headers), pauses=PAUSES
        )
        endpoint = Endpoint(shown=shown, secret=secret, post=post, sender=sender, thin=thin)
        self.endpoints[shown["id"]] = endpoint
        return endpoint

    def endpoint(self, ref: str) -> Endpoint:
        """Return an endpoint or answer that there is none."""
        if ref not in self.endpoints:
            raise missing("webhook_endpoint", ref)
        return self.endpoints[ref]

    def emit(self, event_type: str, thing: Json, previous: Json | None, *, key: str | None) -> Json:
        """Announce what happened to ``thing``; it leaves at the next :meth:`deliver`.

        :param previous: the earlier values of what changed.    :param key: the idempotency key of the call behind it.
        """
        data: Json = {"object": copy.deepcopy(_told(thing))}
        if previous is not None:
            data["previous_attributes"] = copy.deepcopy(previous)
        wanted = [endpoint for endpoint in self.endpoints.values() if endpoint.wants(event_type)]
        event: Json = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": self._version,
            "created": int(self._clock.now().timestamp()),
            "data": data,
            "livemode": False,
            "pending_webhooks": len(wanted),
            "request": {"id": new_id("req"), "idempotency_key": key},
            "type": event_type,
        }
        self.events[event["id"]] = event
        for endpoint in wanted:
            self.send(endpoint, event)
        return event

    def send(self, endpoint: Endpoint, event: Json) -> None:
        """Queue an event for an endpoint: a new one, or an old one sent again from the dashboard."""
        body = json.dumps(thin(event) if endpoint.thin else event, separators=(",", ":")).encode()

        def headers(raw: bytes, now: datetime) -> dict[str, str]:
            return signed_headers(endpoint.secret, now=now, body=raw)

        endpoint.sender.add(
            Outgoing(type=event["type"], body=lambda: body, headers=headers, due_at=self._clock.now())
        )

    def deliver(self) -> int:
        """Attempt everything that is due once; return how many attempts were made."""
        return sum(endpoint.sender.deliver_due() for endpoint in list(self.endpoints.values()))


def signed_headers(secret: str, *, now: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt: HMAC-SHA256 over ``<time>.<body>``."""
    stamp = str(int(now.timestamp()))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json; charset=utf-8", "stripe-signature": f"t={stamp},v1={digest}"}


def thin(event: Json) -> Json:
    """Return the thin form of an event: it names the object, and the receiver fetches it."""
    thing = event["data"]["object"]
    created = datetime.fromtimestamp(event["created"], UTC).isoformat()
    return {
        "id": event["id"],
        "object": "v2.core.event",
        "created": created,
        "livemode": False,
        "reason": None,
        "context": ACCOUNT,
        "related_object": {
            "id": thing["id"],
            "type": thing["object"],
            "url": f"/v1/{thing['object']}s/{thing['id']}",
        },
        "snapshot_event": event["id"],
        "type": f"v1.{event['type']}",
    }


def _told(thing: Json) -> Json:
    """Return the object as events carry it: nothing expanded."""
    return {
        name: value["id"]
        if name in ("customer", "payment_method", "latest_charge") and isinstance(value, dict)
        else value
        for name, value in thing.items()
    }
