"""A notification channel that keeps what it is given."""

from __future__ import annotations

from billhook.errors import Refused
from billhook.notifier import ChannelInfo, Message
from billhook.testing.fakes.strikes import Strikes, answered


class FakeChannel:
    """Puts every message into ``sent``. ``strikes`` holds what goes wrong; nobody in ``unknown`` gets anything."""

    def __init__(self, connection: str = "fakemail") -> None:
        self.connection = connection
        self.info = ChannelInfo(plugin="fakemail", title="Fake mail")
        self.sent: list[Message] = []
        self.strikes = Strikes()
        self.unknown: set[str] = set()

    def send(self, message: Message) -> None:
        """Keep the message."""
        if message.recipient in self.unknown:
            raise Refused("nobody has this address")
        lost = self.strikes.strike()
        self.sent.append(message)
        answered(lost, None)
