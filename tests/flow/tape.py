"""A tape of every webhook that was delivered, to deliver them again: later, the same, and as if for the first time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from billhook.provider import Delivery, WebhookRequest
from billhook_web.stores import inbox
from tests.flow.flow import Flow


@dataclass(frozen=True)
class Recorded:
    """One webhook, and when it came."""

    connection: str
    body: bytes
    headers: Mapping[str, str]
    at: datetime


@dataclass
class Tape:
    """What came in at a flow, in order."""

    flow: Flow
    webhooks: list[Recorded] = field(default_factory=list)

    def record(self) -> Tape:
        """Begin to record."""
        plain = self.flow.post

        def recording(connection: str, body: bytes, headers: Mapping[str, str]) -> int:
            self.webhooks.append(Recorded(connection, body, headers, self.flow.clock.now()))
            return plain(connection, body, headers)

        self.flow.post = recording  # type: ignore[method-assign]  # between the sandboxes and the host
        return self

    def repeat(self) -> int:
        """Deliver everything again, as it came; return how many the host took for new."""
        runtime, new = self.flow.runtime, 0
        for each in self.webhooks:
            headers = {name.lower(): value for name, value in each.headers.items()}
            source = runtime.connections.source(each.connection)
            request = WebhookRequest(headers=headers, body=each.body)
            new += runtime.intake.receive(source, request, now=each.at).inbox_id is not None
        self.flow.settle()
        return new

    def repeat_under_new_keys(self) -> None:
        """Deliver everything again in deliveries that nothing recognises but their facts."""
        now = self.flow.clock.now()
        for number, each in enumerate(self.webhooks):
            with self.flow.runtime.db.begin() as tx:
                again = Delivery(key=f"again-{number}")
                inbox.add(tx, connection=each.connection, delivery=again, body=each.body, now=now)
        self.flow.settle()
