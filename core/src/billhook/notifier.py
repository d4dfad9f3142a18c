"""What carries a message to a person: a protocol for notification channels, and the message itself.

A channel belongs to one connection, as a payment provider does, and its calls end in the same ways (see
:mod:`billhook.errors`): a value · :class:`Refused` (this recipient cannot be reached, do not repeat) ·
:class:`Temporary` (try again) · :class:`OutcomeUnknown` (it may have gone out: the host sends again, with fresh links).

What a message says may let its reader in somewhere. So no text of it is in its ``repr``, and a channel writes none of it
into a log line or an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

LONGEST_ADDRESS: Final = 320
"""Characters of an e-mail address, by RFC 5321: 64 for the mailbox, ``@``, 255 for the domain."""


class MessageKind(StrEnum):
    """What a message is about: a channel may send each kind its own way."""

    PORTAL_LINK = "portal_link"  # lets a customer into the portal, for some minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to one person.

    key: unlike any other message's, also when the same is said again; a receiver may throw a repeated one away.
    recipient: an e-mail address.   locale: BCP 47, of the texts.   text: plain.   html: the same for who can show it.

    :raises ValueError: a recipient or subject that no header can hold.
    """

    key: str
    kind: MessageKind
    recipient: str = field(repr=False)
    locale: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what could begin another header, or another recipient."""
        if not is_address(self.recipient):
            raise ValueError("the recipient is no e-mail address")
        if not self.subject.isprintable():
            raise ValueError("the subject has a line break or a control character")


def is_address(text: str) -> bool:
    """Say whether a text can be an e-mail address: one mailbox at one domain, and nothing that ends a header or a command."""
    mailbox, at, domain = text.rpartition("@")
    whole = text.isprintable() and not any(each in text for each in ' <>,;:"\\()[]')
    return bool(mailbox and at and domain) and whole and "@" not in mailbox and len(text) <= LONGEST_ADDRESS


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelInfo:
    """Who a channel is. ``plugin`` is its entry point's name, ``title`` what people read."""

    plugin: str
    title: str


@runtime_checkable
class NotificationChannel(Protocol):
    """Sends messages. ``connection`` is the name it was configured under."""

    connection: str
    info: ChannelInfo

    def send(self, message: Message) -> None:
        """Hand a message over to whoever delivers it.

        Called outside any transaction, at least once per message. Must end in time: every wait has a limit.

        :raises Refused: this message cannot be sent, now or later; says why without quoting it.
        :raises Temporary: nothing was handed over.    :raises OutcomeUnknown: it may have been.
        """
        ...
