"""Messages hold only what a mail can carry, show nothing of it, and the fake channel keeps the contract."""

from collections.abc import Sequence

import pytest

from billhook.errors import OutcomeUnknown
from billhook.notifier import Message, MessageKind, is_address
from billhook.testing.contracts import NotificationChannelContract
from billhook.testing.fakes import FakeChannel
from billhook.testing.sandbox import FaultKind


def message(recipient: str = "ada@acme.test", subject: str = "Your link") -> Message:
    return Message(
        key="k1",
        kind=MessageKind.PORTAL_LINK,
        recipient=recipient,
        locale="en",
        subject=subject,
        text="s3cr3t",
    )


@pytest.mark.parametrize("address", ["ada@acme.test", "ada.b+c@mail.acme.test", "jürgen@bücher.test"])
def test_an_address_is_one_mailbox_at_one_domain(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "", "ada", "@acme.test", "ada@", "a@b@acme.test", "ada@acme.test, eve@evil.test", "ada@acme.test\r\nBcc: eve",
        "Ada <ada@acme.test>", "ada@acme.test\n", '"ada eve"@acme.test', f"{'a' * 320}@acme.test",
    ],
)  # fmt: skip
def test_what_could_be_more_than_one_address_is_none(address: str) -> None:
    assert not is_address(address)
    with pytest.raises(ValueError, match="recipient"):
        message(recipient=address)


def test_a_subject_ends_no_header() -> None:
    with pytest.raises(ValueError, match="subject"):
        message(subject="Your link\r\nBcc: eve@evil.test")


def test_what_a_message_says_is_not_in_its_repr() -> None:
    shown = repr(message())
    assert "s3cr3t" not in shown
    assert "ada@acme.test" not in shown


def test_a_lost_answer_leaves_the_message_sent() -> None:
    channel = FakeChannel()
    channel.strikes.add(FaultKind.LOST_ANSWER)
    with pytest.raises(OutcomeUnknown):
        channel.send(message())
    assert [each.key for each in channel.sent] == ["k1"]


class TestFakeChannel(NotificationChannelContract):
    @pytest.fixture
    def channel(self) -> FakeChannel:
        return FakeChannel()

    @pytest.fixture
    def received(self, channel: FakeChannel) -> object:
        def received() -> Sequence[tuple[str, str, str]]:
            return [(each.recipient, each.subject, each.text) for each in channel.sent]

        return received

    @pytest.fixture
    def refuse(self, channel: FakeChannel) -> object:
        return lambda: channel.unknown.add("ada1@customer.test")

    @pytest.fixture
    def break_down(self, channel: FakeChannel) -> object:
        return lambda: channel.strikes.add(FaultKind.UNAVAILABLE)
