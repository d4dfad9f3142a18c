"""The tables. Amounts are in minor units, times in UTC.

What came in: ``inbox``. What we hold true because of it: ``facts`` (the ledger) and the projections computed from it.
What has to happen: ``effects`` (the outbox) with every ``effect_attempts``; ``attempts`` are tries to collect money,
whose key is taken here before a provider is asked. What providers were asked about what we may have missed:
``reconcile_runs`` and the ``gaps`` they found.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from billhook_web.db import UTCDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BigId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite only numbers an INTEGER PRIMARY KEY by itself


def new_id() -> Column[int]:
    """Return the column that numbers a table's rows."""
    return Column("id", BigId, primary_key=True, autoincrement=True)


inbox = Table(
    "inbox",
    metadata,
    new_id(),
    Column("connection", String(64), nullable=False),
    Column("delivery_key", String(255), nullable=False),
    Column("content_key", String(255)),
    Column("type", String(128), nullable=False, server_default=""),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", UTCDateTime, nullable=False),
    Column("status", String(16), nullable=False),
    Column("due_at", UTCDateTime, nullable=False),
    Column("leased_until", UTCDateTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("processed_at", UTCDateTime),
    Column("facts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("told", Text),  # facts as JSON that the body does not hold: fetched, or heard without a delivery
    Column("pruned_at", UTCDateTime),  # the body is gone, "told" holds all its facts
    UniqueConstraint("connection", "delivery_key"),
    UniqueConstraint("connection", "content_key"),
    Index("ix_inbox_status_due_at", "status", "due_at"),
)
_keeps_body = inbox.c.pruned_at.is_(None) & inbox.c.processed_at.is_not(None)
Index(
    "ix_inbox_status_processed_at",
    inbox.c.status,
    inbox.c.processed_at,
    postgresql_where=_keeps_body,
    sqlite_where=_keeps_body,
)

facts = Table(
    "facts",
    metadata,
    new_id(),
    Column("key", String(64), nullable=False, unique=True),
    Column("type", String(64), nullable=False),
    Column("at", UTCDateTime, nullable=False),
    Column("seen_at", UTCDateTime, nullable=False),
    Column("connection", String(64), nullable=False),
    Column("subject", String(255), nullable=False, index=True),
    Column("payment", String(255), index=True),
    Column("invoice", String(255), index=True),
    Column("customer_id", String(255), index=True),
    Column("inbox_id", BigId, index=True),
    Column("body", Text, nullable=False),
)

customers = Table(
    "customers",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("given", Text, nullable=False),  # what the integrator said; wins field by field
    Column("observed", Text, nullable=False),  # what the billing engine shows
    Column("name", String(255)),
    Column("email", String(320), index=True),
    Column("email_key", String(320), index=True),  # as it is compared: see accounts.email_key
    Column("version", Integer, nullable=False, server_default="0"),
    Column("created_at", UTCDateTime, nullable=False, index=True),
    Column("updated_at", UTCDateTime, nullable=False),
    Column("erased_at", UTCDateTime),  # what is heard about this person since is kept without personal data
)
_is_erased = customers.c.erased_at.is_not(None)  # few rows
Index("ix_customers_erased_at", customers.c.erased_at, postgresql_where=_is_erased, sqlite_where=_is_erased)

customer_links = Table(
    "customer_links",
    metadata,
    Column("customer_id", String(255), primary_key=True),
    Column("connection", String(64), primary_key=True),
    Column("provider_id", String(255), nullable=False),
    Index("ix_customer_links_connection_provider_id", "connection", "provider_id"),
)

customer_syncs = Table(
    "customer_syncs",
    metadata,
    Column("customer_id", String(255), primary_key=True),
    Column("connection", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("field", String(64)),
    Column("detail", Text),
    Column("at", UTCDateTime, nullable=False),
)


def _projection(name: str) -> Table:
    """One row per provider's thing: what lists filter and sort by, and the whole value as JSON."""
    return Table(
        name,
        metadata,
        Column("ref", String(255), primary_key=True),
        Column("connection", String(64), nullable=False),
        Column("customer_id", String(255), index=True),
        Column("status", String(32), nullable=False),
        Column("at", UTCDateTime, nullable=False),
        Column("invoice", String(255), index=True),
        Column("payment", String(255), index=True),
        Column("alias", String(255), index=True),  # another id it goes by: an agreement's, a customer's there
        Column("body", Text, nullable=False),
        Index(f"ix_{name}_at_ref", "at", "ref"),
    )


subscriptions = _projection("subscriptions")
invoices = _projection("invoices")
payments = _projection("payments")
refunds = _projection("refunds")
disputes = _projection("disputes")
credit_notes = _projection("credit_notes")
mandates = _projection("mandates")

attempts = Table(
    "attempts",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("invoice", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    Column("connection", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("session", String(255), index=True),
    Column("payment", String(255), index=True),
    Column("body", Text, nullable=False),
    UniqueConstraint("invoice", "number"),
)

pay_links = Table(
    "pay_links",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("invoice", String(255), nullable=False, unique=True),
    Column("created_at", UTCDateTime, nullable=False),
)

effects = Table(
    "effects",
    metadata,
    new_id(),
    Column("key", String(512), nullable=False, unique=True),
    Column("kind", String(64), nullable=False),
    Column("lane", String(512), nullable=False),
    Column("subject", String(255), nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("due_at", UTCDateTime, nullable=False),
    Column("leased_until", UTCDateTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("note", Text),
    Column("error", Text),
    Column("unknown_since", UTCDateTime),  # a call was made and nobody knows what came of it
    Column("unknown_told_at", UTCDateTime),  # an operator was told that this lasts too long
    Index("ix_effects_status_due_at", "status", "due_at"),
    Index("ix_effects_lane_id", "lane", "id"),
)
_is_unknown = effects.c.unknown_since.is_not(None)  # few rows: the index has only these
Index(
    "ix_effects_unknown_since",
    effects.c.unknown_since,
    postgresql_where=_is_unknown,
    sqlite_where=_is_unknown,
)

effect_attempts = Table(
    "effect_attempts",
    metadata,
    new_id(),
    Column("effect_id", BigId, ForeignKey("effects.id"), nullable=False, index=True),
    Column("at", UTCDateTime, nullable=False, index=True),
    Column("milliseconds", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("detail", Text),
)

api_keys = Table(
    "api_keys",
    metadata,
    new_id(),
    Column("name", String(128), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("last4", String(4), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("revoked_at", UTCDateTime),
)

audit = Table(
    "audit",
    metadata,
    new_id(),
    Column("at", UTCDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("detail", Text, nullable=False),
)

connection_state = Table(
    "connection_state",
    metadata,
    Column("connection", String(64), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("value", Text, nullable=False),
)

reconcile_runs = Table(
    "reconcile_runs",
    metadata,
    new_id(),
    Column("connection", String(64), nullable=False),
    Column("open_key", String(64), unique=True),  # the connection while the run is open: one at a time
    Column("status", String(16), nullable=False),
    Column("since", UTCDateTime),
    Column("until", UTCDateTime, nullable=False),
    Column("mark", UTCDateTime),  # up to here nothing is missing once the run is done
    Column("cursor", Text),
    Column("takes", Integer, nullable=False, server_default="0"),
    Column("leased_until", UTCDateTime),
    Column("seen", Integer, nullable=False, server_default="0"),
    Column("facts", Integer, nullable=False, server_default="0"),
    Column("gaps", Integer, nullable=False, server_default="0"),
    Column("gaps_before", Integer, nullable=False, server_default="0"),  # of the connection's earlier runs
    Column("started_at", UTCDateTime, nullable=False),
    Column("updated_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("error", Text),
    Index("ix_reconcile_runs_connection_id", "connection", "id"),
)

gaps = Table(
    "gaps",
    metadata,
    new_id(),
    Column("run_id", BigId, ForeignKey("reconcile_runs.id"), nullable=False, index=True),
    Column("connection", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("ref", String(255), nullable=False),
    Column("changed", Text, nullable=False),
    Column("at", UTCDateTime),
    Column("found_at", UTCDateTime, nullable=False),
    Index("ix_gaps_connection_id", "connection", "id"),
)

connection_health = Table(
    "connection_health",
    metadata,
    Column("connection", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("probe_at", UTCDateTime),
    Column("reason", Text),
    Column("changed_at", UTCDateTime, nullable=False),
    Column("faults", Integer, nullable=False, server_default="0"),  # exceptions and nonsense of the plugin
    Column("fault", Text),
    Column("fault_at", UTCDateTime),
    Column("notice", Text),  # what an operator must know about its settings; the connection works on
    Column("notice_at", UTCDateTime),
)

connection_secrets = Table(
    "connection_secrets",
    metadata,
    new_id(),
    Column("connection", String(64), nullable=False),
    Column("field", String(64), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("set_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime),  # of one that was rotated: until then it is valid beside the new one
    Index("ix_connection_secrets_connection_field", "connection", "field"),
)

lease_keys = Table(
    "lease_keys",
    metadata,
    Column("kid", String(32), primary_key=True),
    Column("public", LargeBinary, nullable=False),
    Column("sealed", Text, nullable=False),  # the private key
    Column("created_at", UTCDateTime, nullable=False),
    Column("signs_at", UTCDateTime, nullable=False),  # from here until the next one's
)

PROJECTIONS: dict[str, Any] = {
    "subscriptions": subscriptions,
    "invoices": invoices,
    "payments": payments,
    "refunds": refunds,
    "disputes": disputes,
    "credit_notes": credit_notes,
    "mandates": mandates,
}
