"""Customers, their ids at the providers, how far their data got, and the keys of API callers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BindParameter, bindparam, or_, select, tuple_, update

from billhook.model import Address, Customer
from billhook_web.db import Tx
from billhook_web.stores.filtering import insert_new
from billhook_web.stores.tables import api_keys, customer_links, customer_syncs, customers, payments

Fields = Mapping[str, Any]
"""A customer's fields as plain JSON; ``address`` is a mapping. A key that is absent was never said."""

# What is asked for with every fact is built once: building a statement takes SQLAlchemy longer than running it.
_these: BindParameter[Any] = bindparam("of", expanding=True)
_ONE = select(customers).where(customers.c.id == bindparam("of"))
_ERASED = select(customers.c.id).where(customers.c.erased_at.is_not(None)).limit(1)
_LINKS = select(customer_links).where(customer_links.c.customer_id.in_(_these))
_SYNCS = (
    select(customer_syncs)
    .where(customer_syncs.c.customer_id.in_(_these))
    .order_by(customer_syncs.c.connection)
)


class SyncStatus(StrEnum):
    """How far a customer's data has come at a billing engine."""

    PENDING = "pending"
    SYNCED = "synced"
    CONFLICT = "conflict"  # a value clashes there: somebody must correct it
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """How far version ``version`` of a customer has come at a billing engine. ``field`` names what clashes."""

    connection: str
    version: int
    status: SyncStatus
    at: datetime
    field: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRow:
    """A customer as stored."""

    customer: Customer
    given: Fields
    version: int
    created_at: datetime
    updated_at: datetime
    syncs: tuple[Sync, ...] = ()
    erased_at: datetime | None = None


def get_customer(tx: Tx, customer_id: str) -> CustomerRow | None:
    """Return a customer with the state of its syncs."""
    row = tx.execute(_ONE, {"of": customer_id}).one_or_none()
    return None if row is None else _with_links(tx, [row])[0]


