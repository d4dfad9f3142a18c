"""Telling the world: an event becomes a message, in the transaction that made it true, and one delivery per endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from billhook.clock import new_token
from billhook_web.db import Tx, lock
from billhook_web.stores import endpoints, outgoing
from billhook_web.stores.endpoints import Endpoint

ACCESS_CHANGED: Final = "access.changed"
TEST: Final = "webhook.test"

EVENT_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ACCESS_CHANGED: "What a customer may use changed: the customer, the version, the old and the new decision.",
        TEST: "Sent on request, to the endpoint it was requested for.",
    }
)
"""Every type of event there is, and what it says."""

SUBSCRIBABLE: Final = tuple(sorted(set(EVENT_TYPES) - {TEST}))
"""What an endpoint can ask to hear."""


def publish(
    tx: Tx, *, type: str, customer_id: str | None, data: Mapping[str, Any], now: datetime
) -> tuple[int, ...]:
    """Write down that something happened, for every endpoint that wants to hear of it.

    One customer's events are told in the order in which they are published. Those for a disabled endpoint are held until
    it is enabled. The sweeper finds what is to be sent; who knows when the transaction is committed may wake it sooner.

    :param type: one of :data:`EVENT_TYPES`.    :param data: plain JSON.
    :return: the ids of the endpoints something is due for.
    :raises ValueError: there is no such type.
    """
    if type not in EVENT_TYPES:
        raise ValueError(f"{type!r} is no type of event; add it to EVENT_TYPES with what it says")
    wanting = [each for each in endpoints.all_for_planning(tx) if each.wants(type)]
    return _publish(tx, wanting, type, customer_id, data, now)[1]


def publish_test(tx: Tx, endpoint: Endpoint, *, now: datetime) -> str:
    """Have a test event sent to one endpoint, whatever it wants to hear and whatever waits; return the message's id."""
    data = {"endpoint_id": endpoint.id, "text": "This is a test."}
    return _publish(tx, [endpoint], TEST, None, data, now)[0]


def _publish(
    tx: Tx, to: Sequence[Endpoint], kind: str, customer_id: str | None, data: Mapping[str, Any], now: datetime
) -> tuple[str, tuple[int, ...]]:
    key = new_token("msg_", size=18)
    if not to:
        return key, ()
    if customer_id is not None:
        lock(tx, [f"webhooks:{customer_id}"])  # numbers are in the order of the commits only when one waits
    body = _body(kind, data, now)
    message_id = outgoing.add_message(tx, key=key, kind=kind, customer_id=customer_id, body=body, now=now)
    for each in to:
        outgoing.plan(
            tx,
            message_id=message_id,
            endpoint_id=each.id,
            customer_id=customer_id,
            held=not each.enabled,
            now=now,
        )
    return key, tuple(each.id for each in to if each.enabled)


def _body(kind: str, data: Mapping[str, Any], now: datetime) -> str:
    """Return the text that every attempt sends, byte for byte, as the Standard Webhooks specification has it."""
    at = now.astimezone(UTC).isoformat().replace("+00:00", "Z")
    said = {"type": kind, "timestamp": at, "data": data}
    return json.dumps(said, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
