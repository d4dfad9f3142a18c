"""Who is in the customer portal: one-time links that are handed out, used up, and the sessions they begin.

A link and a session are known by tokens that only the customer's browser holds; we keep digests. See decision 0017.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from billhook.clock import Clock
from billhook.errors import NotFound
from billhook_web.db import Database, Tx
from billhook_web.origins import origin_of
from billhook_web.stores import accounts, portal
from billhook_web.stores.portal import Link, Session

LINK_LIVES: Final = timedelta(minutes=5)
"""How long a link may be used."""

SECOND_CLICK: Final = timedelta(seconds=30)
"""How long the browser that used a link may use it again: a double click loses the first answer."""

SEEN_EVERY: Final = timedelta(minutes=1)
"""A session's use is written down no more often than this: a page that is only read costs no write."""

KEPT_AFTER: Final = timedelta(days=1)
"""How long links and sessions are kept when they are over, so that the page can say so and lead back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A link that was made; its ``token`` is never seen again."""

    token: str
    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A session that begins; its ``token`` is for the cookie. ``page``: where the link leads."""

    token: str
    session: Session
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a session lasts without a click (``idle``) and in all (``longest``); where links may lead back to."""

    idle: timedelta
    longest: timedelta
    return_origins: Collection[str] = ()


class PortalSessions:
    """Hands out links, lets customers in and out."""

    def __init__(self, *, db: Database, clock: Clock, limits: Limits, new_token: Callable[[], str]) -> None:
        self._db = db
        self._clock = clock
        self._new_token = new_token
        self.limits = limits

    def issue(
        self,
        customer_id: str,
        *,
        page: str,
        return_url: str | None,
        note: Callable[[Tx], None] = lambda _tx: None,
    ) -> Issued:
        """Make a link that lets this customer in once.

        :param note: writes into the audit, in the same transaction.
        :param return_url: where the portal leads back to; :meth:`may_return_to` has to have said yes.
        :raises NotFound: there is no such customer.
        """
        now, token = self._clock.now(), self._new_token()
        link = Link(
            digest=digest_of(token),
            customer_id=customer_id,
            page=page,
            return_url=return_url,
            created_at=now,
            expires_at=now + LINK_LIVES,
        )
        with self._db.begin() as tx:
            row = accounts.get_customer(tx, customer_id)
            if row is None or row.erased_at is not None:
                raise NotFound("There is no such customer here.", field="customer")
            note(tx)
            portal.forget_old(tx, before=now - KEPT_AFTER)
            portal.add_link(tx, link)
        return Issued(token=token, link=link)

    def may_return_to(self, url: str) -> bool:
        """Say whether an address is at one of the origins that the operator named."""
        return origin_of(url) in self.limits.return_origins

    def link(self, token: str) -> Link | None:
        """Return a link, also one that is used or too old; None: it is not known. Uses nothing up."""
        with self._db.read() as tx:
            return portal.link_of(tx, digest_of(token))

    def usable(self, link: Link, *, browser: str | None = None) -> bool:
        """Say whether a link lets in now. ``browser``: what the browser holds that asks."""
        now = self._clock.now()
        if link.used_at is None:
            return now < link.expires_at
        again = browser is not None and link.used_by == digest_of(browser)
        return again and now < link.used_at + SECOND_CLICK

    def begin(self, token: str, *, browser: str, replaces: str | None = None) -> Begun | None:
        """Use a link up and begin a session; None: the link lets nobody in any more.

        :param browser: a secret of the browser that asks: only it may ask twice, within :data:`SECOND_CLICK`.
        :param replaces: the token of the session this browser had; it is over then, whoever else knows it.
        """
        now, session_token = self._clock.now(), self._new_token()
        with self._db.begin() as tx:
            link = self._used_up(tx, digest_of(token), browser)
            if link is None:
                return None
            session = Session(
                digest=digest_of(session_token),
                customer_id=link.customer_id,
                csrf=self._new_token(),
                return_url=link.return_url,
                created_at=now,
                seen_at=now,
                ends_at=now + self.limits.longest,
            )
            portal.add_session(tx, session)
            if replaces is not None:
                portal.end_session(tx, digest_of(replaces), now=now)
        return Begun(token=session_token, session=session, page=link.page)

    def _used_up(self, tx: Tx, digest: str, browser: str) -> Link | None:
        """Use a link up for this browser, or find that it did so just now; None: the link lets nobody in."""
        portal.use_link(tx, digest, by=digest_of(browser), now=self._clock.now())
        link = portal.link_of(
            tx, digest
        )  # read after it: of two at the same moment, the second sees the first
        mine = link is not None and link.used_at is not None and self.usable(link, browser=browser)
        return link if mine else None

    def find(self, token: str) -> Session | None:
        """Return the session with this token, also one that is over; None: it is not known."""
        with self._db.read() as tx:
            return portal.session_of(tx, digest_of(token))

    def is_live(self, session: Session) -> bool:
        """Say whether a session still lets its holder in."""
        now = self._clock.now()
        idle = now - session.seen_at >= self.limits.idle
        return session.ended_at is None and now < session.ends_at and not idle

    def touch(self, session: Session) -> None:
        """Note that a session is used, if that was not noted within the last minute."""
        now = self._clock.now()
        if now - session.seen_at < min(SEEN_EVERY, self.limits.idle / 10):
            return
        with self._db.begin() as tx:
            portal.touch_session(tx, session.digest, now=now)

    def end(self, session: Session) -> None:
        """Sign out."""
        with self._db.begin() as tx:
            portal.end_session(tx, session.digest, now=self._clock.now())


def digest_of(token: str) -> str:
    """Return what is stored of a token. A fast hash is enough: a token has 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