def page_customers(
    tx: Tx,
    *,
    search: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    sync: str | None = None,
    connection: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> Sequence[CustomerRow]:
    """List customers, newest first. ``search`` is part of the id, name or e-mail."""
    t = customers.c
    statement = select(customers).order_by(t.created_at.desc(), t.id.desc()).limit(limit)
    if search:
        pattern = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        statement = statement.where(or_(*(c.ilike(pattern, escape="\\") for c in (t.id, t.name, t.email))))
    if since is not None:
        statement = statement.where(t.created_at >= since)
    if until is not None:
        statement = statement.where(t.created_at < until)
    if sync is not None or connection is not None:
        wanted = select(customer_syncs.c.customer_id)
        if sync is not None:
            wanted = wanted.where(customer_syncs.c.status == sync)
        if connection is not None:
            wanted = wanted.where(customer_syncs.c.connection == connection)
        statement = statement.where(t.id.in_(wanted))
    if after is not None:
        statement = statement.where(tuple_(t.created_at, t.id) < tuple_(*after))
    return _with_links(tx, tx.execute(statement).all())


def put_customer(
    tx: Tx, customer_id: str, *, given: Fields | None = None, observed: Fields | None = None, now: datetime
) -> int:
    """Write what the integrator said (counts the version up) or what a provider shows; return the version."""
    statement = insert_new(tx, customers)
    tx.execute(
        statement.values(id=customer_id, given="{}", observed="{}", version=0, created_at=now, updated_at=now)
    )
    row = tx.execute(select(customers).where(customers.c.id == customer_id)).one()
    said: Fields = given if given is not None else json.loads(row.given)
    seen: Fields = observed if observed is not None else json.loads(row.observed)
    version = row.version + (given is not None)
    merged = merge(said, seen)
    values = {
        "given": json.dumps(said, sort_keys=True),
        "observed": json.dumps(seen, sort_keys=True),
        "name": merged.get("name"),
        "email": merged.get("email"),
        "email_key": email_key(merged.get("email") or "") or None,
        "version": version,
        "updated_at": now,
        "erased_at": None if given is not None else row.erased_at,
    }
    tx.execute(update(customers).where(customers.c.id == customer_id).values(**values))
    return int(version)


def email_key(email: str) -> str:
    """Return an e-mail address as it is compared: capitals make no difference."""
    return email.strip().lower()


def with_email(tx: Tx, email: str, *, limit: int) -> Sequence[str]:
    """Return the ids of customers with this e-mail address, the oldest first; an erased one has none."""
    t = customers.c
    same = or_(t.email_key == email_key(email), t.email == email)  # a row of the version before has no key
    statement = select(t.id).where(same, t.erased_at.is_(None)).order_by(t.created_at, t.id).limit(limit)
    return tx.execute(statement).scalars().all()


def existing(tx: Tx, customer_ids: Sequence[str]) -> set[str]:
    """Return which of these customers there are."""
    if not customer_ids:
        return set()
    return set(tx.execute(select(customers.c.id).where(customers.c.id.in_(customer_ids))).scalars())


def any_erased(tx: Tx) -> bool:
    """Say whether there is a customer whose personal data was erased."""
    return tx.execute(_ERASED).first() is not None


def is_erased(
    tx: Tx, *, customer_id: str | None, payment: str | None, provider_id: tuple[str, str | None]
) -> bool:
    """Say whether the customer's personal data was erased: by our id, by a payment, or by connection and id there."""
    owners = select(payments.c.customer_id).where(payments.c.ref == payment)
    link = (customer_links.c.connection == provider_id[0]) & (customer_links.c.provider_id == provider_id[1])
    linked = select(customer_links.c.customer_id).where(link)
    ways = [customers.c.id == customer_id]
    ways += [customers.c.id.in_(owners)] if payment else []
    ways += [customers.c.id.in_(linked)] if provider_id[1] else []
    statement = select(customers.c.id).where(customers.c.erased_at.is_not(None), or_(*ways))
    return tx.execute(statement.limit(1)).first() is not None


def merge(given: Fields, observed: Fields) -> dict[str, Any]:
    """What the integrator said wins field by field, also inside the address; an explicit null clears."""
    address = {**(observed.get("address") or {}), **(given.get("address") or {})}
    return {**observed, **given, "address": address}


def link(tx: Tx, customer_id: str, connection: str, provider_id: str) -> None:
    """Remember a customer's id at a provider; the first one stays."""
    row = {"customer_id": customer_id, "connection": connection, "provider_id": provider_id}
    tx.execute(insert_new(tx, customer_links), row)


def put_sync(tx: Tx, customer_id: str, sync: Sync) -> None:
    """Write how far a version has come; an older version never overwrites a newer one."""
    values = {
        "version": sync.version, "status": sync.status, "field": sync.field, "detail": sync.detail, "at": sync.at,
    }  # fmt: skip
    t = customer_syncs.c
    this = (t.customer_id == customer_id) & (t.connection == sync.connection)
    changed = tx.execute(update(customer_syncs).where(this, t.version <= sync.version).values(**values))
    if changed.rowcount == 0:
        statement = insert_new(tx, customer_syncs)
        tx.execute(statement.values(customer_id=customer_id, connection=sync.connection, **values))


def _with_links(tx: Tx, rows: Sequence[Any]) -> list[CustomerRow]:
    ids = [row.id for row in rows]
    links: dict[str, dict[str, str]] = {}
    for link_row in tx.execute(_LINKS, {"of": ids}):
        links.setdefault(link_row.customer_id, {})[link_row.connection] = link_row.provider_id
    syncs: dict[str, list[Sync]] = {}
    for row in tx.execute(_SYNCS, {"of": ids}):
        values = {**row._mapping, "status": SyncStatus(row.status)}
        syncs.setdefault(values.pop("customer_id"), []).append(Sync(**values))
    return [_customer_row(row, links.get(row.id, {}), syncs.get(row.id, [])) for row in rows]


def _customer_row(row: Any, links: Mapping[str, str], syncs: Sequence[Sync]) -> CustomerRow:
    given: Fields = json.loads(row.given)
    return CustomerRow(
        customer=replace(customer_from(row.id, merge(given, json.loads(row.observed))), provider_ids=links),
        given=given,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        syncs=tuple(syncs),
        erased_at=row.erased_at,
    )


def customer_from(customer_id: str, fields: Fields) -> Customer:
    """Build a customer from plain fields."""
    plain: dict[str, Any] = {
        name: fields.get(name) for name in ("name", "email", "tax_id", "currency", "locale", "timezone")
    }
    return Customer(id=customer_id, address=Address(**(fields.get("address") or {})), **plain)


def fields_of(customer: Any) -> dict[str, Any]:
    """Return what is known of a customer (or of one that was observed) as plain fields, without the unknown ones."""
    names = ("name", "email", "tax_id", "currency", "locale", "timezone")
    plain = {name: getattr(customer, name) for name in names if getattr(customer, name) is not None}
    address = {key: value for key, value in asdict(customer.address).items() if value is not None}
    return {**plain, "address": address} if address else plain


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A caller of the API. Only the digest of its key is stored."""

    id: int
    name: str
    last4: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


def add_api_key(
    tx: Tx, *, name: str, digest: str, last4: str, scopes: Sequence[str], now: datetime
) -> int | None:
    """Store a key's digest and return the key's id; None, and nothing happens, when it is there."""
    values = {"name": name, "digest": digest, "last4": last4, "scopes": " ".join(scopes), "created_at": now}
    statement = insert_new(tx, api_keys).values(**values).returning(api_keys.c.id)
    return tx.execute(statement).scalar_one_or_none()


def find_api_key(tx: Tx, digest: str) -> ApiKey | None:
    """Return the key with this digest unless it was revoked."""
    statement = select(api_keys).where(api_keys.c.digest == digest, api_keys.c.revoked_at.is_(None))
    row = tx.execute(statement).one_or_none()
    return None if row is None else _api_key(row)


def list_api_keys(tx: Tx) -> Sequence[ApiKey]:
    """Return all keys, oldest first."""
    return [_api_key(row) for row in tx.execute(select(api_keys).order_by(api_keys.c.id))]


def revoke_api_key(tx: Tx, key_id: int, *, now: datetime) -> bool:
    """End a key; False when there is no such key in force."""
    statement = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
    return tx.execute(statement.values(revoked_at=now)).rowcount == 1


def _api_key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        last4=row.last4,
        scopes=tuple(row.scopes.split()),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
