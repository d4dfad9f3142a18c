"""A webhook source whose wire format is our own facts: no translation to get in a test's way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from billhook.errors import NotFound, PayloadInvalid
from billhook.events import EVENT_TYPES, Event, Refetch, from_json, to_json
from billhook.provider import (
    Delivery,
    ProviderInfo,
    ReconcilePage,
    ReconcileWindow,
    Sighting,
    WebhookRequest,
)
from billhook.signing import StandardWebhooks

SECRET = "whsec_" + "ZmFrZXMgYXJlIG5vIHNlY3JldCBhdCBhbGwh"


class FakeSource:
    """Reads ``{"events": [fact, …], "refetch": [{"kind": …, "id": …}, …]}``, signed by Standard Webhooks.

    ``things`` is what :meth:`refetch` and :meth:`reconcile` find at the provider, by kind and id: the facts about each.
    """

    def __init__(self, connection: str = "fakepay", *, secret: str = SECRET) -> None:
        self.connection = connection
        self.info = ProviderInfo(plugin="fakepay", title="Fake payments", thin_events=True)
        self.things: dict[tuple[str, str], Sequence[Event]] = {}
        self.page_size = 2
        self._signer = StandardWebhooks([secret])

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Check the signature."""
        return Delivery(key=self._signer.verify(request.body, request.headers, now=now))

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """Read the facts; a fact of an unknown type is left out."""
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise PayloadInvalid(f"it is not JSON: {type(exc).__name__}") from None
        if not isinstance(parsed, dict):
            raise PayloadInvalid("it is no JSON object")
        facts = [_fact(each) for each in _objects(parsed, "events") if each.get("type") in EVENT_TYPES]
        return [*facts, *(_thing(each) for each in _objects(parsed, "refetch"))]

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Return what ``things`` holds."""
        if (thing.kind, thing.id) not in self.things:
            raise NotFound(f"there is no {thing.kind} {thing.id}")
        return self.things[thing.kind, thing.id]

    def reconcile(self, window: ReconcileWindow) -> Iterator[ReconcilePage]:
        """List ``things``, ``page_size`` at a time, in the order they were put there; none of them is dated."""
        start = int(window.cursor or 0)
        things = list(self.things.items())
        for at in range(start, max(len(things), start + 1), self.page_size):
            batch, after = things[at : at + self.page_size], at + self.page_size
            yield ReconcilePage(
                sightings=[_sighting(kind, facts) for (kind, _), facts in batch],
                cursor=str(after) if after < len(things) else None,
            )

    def body(self, *said: Event | Refetch) -> bytes:
        """Write a delivery."""
        facts = [json.loads(to_json(each)) for each in said if not isinstance(each, Refetch)]
        thin = [{"kind": each.kind, "id": each.id} for each in said if isinstance(each, Refetch)]
        return json.dumps({"events": facts, "refetch": thin}).encode()

    def signed(self, body: bytes, now: datetime, *, webhook_id: str = "msg_1") -> WebhookRequest:
        """Return the request the provider would send."""
        return WebhookRequest(headers=self._signer.sign(body, webhook_id=webhook_id, at=now), body=body)


def _sighting(kind: str, facts: Sequence[Event]) -> Sighting:
    return Sighting(kind=kind, ref=facts[0].ref, changed_at=facts[0].at, news=lambda _known: facts)


def _objects(parsed: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    found = parsed.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise PayloadInvalid(f"{name} is no list of objects")
    return found


def _fact(item: Mapping[str, object]) -> Event:
    try:
        return from_json(json.dumps(item))
    except (ValueError, RecursionError):
        raise PayloadInvalid(f"a fact of type {item['type']} cannot be read") from None


def _thing(item: Mapping[str, object]) -> Refetch:
    kind, thing_id = item.get("kind"), item.get("id")
    if not isinstance(kind, str) or not isinstance(thing_id, str):
        raise PayloadInvalid("a thing to fetch has a kind and an id")
    return Refetch(kind=kind, id=thing_id)
