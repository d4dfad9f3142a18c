"""What decisions about many customers at once are made from: a few queries for all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import TypeAdapter
from sqlalchemy import select

from billhook.accounting import Entry
from billhook.events import from_json
from billhook.model import Payment, Ref
from billhook_web.db import Tx
from billhook_web.stores.accounts import merge
from billhook_web.stores.tables import customers, facts, invoices, payments

_PAYMENT = TypeAdapter(Payment)


def entries(tx: Tx, customer_ids: Sequence[str]) -> dict[str, list[Entry]]:
    """Return the facts about each customer, or about an invoice or payment of theirs, in the order they came."""
    t = facts.c
    columns = (t.id, t.invoice, t.body)
    queries = (
        select(t.customer_id.label("owner"), *columns).where(
            t.customer_id.in_(customer_ids), t.invoice.is_(None), t.payment.is_(None)
        ),  # whose an invoice or payment is, its projection says
        select(invoices.c.customer_id.label("owner"), *columns)
        .join(invoices, t.invoice == invoices.c.ref)
        .where(invoices.c.customer_id.in_(customer_ids)),
        select(payments.c.customer_id.label("owner"), *columns)
        .join(payments, t.payment == payments.c.ref)
        .where(payments.c.customer_id.in_(customer_ids)),
    )
    found: dict[str, dict[int, Entry]] = {name: {} for name in customer_ids}
    for query in queries:
        for row in tx.execute(query):
            if row.id not in found[row.owner]:
                invoice = Ref.parse(row.invoice) if row.invoice else None
                found[row.owner][row.id] = Entry(event=from_json(row.body), invoice=invoice)
    return {name: [said[key] for key in sorted(said)] for name, said in found.items()}


def payments_of(tx: Tx, customer_ids: Sequence[str]) -> dict[str, dict[Ref, Payment]]:
    """Return the payments of each customer by ref."""
    t = payments.c
    found: dict[str, dict[Ref, Payment]] = {name: {} for name in customer_ids}
    for row in tx.execute(
        select(t.customer_id, t.body).where(t.customer_id.in_(customer_ids)).order_by(t.ref)
    ):
        payment = _PAYMENT.validate_json(row.body)
        found[row.customer_id][payment.ref] = payment
    return found


def timezones(tx: Tx, customer_ids: Sequence[str]) -> dict[str, str | None]:
    """Return the name of each customer's time zone; None: it is not known."""
    t = customers.c
    rows = tx.execute(select(t.id, t.given, t.observed).where(t.id.in_(customer_ids)))
    return {row.id: merge(json.loads(row.given), json.loads(row.observed)).get("timezone") for row in rows}
