"""A webhook source behind its connection's gate: what it says is checked, and it asks its provider only when that may be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from billhook.errors import BillhookError
from billhook.events import Event, Refetch
from billhook.provider import Delivery, WebhookRequest, WebhookSource
from billhook_web.services import answers
from billhook_web.services.gates import Gates


class GuardedSource:
    """Is a webhook source itself. ``parse`` is no call, so it passes no gate."""

    def __init__(self, source: WebhookSource, gates: Gates) -> None:
        self.connection = source.connection
        self.info = source.info
        self._source = source
        self._gates = gates

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Check a signature."""
        return answers.delivery(self._source.verify(request, now=now))

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """Say what a body means."""
        try:
            return answers.understood(self._source.parse(body))
        except BillhookError:
            raise
        except Exception as exc:
            self._gates.fault(self.connection, exc)
            raise

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Ask the provider; raises :class:`billhook_web.services.gates.NotNow` besides what the source raises."""
        with self._gates.enter(self.connection) as visit:
            return visit.call(lambda: answers.facts(self._source.refetch(thing), "refetch"))
