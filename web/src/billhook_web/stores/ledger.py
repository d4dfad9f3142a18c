"""The ledger: dated facts, each once, found again by what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, func, or_, select, update

from billhook.events import Event, dated, fact_key, from_json, to_json
from billhook.projections.order import order
from billhook_web.db import Tx
from billhook_web.stores.filtering import insert_new
from billhook_web.stores.tables import facts

# What is asked for with every fact is built once: building a statement takes SQLAlchemy longer than running it.
_of: BindParameter[Any] = bindparam("of")
_named = (facts.c.subject == _of, facts.c.payment == _of, facts.c.invoice.is_not(None))
_bodies = select(facts.c.body).order_by(facts.c.id)
_KNOWN = select(facts.c.key).where(facts.c.key.in_(bindparam("of", expanding=True)))
_now = bindparam("now", type_=facts.c.seen_at.type)
_HEARD_AGAIN = update(facts).where(facts.c.key == _of, facts.c.seen_at < _now).values(seen_at=_now)
_HEARD_AT = select(func.max(facts.c.seen_at)).where(facts.c.subject == _of)
_INVOICES_NAMED = select(facts.c.invoice).where(*_named).distinct()
_NAMING_INVOICES = select(facts.c.invoice, facts.c.body).where(*_named)
_ABOUT_SUBJECT = _bodies.where(facts.c.subject == _of)
_ABOUT_PAYMENT = _bodies.where(or_(facts.c.payment == _of, facts.c.subject == _of))
_ABOUT_INVOICE = _bodies.where(or_(facts.c.invoice == _of, facts.c.subject == _of))


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a fact is about: its own thing, and the payment, invoice and customer that thing belongs to."""

    subject: str
    connection: str
    payment: str | None = None
    invoice: str | None = None
    customer_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A dated fact and its key: that of what was said, also when something was taken out of the fact since."""

    fact: Event
    key: str

    @classmethod
    def of(cls, event: Event, *, heard_at: datetime) -> Statement:
        """Return the statement of a fact as it was said; without a time of its own, it is of ``heard_at``."""
        fact = dated(event, heard_at=heard_at)
        return cls(fact=fact, key=fact_key(fact))


def add(tx: Tx, said: Statement, about: About, *, inbox_id: int | None, now: datetime) -> bool:
    """Enter a fact; False when it is there already, and then it was heard again now."""
    event = said.fact
    row = {
        "key": said.key,
        "type": event.type,
        "at": event.at,
        "seen_at": now,
        "connection": about.connection,
        "subject": about.subject,
        "payment": about.payment,
        "invoice": about.invoice,
        "customer_id": about.customer_id,
        "inbox_id": inbox_id,
        "body": to_json(event),
    }
    if tx.execute(insert_new(tx, facts, "id"), row).scalar_one_or_none() is not None:
        return True
    tx.execute(_HEARD_AGAIN, {"of": said.key, "now": now})
    return False


def known(tx: Tx, keys: Sequence[str]) -> set[str]:
    """Return which of these facts are in the ledger."""
    return set(tx.execute(_KNOWN, {"of": keys}).scalars())


def called(tx: Tx, keys: Sequence[str]) -> dict[str, Event]:
    """Return these facts by their keys."""
    rows = tx.execute(select(facts.c.key, facts.c.body).where(facts.c.key.in_(set(keys))))
    return {row.key: from_json(row.body) for row in rows}


def tie(tx: Tx, payment: str, invoice: str) -> bool:
    """Note the invoice on a payment's own facts that name none; False when there are no such facts."""
    loose = (facts.c.subject == payment, facts.c.payment == payment, facts.c.invoice.is_(None))
    return tx.execute(update(facts).where(*loose).values(invoice=invoice)).rowcount > 0


def invoices_of(tx: Tx, payment: str) -> Sequence[str]:
    """Return the invoices that a payment's own facts name; nearly always one, and then no fact is read.

    The one that the earliest fact names comes first, whatever order they came in.
    """
    found = list(tx.execute(_INVOICES_NAMED, {"of": payment}).scalars())
    if len(found) <= 1:
        return found
    rows = tx.execute(_NAMING_INVOICES, {"of": payment})
    said = sorted(((from_json(row.body), row.invoice) for row in rows), key=lambda each: order(each[0]))
    return list(dict.fromkeys(invoice for _, invoice in said))


def about_subject(tx: Tx, subject: str) -> Sequence[Event]:
    """Return every fact about one thing."""
    return _events(tx, _ABOUT_SUBJECT, subject)


def about_subjects(tx: Tx, subjects: Sequence[str]) -> dict[str, list[Event]]:
    """Return every fact about each of some things, in one query."""
    found: dict[str, list[Event]] = {}
    statement = select(facts.c.subject, facts.c.body).where(facts.c.subject.in_(set(subjects)))
    for subject, body in tx.execute(statement.order_by(facts.c.id)):
        found.setdefault(subject, []).append(from_json(body))
    return found


def about_payment(tx: Tx, payment: str) -> Sequence[Event]:
    """Return every fact about a payment, its refunds and its disputes."""
    return _events(tx, _ABOUT_PAYMENT, payment)


def about_invoice(tx: Tx, invoice: str) -> Sequence[Event]:
    """Return every fact that names the invoice: its own, its credit notes', its payments'."""
    return _events(tx, _ABOUT_INVOICE, invoice)


def _events(tx: Tx, statement: Select[Any], of: str) -> Sequence[Event]:
    rows = tx.execute(statement, {"of": of})
    return [from_json(body) for body in rows.scalars()]


def of_deliveries(tx: Tx, inbox_ids: Sequence[int]) -> dict[int, list[Statement]]:
    """Return what each delivery told us first, with the keys it has in the ledger."""
    found: dict[int, list[Statement]] = {}
    t = facts.c
    rows = tx.execute(select(t.inbox_id, t.key, t.body).where(t.inbox_id.in_(inbox_ids)).order_by(t.id))
    for inbox_id, key, body in rows:
        found.setdefault(inbox_id, []).append(Statement(fact=from_json(body), key=key))
    return found


def heard_at(tx: Tx, subject: str) -> datetime | None:
    """Return when we last heard about a thing, new or not, by our own clock."""
    heard: datetime | None = tx.execute(_HEARD_AT, {"of": subject}).scalar_one()
    return heard


def all_facts(tx: Tx) -> Sequence[tuple[About, Event]]:
    """Return the whole ledger, for comparing two of them."""
    rows = tx.execute(select(facts).order_by(facts.c.key))
    return [
        (
            About(
                subject=row.subject,
                connection=row.connection,
                payment=row.payment,
                invoice=row.invoice,
                customer_id=row.customer_id,
            ),
            from_json(row.body),
        )
        for row in rows
    ]
