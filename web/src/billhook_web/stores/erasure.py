"""Finding and emptying what names a person: in the customer's row, the ledger, the inbox, effects and the audit."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, false, func, literal, or_, select, update

from billhook import effects as effect_json
from billhook.effects import IssueCreditNote, RefundPayment
from billhook.events import Event, from_json, to_json
from billhook_web.db import Tx
from billhook_web.stores import tables
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.ledger import About, Statement
from billhook_web.stores.tables import audit, customers, effect_attempts, effects, facts, inbox

WINDOW = 500
"""Rows that are looked through in one statement."""

Clean = Callable[[str], str]
"""Takes what names the person out of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What is a customer's: the ids at providers as (connection, id), and the refs of everything of theirs."""

    customer_id: str
    provider_ids: frozenset[tuple[str, str]]
    refs: frozenset[str]

    def own(self, fact: Event) -> bool:
        """Say whether a fact is about the customer or about something of theirs."""
        named = {str(getattr(fact, name, None)) for name in ("ref", "payment", "invoice")}
        account = (fact.ref.connection, str(getattr(fact, "provider_customer", None)))
        theirs = getattr(fact, "customer_id", None) == self.customer_id
        return theirs or account in self.provider_ids or not named.isdisjoint(self.refs)


def belongings(tx: Tx, customer_id: str) -> Belongings:
    """Return what is the customer's."""
    links = tables.customer_links.c
    ids = tx.execute(select(links.connection, links.provider_id).where(links.customer_id == customer_id))
    refs = set(tx.execute(select(facts.c.subject).where(facts.c.customer_id == customer_id)).scalars())
    for table in tables.PROJECTIONS.values():
        refs |= set(tx.execute(select(table.c.ref).where(table.c.customer_id == customer_id)).scalars())
    accounts = frozenset((row.connection, row.provider_id) for row in ids)
    return Belongings(customer_id=customer_id, provider_ids=accounts, refs=frozenset(refs))


def personal_values(tx: Tx, customer_id: str) -> set[str]:
    """Return every value that names the person, now or in the past: names, addresses, e-mails, tax ids."""
    row = tx.execute(
        select(customers.c.given, customers.c.observed).where(customers.c.id == customer_id)
    ).one()
    mine = (facts.c.customer_id == customer_id, facts.c.type == "customer.observed")
    bodies = tx.execute(select(facts.c.body).where(*mine)).scalars()
    return (
        set(_values(json.loads(row.given)))
        | set(_values(json.loads(row.observed)))
        | {value for body in bodies for value in _values(json.loads(body))}
    )


def _values(fields: dict[str, Any]) -> Iterator[str]:
    named = [fields.get(name) for name in ("name", "email", "tax_id")]
    address = fields.get("address") or {}
    lines = [value for name, value in address.items() if name not in ("country", "state")]
    yield from (value for value in (*named, *lines) if value)


def mark(tx: Tx, customer_id: str, *, now: datetime) -> None:
    """From now on what is heard about the customer is kept without personal data."""
    tx.execute(update(customers).where(customers.c.id == customer_id).values(erased_at=now))


def empty_customer(tx: Tx, customer_id: str, *, now: datetime) -> None:
    """Empty the customer's row, but for currency and time zone, unless the integrator registered them again since the mark."""
    this = (customers.c.id == customer_id, customers.c.erased_at == now)
    row = tx.execute(select(customers.c.given, customers.c.observed).where(*this)).one_or_none()
    if row is not None:
        kept = {"given": _impersonal(row.given), "observed": _impersonal(row.observed)}
        tx.execute(update(customers).where(*this).values(**kept, name=None, email=None, email_key=None))
    syncs = tables.customer_syncs
    tx.execute(update(syncs).where(syncs.c.customer_id == customer_id).values(detail=None))


def _impersonal(fields: str) -> str:
    kept = ("currency", "timezone")  # amounts are in the one, days of access are counted in the other
    return json.dumps({name: value for name, value in json.loads(fields).items() if name in kept})


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A fact of the ledger as it is to be, and what it is about."""

    id: int
    fact: Event
    about: About


def facts_to_change(tx: Tx, mine: Belongings, change: Callable[[Statement], Statement]) -> list[Changed]:
    """Return the ledger's facts about the customer that ``change`` makes different."""
    changed = []
    for row in _rows_of(tx, mine):
        fact = from_json(row.body)
        emptied = change(Statement(fact=fact, key=row.key)).fact
        if emptied == fact:
            continue
        about = About(
            subject=row.subject,
            connection=row.connection,
            payment=row.payment,
            invoice=row.invoice,
            customer_id=row.customer_id,
        )
        changed.append(Changed(id=row.id, fact=emptied, about=about))
    return changed


def put_fact(tx: Tx, changed: Changed) -> None:
    """Write a changed fact; its key stays that of what was said."""
    tx.execute(update(facts).where(facts.c.id == changed.id).values(body=to_json(changed.fact)))


