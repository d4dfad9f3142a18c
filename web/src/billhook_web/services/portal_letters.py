"""The mails with links into the portal. A link is made when its mail is sent, and is written down nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Final

from billhook.clock import Clock
from billhook.effects import SendPortalLinks
from billhook.model import Customer
from billhook.notifier import Message, MessageKind, NotificationChannel, is_address
from billhook_web.db import Tx
from billhook_web.services.connections import Connections
from billhook_web.services.portal_sessions import digest_of
from billhook_web.stores import accounts, audit, portal
from billhook_web.stores.portal import MAILED, Link
from billhook_web.words import N_, Words, words_for

LINK_LIVES: Final = timedelta(minutes=15)
"""How long a link in a mail may be used: mail may take a while."""

TOO_LATE: Final = timedelta(hours=1)
"""A mail that could not be sent for so long is not sent any more: nobody waits for it."""

LONGEST_NAME: Final = 80
"""Characters of an account's name in a mail."""

_PAGE: Final = "overview"

_HELLO: Final = N_("Hello,")
_ONE: Final = N_(
    "you asked for a link to your billing pages. It works once, and for %(minutes)s minutes from now:"
)
_SEVERAL: Final = N_(
    "you asked for a link to your billing pages. Several accounts have your e-mail address, so here is one for each. "
    "Each works once, and for %(minutes)s minutes from now:"
)
_NOT_YOU: Final = N_("If you didn’t ask for it, there’s nothing to do: nobody gets in without this mail.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who writes: ``name`` and ``accent`` (a colour, as ``#2f5bea``) are the brand's."""

    name: str
    accent: str
    public_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """What is to be sent by one channel: one mail for each way in which customers spell the address."""

    channel: NotificationChannel
    messages: tuple[Message, ...]

    def send(self) -> int:
        """Send them; return how many. No transaction is open. Raises what the channel raises."""
        for message in self.messages:
            self.channel.send(message)
        return len(self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A customer and their way in."""

    customer: Customer
    token: str
    url: str


class LetterWriter:
    """Makes links and writes the mails they are in."""

    def __init__(
        self, *, clock: Clock, connections: Connections, new_token: Callable[[], str], sender: Sender
    ) -> None:
        self._clock = clock
        self._connections = connections
        self._new_token = new_token
        self._sender = sender

    def write(self, tx: Tx, effect: SendPortalLinks, *, since: datetime) -> Letters | str:
        """Make new links for these customers, end the ones that were mailed before; a text says why none is needed.

        :param since: when it was asked for.
        :raises billhook.errors.NotFound: the channel is not connected any more.
        """
        now = self._clock.now()
        if now - since > TOO_LATE:
            return "It was asked for too long ago."
        customers = _reachable(tx, effect.customer_ids)
        if not customers:
            return "No customer has this address."
        channel = self._connections.channel(effect.channel)
        portal.end_mailed_links(tx, [each.id for each in customers], now=now)
        ways = [self._way(tx, each, now) for each in customers]
        return Letters(channel=channel, messages=tuple(self._messages(ways, effect.locale)))

    def note(self, tx: Tx, effect: SendPortalLinks) -> None:
        """Write into the audit that links were mailed."""
        now = self._clock.now()
        for customer in _reachable(tx, effect.customer_ids):
            audit.add(tx, at=now, actor="host", action="portal.mail_link", subject=customer.id)

    def _way(self, tx: Tx, customer: Customer, now: datetime) -> _Way:
        token = self._new_token()
        link = Link(
            digest=digest_of(token), customer_id=customer.id, page=_PAGE, return_url=None, created_at=now,
            expires_at=now + LINK_LIVES, via=MAILED,
        )  # fmt: skip
        portal.add_link(tx, link)
        url = f"{self._sender.public_url}/portal/enter/{token}"
        return _Way(customer=customer, token=token, url=url)

    def _messages(self, ways: Sequence[_Way], locale: str) -> Sequence[Message]:
        """Each link goes to the address exactly as its own customer has it: a look-alike gets only its own."""
        addresses = dict.fromkeys(each.customer.email or "" for each in ways)
        return [
            self._message(address, [each for each in ways if each.customer.email == address], locale)
            for address in addresses
        ]

    def _message(self, address: str, ways: Sequence[_Way], locale: str) -> Message:
        words = words_for(next((each.customer.locale for each in ways if each.customer.locale), locale))
        subject = words.say("%(brand)s: your link to your billing pages", brand=_line(self._sender.name))
        return Message(
            key=digest_of(ways[0].token)[:32],
            kind=MessageKind.PORTAL_LINK,
            recipient=address,
            locale=words.tag,
            subject=subject,
            text=_plain(ways, words, self._sender),
            html=_html(ways, words, self._sender),
        )


def _reachable(tx: Tx, customer_ids: Sequence[str]) -> list[Customer]:
    rows = [accounts.get_customer(tx, each) for each in customer_ids]
    return [
        row.customer for row in rows if row and not row.erased_at and is_address(row.customer.email or "")
    ]


def _opening(ways: Sequence[_Way], words: Words) -> str:
    minutes = int(LINK_LIVES.total_seconds() // 60)
    return words.say(_ONE if len(ways) == 1 else _SEVERAL, minutes=minutes)


def _plain(ways: Sequence[_Way], words: Words, sender: Sender) -> str:
    links = [each.url if len(ways) == 1 else f"{_called(each.customer)}:\n{each.url}" for each in ways]
    parts = [words.say(_HELLO), _opening(ways, words), *links, words.say(_NOT_YOU), f"-- \n{sender.name}"]
    return "\n\n".join(parts) + "\n"


def _html(ways: Sequence[_Way], words: Words, sender: Sender) -> str:
    said = "".join(f"<p>{escape(text)}</p>" for text in (words.say(_HELLO), _opening(ways, words)))
    links = "".join(_button(each, words, sender, named=len(ways) > 1) for each in ways)
    small = f'<p style="color:#5b6472;font-size:14px">{escape(words.say(_NOT_YOU))}</p>'
    style = "font:16px/1.5 system-ui,sans-serif;color:#0b0f16;max-width:34em;margin:24px auto;padding:0 16px"
    body = f'<div style="{style}">{said}{links}{small}<p>{escape(sender.name)}</p></div>'
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f'<!doctype html><html lang="{words.language}"><head>{head}</head><body>{body}</body></html>\n'


def _button(way: _Way, words: Words, sender: Sender, *, named: bool) -> str:
    style = (
        f"display:inline-block;background:{sender.accent};color:#ffffff;padding:10px 18px;border-radius:8px;"
        "text-decoration:none;font-weight:600"
    )
    name = f"<strong>{escape(_called(way.customer))}</strong><br>" if named else ""
    label = escape(words.say("Open billing"))
    return f'<p>{name}<a href="{escape(way.url)}" style="{style}">{label}</a></p>'


def _called(customer: Customer) -> str:
    return _line(customer.name or customer.id)[:LONGEST_NAME]


def _line(text: str) -> str:
    """Return a text on one line, with nothing in it that does not print."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
