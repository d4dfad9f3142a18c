"""A receiver of a sandbox's webhooks that keeps what it gets and answers as a test wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One attempt to deliver a webhook."""

    body: bytes
    headers: Mapping[str, str]

    @property
    def event(self) -> dict[str, Any]:
        """Return the body, read as JSON."""
        event: dict[str, Any] = json.loads(self.body)
        return event


@dataclass(slots=True)
class Mailbox:
    """Takes webhooks (:data:`billhook.testing.sandbox.Post`). ``answers`` are the next HTTP statuses, 200 when used up."""

    answers: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Take one webhook and return the HTTP status."""
        self.received.append(Received(body, dict(headers)))
        return self.answers.pop(0) if self.answers else 200

    @property
    def types(self) -> list[str]:
        """Return the events' ``type``, oldest first."""
        return [entry.event["type"] for entry in self.received]