def told_by(tx: Tx, mine: Belongings) -> frozenset[int]:
    """Return the deliveries that first told something about the customer."""
    return frozenset(row.inbox_id for row in _rows_of(tx, mine) if row.inbox_id is not None)


def _rows_of(tx: Tx, mine: Belongings) -> list[Any]:
    found = {row.id: row for row in tx.execute(select(facts).where(facts.c.customer_id == mine.customer_id))}
    for refs in _chunks(mine.refs):
        names = or_(*(column.in_(refs) for column in (facts.c.subject, facts.c.payment, facts.c.invoice)))
        found |= {row.id: row for row in tx.execute(select(facts).where(names))}
    return [found[row_id] for row_id in sorted(found)]


def _chunks(refs: Iterable[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(refs)
    return (ordered[start : start + WINDOW] for start in range(0, len(ordered), WINDOW))


def deliveries_naming(
    tx: Tx, mine: Belongings, values: Iterable[str], *, known: Collection[int], after_id: int
) -> tuple[list[tuple[int, str]], int | None]:
    """Look through the next :data:`WINDOW` deliveries for the customer's ids and personal values.

    :param known: deliveries that are known to be about the customer, whatever they hold.
    :returns: id and status of those that name the customer, and the last one looked at; None: there are no more.
    """
    t = inbox.c
    window = list(tx.execute(select(t.id).where(t.id > after_id).order_by(t.id).limit(WINDOW)).scalars())
    if not window:
        return [], None
    words = {mine.customer_id, *(provider_id for _, provider_id in mine.provider_ids), *values}
    quoted = sorted(
        {each for word in words for each in (json.dumps(word), json.dumps(word, ensure_ascii=False))}
    )
    holds = [_holds(tx, t.body, each.encode()) for each in quoted]
    holds += [t.told.contains(each, autoescape=True) for each in quoted]
    named = func.coalesce(or_(*holds), false()).label("named")
    span = (t.id > after_id, t.id <= window[-1], t.status != InboxStatus.RECEIVED)
    rows = tx.execute(select(t.id, t.status, named).where(*span).order_by(t.id))
    return [(row.id, row.status) for row in rows if row.named or row.id in known], window[-1]


def _holds(tx: Tx, column: Any, part: bytes) -> ColumnElement[bool]:
    if tx.dialect.name == "postgresql":
        return func.position(literal(part, LargeBinary).op("IN")(column)) > 0
    return func.instr(column, literal(part, LargeBinary)) > 0


def empty_dead(tx: Tx, inbox_id: int, *, now: datetime, error: str) -> None:
    """Take away the body of a delivery that was given up, and what its error quotes; it cannot be processed any more."""
    values = {"body": b"", "told": None, "pruned_at": now, "error": error}
    this = (inbox.c.id == inbox_id, inbox.c.status == InboxStatus.DEAD)
    tx.execute(update(inbox).where(*this).values(**values))


def clean_effects(tx: Tx, subjects: Iterable[str], clean: Clean) -> int:
    """Clean the texts of effects about these, and of the tries at them; return how many effects were changed."""
    changed = 0
    for some in _chunks(subjects):
        t = effects.c
        columns = (t.id, t.kind, t.body, t.note, t.error)
        rows = tx.execute(select(*columns).where(t.subject.in_(some))).all()
        changed += sum(_clean_effect(tx, row, clean) for row in rows)
    return changed


def _clean_effect(tx: Tx, row: Any, clean: Clean) -> bool:
    effect = effect_json.from_json(row.body)
    body = row.body
    if isinstance(effect, IssueCreditNote | RefundPayment):  # people write names into a reason
        body = effect_json.to_json(replace(effect, reason=None))
    texts = {"body": body, "note": row.note and clean(row.note), "error": row.error and clean(row.error)}
    before = {"body": row.body, "note": row.note, "error": row.error}
    if texts != before:
        tx.execute(update(effects).where(effects.c.id == row.id).values(**texts))
    return (texts != before) | _clean_attempts(tx, row.id, clean)


def _clean_attempts(tx: Tx, effect_id: int, clean: Clean) -> bool:
    t = effect_attempts.c
    rows = tx.execute(select(t.id, t.detail).where(t.effect_id == effect_id, t.detail.is_not(None))).all()
    different = [(row.id, clean(row.detail)) for row in rows if clean(row.detail) != row.detail]
    for attempt_id, detail in different:
        tx.execute(update(effect_attempts).where(t.id == attempt_id).values(detail=detail))
    return bool(different)


def clean_audit(tx: Tx, values: Iterable[str], clean: Clean) -> int:
    """Clean the details of what operators did; return how many entries were changed."""
    forms = sorted({form for value in values for form in (json.dumps(value)[1:-1], value)})
    if not forms:
        return 0
    holds = or_(*(audit.c.detail.contains(form, autoescape=True) for form in forms))
    rows = tx.execute(select(audit.c.id, audit.c.detail).where(holds)).all()
    for row in rows:
        tx.execute(update(audit).where(audit.c.id == row.id).values(detail=clean(row.detail)))
    return len(rows)
