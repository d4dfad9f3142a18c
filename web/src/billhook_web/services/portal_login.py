"""Asking for a link into the portal by e-mail: counted, planned, and answered the same for whatever address is asked with.

Whether anybody has the address shows nowhere: the same statements run, and an effect is planned in any case. What it has
to do, it finds out by itself (:mod:`billhook_web.services.portal_letters`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog

from billhook.clock import Clock
from billhook.effects import SendPortalLinks
from billhook.errors import NotFound
from billhook_web.db import Database, Tx, lock
from billhook_web.services.connections import Connections
from billhook_web.stores import accounts, outbox, portal_logins

log = structlog.get_logger(__name__)

WINDOW: Final = timedelta(minutes=15)
"""Requests are counted in windows of this length, which begin at whole multiples of it."""

MOST_CUSTOMERS: Final = 20
"""Customers with the same address that get a link in one mail."""

KEPT: Final = timedelta(days=1)
"""How long it is kept that a mail was asked for."""

_WHOLE: Final = "everybody"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Scope(StrEnum):
    """What is counted."""

    ADDRESS = "address"
    CLIENT = "client"
    HOST = "host"


AT_MOST: Final = {Scope.ADDRESS: 3, Scope.CLIENT: 20, Scope.HOST: 1000}
"""Requests in one window: with one address, from one client, and in all."""


class TooOften(Exception):
    """So many were asked for in this window that no more is taken. ``wait``: until the next one begins."""

    def __init__(self, scope: Scope, wait: timedelta) -> None:
        self.scope = scope
        self.wait = wait
        super().__init__(scope)


class PortalLogin:
    """Takes requests for links. ``on``: the operator wants it."""

    def __init__(
        self, *, db: Database, clock: Clock, connections: Connections, new_token: Callable[[], str], on: bool
    ) -> None:
        self._db = db
        self._clock = clock
        self._connections = connections
        self._new_token = new_token
        self.on = on

    def ask(self, address: str, *, client: str, locale: str) -> None:
        """Have a mail with links sent to whoever has this address. The sweeper wakes what sends it.

        :param client: who asks, as far as the network tells.    :param locale: BCP 47, for a customer who has none.
        :raises TooOften: that was one too many.    :raises NotFound: nothing that sends mail works now.
        """
        channel = self._connections.channels()
        if not channel:
            raise NotFound("no connection sends mail here")
        now = self._clock.now()
        names = {Scope.HOST: _WHOLE, Scope.CLIENT: client, Scope.ADDRESS: accounts.email_key(address)}
        with self._db.begin() as tx:  # a request that is refused leaves no row: TooOften undoes it
            lock(tx, ["portal-login"])
            self._count(tx, names, now)
            ids = accounts.with_email(tx, address, limit=MOST_CUSTOMERS)
            effect = SendPortalLinks(
                request_id=self._new_token(), channel=channel[0].name, customer_ids=tuple(ids), locale=locale
            )
            self._plan(tx, effect, now)
        log.info("portal.login_asked")

    def _count(self, tx: Tx, names: dict[Scope, str], now: datetime) -> None:
        since = now - (now - _EPOCH) % WINDOW
        portal_logins.forget_counts(tx, before=since)
        for scope, name in names.items():
            counted = f"{scope}/{_digest(name)}"
            if not portal_logins.count(tx, counted, since=since, at_most=AT_MOST[scope]):
                log.warning("portal.login_refused", scope=str(scope))
                raise TooOften(scope, since + WINDOW - now)

    def _plan(self, tx: Tx, effect: SendPortalLinks, now: datetime) -> None:
        portal_logins.forget_mails(tx, before=now - KEPT)
        effect_id = outbox.add(tx, effect, now=now)
        if effect_id is None:
            raise ValueError("a new request has the name of an earlier one")
        outbox.supersede(
            tx, lane=effect.lane, below_id=effect_id, now=now, note="Another mail was asked for since."
        )
        portal_logins.add_mail(tx, effect_id, now=now)


def _digest(name: str) -> str:
    """Return what is stored of an address: enough to count, gone with the window."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
