"""Portal links and sessions, by the digests of their tokens; and what a customer still owes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select, update

from billhook.model import Invoice, PaymentStatus
from billhook_web.db import Tx
from billhook_web.stores.portal_tables import portal_links, portal_sessions
from billhook_web.stores.tables import invoices

MAILED: Final = "mail"
"""The ``via`` of a link that was mailed to the customer."""

_INVOICE = TypeAdapter(Invoice)
_SETTLED = (PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What lets a customer in once. ``used_by``: the digest of what the browser held that used it.

    ``via``: :data:`MAILED`, or None: an app asked for it.
    """

    digest: str
    customer_id: str
    page: str
    return_url: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    used_by: str | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who is in. ``seen_at``: the last time, at most a minute late. ``ends_at``: over then at the latest.

    ``ended_at``: it was ended before that. ``csrf``: every form of the session carries it.
    """

    digest: str
    customer_id: str
    csrf: str
    return_url: str | None
    created_at: datetime
    seen_at: datetime
    ends_at: datetime
    ended_at: datetime | None = None


def add_link(tx: Tx, link: Link) -> None:
    """Store a link that was made."""
    tx.execute(insert(portal_links).values(**_columns(link)))


def link_of(tx: Tx, digest: str) -> Link | None:
    """Return the link with this digest."""
    row = tx.execute(select(portal_links).where(portal_links.c.digest == digest)).one_or_none()
    return None if row is None else Link(**row._mapping)


def use_link(tx: Tx, digest: str, *, by: str, now: datetime) -> bool:
    """Use a link up; False: somebody was faster. Only one of many at once gets True."""
    t = portal_links.c
    statement = update(portal_links).where(t.digest == digest, t.used_at.is_(None), t.expires_at > now)
    return tx.execute(statement.values(used_at=now, used_by=by)).rowcount == 1


def end_mailed_links(tx: Tx, customer_ids: Sequence[str], *, now: datetime) -> None:
    """Let links that were mailed to these customers and not used let nobody in any more."""
    t = portal_links.c
    unused = (t.customer_id.in_(customer_ids), t.via == MAILED, t.used_at.is_(None), t.expires_at > now)
    tx.execute(update(portal_links).where(*unused).values(expires_at=now))


def add_session(tx: Tx, session: Session) -> None:
    """Store a session that begins."""
    tx.execute(insert(portal_sessions).values(**_columns(session)))


def session_of(tx: Tx, digest: str) -> Session | None:
    """Return the session with this digest, also one that is over."""
    row = tx.execute(select(portal_sessions).where(portal_sessions.c.digest == digest)).one_or_none()
    return None if row is None else Session(**row._mapping)


def touch_session(tx: Tx, digest: str, *, now: datetime) -> None:
    """Note that a session was used."""
    t = portal_sessions.c
    tx.execute(update(portal_sessions).where(t.digest == digest, t.seen_at < now).values(seen_at=now))


def end_session(tx: Tx, digest: str, *, now: datetime) -> None:
    """End a session; nothing happens when it is over."""
    t = portal_sessions.c
    tx.execute(update(portal_sessions).where(t.digest == digest, t.ended_at.is_(None)).values(ended_at=now))


def forget_old(tx: Tx, *, before: datetime) -> None:
    """Delete links and sessions that were over before then."""
    tx.execute(delete(portal_links).where(portal_links.c.expires_at < before))
    tx.execute(delete(portal_sessions).where(portal_sessions.c.ends_at < before))


def forget_customer(tx: Tx, customer_id: str) -> None:
    """Delete every link and session of a customer: the addresses in them may name a person."""
    tx.execute(delete(portal_links).where(portal_links.c.customer_id == customer_id))
    tx.execute(delete(portal_sessions).where(portal_sessions.c.customer_id == customer_id))


def owed_invoices(tx: Tx, customer_id: str, *, limit: int) -> Sequence[Invoice]:
    """Return invoices of a customer that are not settled, newest first; drafts and withdrawn ones are among them."""
    t = invoices.c
    statement = select(t.body).where(t.customer_id == customer_id, t.status.not_in(_SETTLED))
    rows = tx.execute(statement.order_by(t.at.desc(), t.ref.desc()).limit(limit))
    return [_INVOICE.validate_json(body) for body in rows.scalars()]


def _columns(value: Link | Session) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}
