"""Mails with links into the portal: how often they were asked for, in windows of time, and which effects send them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billhook_web.db import Tx
from billhook_web.stores.outbox import OPEN
from billhook_web.stores.portal_tables import portal_login_counts, portal_login_mails
from billhook_web.stores.tables import effect_attempts, effects

FORGOTTEN_TOGETHER: Final = 100
"""Mails that are forgotten at a time, so that nobody waits for it."""


def count(tx: Tx, name: str, *, since: datetime, at_most: int) -> bool:
    """Count one more in the window that began at ``since``; False: that would be too many, and it is not counted.

    Of many at once each is counted: the row is locked until its transaction ends.
    """
    t = portal_login_counts.c
    make: Any = postgresql_insert if tx.dialect.name == "postgresql" else sqlite_insert
    first = make(portal_login_counts).values(name=name, since=since, asked=1)
    one_more = first.on_conflict_do_update(
        index_elements=[t.name, t.since], set_={"asked": t.asked + 1}, where=t.asked < at_most
    )
    return tx.execute(one_more.returning(t.asked)).scalar_one_or_none() is not None


def add_mail(tx: Tx, effect_id: int, *, now: datetime) -> None:
    """Remember which effect sends a mail, to forget both later."""
    tx.execute(insert(portal_login_mails).values(effect_id=effect_id, at=now))


def forget_counts(tx: Tx, *, before: datetime) -> None:
    """Delete what was counted in windows that began before then."""
    tx.execute(delete(portal_login_counts).where(portal_login_counts.c.since < before))


def forget_mails(tx: Tx, *, before: datetime) -> None:
    """Delete mails that were asked for before then, with the effects that sent them or could not; not those still to be sent.

    Strangers cause these rows, for addresses that nobody here has, too: they must not pile up.
    """
    t, done = portal_login_mails.c, effects.c.status.not_in(OPEN)
    old = select(t.effect_id).join(effects, effects.c.id == t.effect_id).where(t.at < before, done)
    ids = tx.execute(old.order_by(t.at).limit(FORGOTTEN_TOGETHER)).scalars().all()
    tx.execute(delete(effect_attempts).where(effect_attempts.c.effect_id.in_(ids)))
    tx.execute(delete(effects).where(effects.c.id.in_(ids)))
    tx.execute(delete(portal_login_mails).where(t.effect_id.in_(ids)))
