"""Webhooks from Billhook, verified offline and typed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from billhook.client.answer import Access
from billhook.clock import Clock, SystemClock
from billhook.errors import PayloadInvalid
from billhook.signing import StandardWebhooks

ACCESS_CHANGED: Final = "access.changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """A verified webhook. ``id`` is the same for every attempt at it: keep it to handle each once."""

    id: str
    type: str
    at: datetime
    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessChanged(WebhookEvent):
    """What a customer may use changed. ``old`` is None for the first decision."""

    customer: str
    version: int
    old: Access | None
    new: Access


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    *,
    clock: Clock | None = None,
) -> WebhookEvent:
    """Return the event, an :class:`AccessChanged` when it is one.

    :param body: the bytes as they came.    :param secrets: those of the endpoint; two while one is being rotated.
    :raises SignatureInvalid: answer 401.    :raises PayloadInvalid: signed by Billhook, yet not readable.
    :raises ValueError: a secret is none; copy it again.
    """
    now = (clock or SystemClock()).now()
    webhook_id = StandardWebhooks(secrets).verify(body, headers, now=now)
    try:
        return _event(webhook_id, json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise PayloadInvalid(f"the webhook {webhook_id} cannot be read: {type(exc).__name__}") from exc


def _event(webhook_id: str, said: Mapping[str, Any]) -> WebhookEvent:
    kind, data = str(said["type"]), said["data"]
    at = datetime.fromisoformat(said["timestamp"])
    if at.utcoffset() is None or not isinstance(data, dict):
        raise ValueError("no time with an offset, or no data")
    if kind != ACCESS_CHANGED:
        return WebhookEvent(id=webhook_id, type=kind, at=at, data=data)
    customer, version, old = str(data["customer"]), int(data["version"]), data.get("old")
    return AccessChanged(
        id=webhook_id,
        type=kind,
        at=at,
        data=data,
        customer=customer,
        version=version,
        old=Access.of_decision(old, subject=customer, as_of=at, version=version - 1) if old else None,
        new=Access.of_decision(data["new"], subject=customer, as_of=at, version=version),
    )
