"""A source that lists what its provider holds, behind its connection's gate: while the provider is down nobody asks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from billhook.events import Event, Refetch
from billhook.provider import Delivery, ReconcilePage, ReconcileWindow, WebhookRequest
from billhook_web.services import answers
from billhook_web.services.gates import Gates
from billhook_web.services.sightings import ReconciledSource


class GatedList:
    """Is such a source itself. While its provider is down it raises :class:`billhook.errors.Temporary`."""

    def __init__(self, source: ReconciledSource, gates: Gates) -> None:
        self.connection = source.connection
        self.info = source.info
        self._source = source
        self._gates = gates

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Check a signature."""
        return self._source.verify(request, now=now)

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """Say what a body means."""
        return self._source.parse(body)

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Ask the provider about one thing."""
        return self._gates.ask(self.connection, lambda: answers.facts(self._source.refetch(thing), "refetch"))

    def reconcile(self, window: ReconcileWindow) -> Iterator[ReconcilePage]:
        """List what changed in the window, each page by a call of its own."""
        pages = self._source.reconcile(window)
        while (page := self._gates.ask(self.connection, lambda: next(pages, None))) is not None:
            yield page
