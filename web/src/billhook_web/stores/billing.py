"""The projections: what the facts amount to, one row per provider's thing, and the tries to collect an invoice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge, lt
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Select, Table, bindparam, insert, select, tuple_, update

from billhook.model import (
    Attempt,
    CreditNote,
    Dispute,
    Invoice,
    Mandate,
    Payment,
    Ref,
    Refund,
    Subscription,
)
from billhook_web.db import Tx
from billhook_web.stores import tables
from billhook_web.stores.filtering import insert_new, narrowed

T = TypeVar("T")


_ATTEMPT = TypeAdapter(Attempt)
_tries = tables.attempts.c
_ATTEMPTS = select(_tries.body).order_by(_tries.number)
_BY_KEY = _ATTEMPTS.where(_tries.key == bindparam("of"))
_BY_SESSION = _ATTEMPTS.where(_tries.connection == bindparam("at"), _tries.session == bindparam("of"))
_BY_PAYMENT = _ATTEMPTS.where(_tries.payment == bindparam("of"))
_BY_INVOICE = _ATTEMPTS.where(_tries.invoice == bindparam("of"))
_PUT_ATTEMPT = update(tables.attempts).where(_tries.key == bindparam("of"))
_kept = tables.connection_state.c
_KEPT = select(_kept.value).where(_kept.connection == bindparam("at"), _kept.key == bindparam("of"))
_TOKEN_OF = select(tables.pay_links.c.token).where(tables.pay_links.c.invoice == bindparam("of"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What lists filter and sort by. ``alias`` is another id it goes by at its provider: a subscription's agreement,
    a mandate's customer."""

    customer_id: str | None
    status: str
    at: datetime
    invoice: Ref | None = None
    payment: Ref | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows of a list are wanted; None: any. ``after`` is the last row of the page before: (at, ref)."""

    customer_id: str | None = None
    status: str | None = None
    connection: str | None = None
    invoice: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 50


class Projection(Generic[T]):
    """One projection table and the value its rows hold.

    What is asked for with every fact is built once: building a statement takes SQLAlchemy longer than running it.
    """

    def __init__(self, table: Table, kind: type[T]) -> None:
        self._table = table
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        t = table.c
        bodies = select(t.body).order_by(t.ref)
        self._one = select(t.body).where(t.ref == bindparam("of"))
        self._of_invoice = bodies.where(t.invoice == bindparam("of"))
        self._of_payments = bodies.where(t.payment.in_(bindparam("of", expanding=True)))
        self._of_customer = bodies.where(t.customer_id == bindparam("of"))
        self._of_alias = bodies.where(t.connection == bindparam("at"), t.alias == bindparam("of"))
        self._insert = insert(table)
        self._update = update(table).where(t.ref == bindparam("of"))

    def put(self, tx: Tx, ref: Ref, value: T, row: Row) -> None:
        """Write the value, new or changed."""
        columns: Mapping[str, Any] = {
            "customer_id": row.customer_id,
            "status": row.status,
            "at": row.at,
            "invoice": str(row.invoice) if row.invoice else None,
            "payment": str(row.payment) if row.payment else None,
            "alias": row.alias,
            "body": self._adapter.dump_json(value).decode(),
        }
        if tx.execute(self._update, {"of": str(ref), **columns}).rowcount == 0:
            tx.execute(self._insert, {"ref": str(ref), "connection": ref.connection, **columns})

    def get(self, tx: Tx, ref: Ref | str) -> T | None:
        """Return one value by its ref."""
        body = tx.execute(self._one, {"of": str(ref)}).scalar_one_or_none()
        return None if body is None else self._read(body)

    def of_invoice(self, tx: Tx, invoice: Ref) -> tuple[T, ...]:
        """Return what belongs to an invoice, by ref."""
        return self._all(tx, self._of_invoice, of=str(invoice))

    def of_payments(self, tx: Tx, payments: Sequence[Ref]) -> tuple[T, ...]:
        """Return what belongs to any of the payments, by ref."""
        if not payments:
            return ()
        return self._all(tx, self._of_payments, of=[str(payment) for payment in payments])

    def of_customer(self, tx: Tx, customer_id: str) -> tuple[T, ...]:
        """Return what belongs to a customer, by ref."""
        return self._all(tx, self._of_customer, of=customer_id)

    def of_alias(self, tx: Tx, connection: str, alias: str) -> tuple[T, ...]:
        """Return what goes by this other id at the provider, by ref."""
        return self._all(tx, self._of_alias, at=connection, of=alias)

    def page(self, tx: Tx, wanted: Filter) -> tuple[T, ...]:
        """List values, newest first."""
        columns = self._table.c
        statement = select(columns.body).order_by(columns.at.desc(), columns.ref.desc()).limit(wanted.limit)
        statement = narrowed(
            statement,
            (eq, columns.customer_id, wanted.customer_id),
            (eq, columns.status, wanted.status),
            (eq, columns.connection, wanted.connection),
            (eq, columns.invoice, wanted.invoice),
            (ge, columns.at, wanted.since),
            (lt, columns.at, wanted.until),
        )
        if wanted.after is not None:
            statement = statement.where(tuple_(columns.at, columns.ref) < tuple_(*wanted.after))
        return tuple(self._read(body) for body in tx.execute(statement).scalars())

    def all(self, tx: Tx) -> tuple[T, ...]:
        """Return every value, by ref; for comparing two ledgers."""
        return self._all(tx, select(self._table.c.body).order_by(self._table.c.ref))

    def _all(self, tx: Tx, statement: Select[Any], **asked: Any) -> tuple[T, ...]:
        rows = tx.execute(statement, asked)
        return tuple(self._read(body) for body in rows.scalars())

    def _read(self, body: str) -> T:
        return self._adapter.validate_json(body)


subscriptions = Projection(tables.subscriptions, Subscription)
invoices = Projection(tables.invoices, Invoice)
payments = Projection(tables.payments, Payment)
refunds = Projection(tables.refunds, Refund)
disputes = Projection(tables.disputes, Dispute)
credit_notes = Projection(tables.credit_notes, CreditNote)
mandates = Projection(tables.mandates, Mandate)


def add_attempt(tx: Tx, attempt: Attempt) -> bool:
    """Take an attempt's key; False when it, or the invoice's attempt of this number, is taken."""
    row = {
        "key": attempt.key, "invoice": str(attempt.invoice), "number": attempt.number, **_attempt_columns(attempt)
    }  # fmt: skip
    return tx.execute(insert_new(tx, tables.attempts, "key"), row).scalar_one_or_none() is not None


def put_attempt(tx: Tx, attempt: Attempt) -> None:
    """Write how far an attempt has come."""
    tx.execute(_PUT_ATTEMPT, {"of": attempt.key, **_attempt_columns(attempt)})


def _attempt_columns(attempt: Attempt) -> dict[str, Any]:
    return {
        "connection": attempt.connection,
        "status": attempt.status,
        "session": attempt.session,
        "payment": str(attempt.payment) if attempt.payment else None,
        "body": _ATTEMPT.dump_json(attempt).decode(),
    }


def get_attempt(tx: Tx, key: str) -> Attempt | None:
    """Return the attempt with this key."""
    found = _attempts(tx, _BY_KEY, of=key)
    return found[0] if found else None


def attempt_by_session(tx: Tx, connection: str, session: str) -> Attempt | None:
    """Return the attempt that opened this checkout session."""
    found = _attempts(tx, _BY_SESSION, at=connection, of=session)
    return found[0] if found else None


def attempt_by_payment(tx: Tx, payment: Ref) -> Attempt | None:
    """Return the attempt that a provider answered with this payment."""
    found = _attempts(tx, _BY_PAYMENT, of=str(payment))
    return found[0] if found else None


def attempts_of(tx: Tx, invoice: Ref) -> tuple[Attempt, ...]:
    """Return the tries to collect an invoice, oldest first."""
    return _attempts(tx, _BY_INVOICE, of=str(invoice))


def _attempts(tx: Tx, statement: Select[Any], **asked: str) -> tuple[Attempt, ...]:
    rows = tx.execute(statement, asked)
    return tuple(_ATTEMPT.validate_json(body) for body in rows.scalars())


def pay_token(tx: Tx, invoice: Ref, *, candidate: str, now: datetime) -> str:
    """Return the invoice's pay token, which never changes; ``candidate`` becomes it when there is none yet."""
    row = {"token": candidate, "invoice": str(invoice), "created_at": now}
    tx.execute(insert_new(tx, tables.pay_links), row)
    token: str = tx.execute(_TOKEN_OF, {"of": str(invoice)}).scalar_one()
    return token


def invoice_of_token(tx: Tx, token: str) -> Ref | None:
    """Return the invoice a pay token stands for."""
    t = tables.pay_links.c
    invoice = tx.execute(select(t.invoice).where(t.token == token)).scalar_one_or_none()
    return None if invoice is None else Ref.parse(invoice)


def remember(tx: Tx, connection: str, key: str, value: str) -> str:
    """Keep a connection's value unless one is kept; return what is kept."""
    row = {"connection": connection, "key": key, "value": value}
    tx.execute(insert_new(tx, tables.connection_state), row)
    kept = recall(tx, connection, key)
    return value if kept is None else kept


def keep(tx: Tx, connection: str, key: str, value: str) -> None:
    """Keep a connection's value in the place of what was kept."""
    if remember(tx, connection, key, value) != value:
        t = tables.connection_state
        tx.execute(update(t).where(t.c.connection == connection, t.c.key == key).values(value=value))


def recall(tx: Tx, connection: str, key: str) -> str | None:
    """Return what a connection keeps under ``key``."""
    return tx.execute(_KEPT, {"at": connection, "of": key}).scalar_one_or_none()
