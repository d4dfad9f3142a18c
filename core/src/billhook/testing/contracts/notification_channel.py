"""What a notification channel must do: hand over what it is given, say how that ended, and repeat none of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import pytest

from billhook.errors import Refused, Temporary
from billhook.notifier import Message, MessageKind, NotificationChannel

Received = Callable[[], Sequence[tuple[str, str, str]]]
Spoil = Callable[[], None]

SECRET = "https://billing.test/portal/enter/" + "s3cr3t" * 6


def a_message(number: int = 1, *, html: str | None = None) -> Message:
    """Return a message that holds a link nobody else may see, and letters beyond ASCII."""
    return Message(
        key=f"message-{number}",
        kind=MessageKind.PORTAL_LINK,
        recipient=f"ada{number}@customer.test",
        locale="de-DE",
        subject=f"Grüße, Nummer {number}",
        text=f"Ihr Link für später:\n\n{SECRET}{number}\n.\nEnde",
        html=html,
    )


class NotificationChannelContract:
    """The suite. Fill in ``channel``, ``received``, ``refuse`` and ``break_down``."""

    @pytest.fixture
    def channel(self) -> NotificationChannel:
        """The channel, what it sends taken by its sandbox."""
        raise NotImplementedError("fill in the fixture `channel`")

    @pytest.fixture
    def received(self) -> Received:
        """``received()``: recipient, subject and plain text of everything that arrived, in order."""
        raise NotImplementedError("fill in the fixture `received`")

    @pytest.fixture
    def refuse(self) -> Spoil:
        """``refuse()``: the next recipient is not known there."""
        raise NotImplementedError("fill in the fixture `refuse`")

    @pytest.fixture
    def break_down(self) -> Spoil:
        """``break_down()``: the next message is not taken now, but may be later."""
        raise NotImplementedError("fill in the fixture `break_down`")

    def test_the_channel_keeps_the_protocol(self, channel: NotificationChannel) -> None:
        """It has what the host asks for."""
        assert isinstance(channel, NotificationChannel)
        assert channel.connection
        assert channel.info.title

    def test_each_message_arrives_once_as_it_was_written(
        self, channel: NotificationChannel, received: Received
    ) -> None:
        """Whatever its letters are, at its own recipient, with or without HTML."""
        messages = [a_message(1), a_message(2, html="<p>Grüße</p>")]
        for message in messages:
            channel.send(message)
        wanted = [(each.recipient, each.subject, each.text) for each in messages]
        assert [(who, about, text.rstrip("\n")) for who, about, text in received()] == wanted

    def test_a_recipient_nobody_knows_is_refused(
        self, channel: NotificationChannel, received: Received, refuse: Spoil
    ) -> None:
        """Trying again would not help; the next message is sent as ever."""
        refuse()
        with pytest.raises(Refused) as refused:
            channel.send(a_message(1))
        assert_silent(str(refused.value))
        channel.send(a_message(2))
        assert [who for who, _, _ in received()] == [a_message(2).recipient]

    def test_what_is_not_taken_now_may_be_tried_again(
        self, channel: NotificationChannel, received: Received, break_down: Spoil
    ) -> None:
        """Nothing was handed over by the first try."""
        break_down()
        with pytest.raises(Temporary) as failed:
            channel.send(a_message())
        assert_silent(str(failed.value))
        assert received() == []
        channel.send(a_message())
        assert len(received()) == 1

    def test_nothing_of_a_message_is_logged(
        self, channel: NotificationChannel, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whoever reads a log gets in nowhere."""
        with caplog.at_level(logging.DEBUG):
            channel.send(a_message())
        assert_silent(caplog.text)


def assert_silent(text: str) -> None:
    """Check that a text repeats neither the link nor the recipient of :func:`a_message`."""
    assert SECRET not in text
    assert "@customer.test" not in text
