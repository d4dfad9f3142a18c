"""Telling the world: an event becomes a message, in the transaction that made it true, and one delivery per endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An event to be told: what type, about whom, as plain JSON, and when we knew."""

    type: str
    customer_id: str | None
    data: Mapping[str, Any]
    at: datetime


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
    return publish_all(tx, [Happening(type=type, customer_id=customer_id, data=data, at=now)])


def publish_all(tx: Tx, happened: Sequence[Happening]) -> tuple[int, ...]:
    """Write down several events, in order, as :func:`publish` does one; who wants to hear is looked up once."""
    for each in happened:
        if each.type not in EVENT_TYPES:
            raise ValueError(f"{each.type!r} is no type of event; add it to EVENT_TYPES with what it says")
    if not happened:
        return ()
    listening = endpoints.all_for_planning(tx)
    if listening:
        _take_turn(tx, happened)
    woken: dict[int, None] = {}
    for each in happened:
        wanting = [endpoint for endpoint in listening if endpoint.wants(each.type)]
        woken |= dict.fromkeys(_publish(tx, wanting, each)[1])
    return tuple(woken)


def publish_test(tx: Tx, endpoint: Endpoint, *, now: datetime) -> str:
    """Have a test event sent to one endpoint, whatever it wants to hear and whatever waits; return the message's id."""
    data = {"endpoint_id": endpoint.id, "text": "This is a test."}
    return _publish(tx, [endpoint], Happening(type=TEST, customer_id=None, data=data, at=now))[0]


def _take_turn(tx: Tx, happened: Sequence[Happening]) -> None:
    """Have others wait who tell of the same customers: numbers are in the order of the commits only when one waits."""
    lock(tx, (f"webhooks:{each.customer_id}" for each in happened if each.customer_id is not None))


def _publish(tx: Tx, to: Sequence[Endpoint], what: Happening) -> tuple[str, tuple[int, ...]]:
    key = new_token("msg_", size=18)
    if not to:
        return key, ()
    customer_id, now = what.customer_id, what.at
    body = _body(what.type, what.data, now)
    message_id = outgoing.add_message(
        tx, key=key, kind=what.type, customer_id=customer_id, body=body, now=now
    )
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
