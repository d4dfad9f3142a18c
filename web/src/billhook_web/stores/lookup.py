"""What answers about lists need beside the rows: what belongs to many at once, places in a list, names of other kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import select

from billhook.events import Event, from_json
from billhook.model import Attempt, Ref, Subscription, SubscriptionStatus
from billhook_web.db import Tx
from billhook_web.stores import billing, tables

_ATTEMPT = TypeAdapter(Attempt)

_LIVELINESS = (
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.TRIALING,
    SubscriptionStatus.PAUSED,
    SubscriptionStatus.INCOMPLETE,
    SubscriptionStatus.PENDING,
    SubscriptionStatus.ENDED,
    SubscriptionStatus.SUPERSEDED,
    SubscriptionStatus.CANCELED,
)


def placed_at(tx: Tx, kind: str, ref: Ref) -> datetime:
    """Return the time that a row of the projection ``kind`` is sorted by."""
    table = tables.PROJECTIONS[kind]
    at: datetime = tx.execute(select(table.c.at).where(table.c.ref == str(ref))).scalar_one()
    return at


def attempts_of_each(tx: Tx, invoices: Sequence[Ref]) -> Mapping[Ref, Sequence[Attempt]]:
    """Return the tries to collect each invoice, oldest first; all of them in one query."""
    t = tables.attempts.c
    found: dict[Ref, list[Attempt]] = {ref: [] for ref in invoices}
    statement = select(t.body).where(t.invoice.in_([str(ref) for ref in invoices])).order_by(t.number)
    for body in tx.execute(statement).scalars():
        attempt = _ATTEMPT.validate_json(body)
        found[attempt.invoice].append(attempt)
    return found


def pay_tokens(tx: Tx, invoices: Sequence[Ref]) -> Mapping[Ref, str]:
    """Return the pay tokens of those invoices that have one."""
    t = tables.pay_links.c
    rows = tx.execute(select(t.invoice, t.token).where(t.invoice.in_([str(ref) for ref in invoices])))
    return {Ref.parse(invoice): token for invoice, token in rows}


def subscription_called(tx: Tx, connection: str, external_id: str) -> Subscription | None:
    """Return the row of an agreement that counts now: the live one, else the one that is to come, else the newest."""
    rows = billing.subscriptions.of_alias(tx, connection, external_id)
    newest_first = sorted(rows, key=_age, reverse=True)
    return min(newest_first, key=lambda row: _LIVELINESS.index(row.status), default=None)


def _age(row: Subscription) -> tuple[str, Ref]:
    return row.started_at.isoformat() if row.started_at else "", row.ref


def facts_of_delivery(tx: Tx, inbox_id: int) -> Sequence[Event]:
    """Return the facts that a delivery told us first."""
    t = tables.facts.c
    rows = tx.execute(select(t.body).where(t.inbox_id == inbox_id).order_by(t.id))
    return [from_json(body) for body in rows.scalars()]


LATEST_INVOICES = 10_000


def currencies_in_use(tx: Tx, codes: Iterable[str]) -> set[str]:
    """Return which of these currencies one of the latest invoices is in."""
    t = tables.invoices.c
    latest = select(t.body).order_by(t.at.desc(), t.ref.desc()).limit(LATEST_INVOICES).subquery()
    return {
        code
        for code in sorted(codes)
        if tx.execute(
            select(latest.c.body).where(latest.c.body.like(f'%"currency":"{code}"%')).limit(1)
        ).first()
    }
