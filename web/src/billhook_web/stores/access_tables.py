"""The tables of access: who may use the product now, how that came about, and the policies it was judged by.

``access_decisions`` has one row per customer, which is the answer; ``access_history`` one per change of it.
``access_policies`` are documents that never change; ``access_assignments`` says since when which one counts for whom.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from billhook_web.db import UTCDateTime
from billhook_web.stores.tables import BigId, metadata, new_id

access_decisions = Table(
    "access_decisions",
    metadata,
    Column("customer_id", String(255), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", String(64), nullable=False),
    Column("access", String(16), nullable=False),
    Column("body", Text, nullable=False),  # the decision as JSON, as it was at its last change
    Column("policy", Integer, nullable=False),  # the newest assignment there was when it was made
    Column("changed_at", UTCDateTime, nullable=False),  # since when it is so
    Column(
        "settled_at", UTCDateTime, nullable=False
    ),  # up to here every change by the clock is in the history
    Column("next_change_at", UTCDateTime),
    Column(
        "fresh_until", UTCDateTime
    ),  # from here on it reads differently (a day more), although nothing changed
    Column("payer", String(255), index=True),  # who pays for this customer, if another does
    Column("block_changes", Integer, nullable=False, server_default="0"),
    Index("ix_access_decisions_policy", "policy"),
    Index("ix_access_decisions_state_customer_id", "state", "customer_id"),
)
_changes = access_decisions.c.next_change_at.is_not(None)  # most never change by themselves
Index(
    "ix_access_decisions_next_change_at_customer_id",
    access_decisions.c.next_change_at,
    access_decisions.c.customer_id,  # so that who is due is read here: their rows lie all over the table
    postgresql_where=_changes,
    sqlite_where=_changes,
)

access_history = Table(
    "access_history",
    metadata,
    new_id(),
    Column("customer_id", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", UTCDateTime, nullable=False),  # when it became true
    Column("recorded_at", UTCDateTime, nullable=False),  # when we knew
    Column("cause", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("facts", Text, nullable=False),  # JSON list: keys of the facts that brought it about
    UniqueConstraint("customer_id", "version"),
    Index("ix_access_history_customer_id_at", "customer_id", "at"),
)

access_policies = Table(
    "access_policies",
    metadata,
    new_id(),
    Column("name", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("note", Text),
    UniqueConstraint("name", "version"),
)

access_assignments = Table(
    "access_assignments",
    metadata,
    new_id(),
    Column("scope", String(300), nullable=False),  # "default", "customer:<id>", "subscription:<agreement>"
    Column("customer_id", String(255), index=True),  # whom it touches; None: everybody
    Column("policy_id", BigId, ForeignKey("access_policies.id")),  # None: back to what counts without it
    Column("plugin", String(64)),  # a policy of a plugin, by name
    Column("at", UTCDateTime, nullable=False),
    Column("by", String(255), nullable=False),
    Column("note", Text),
    Index("ix_access_assignments_scope_id", "scope", "id"),
)
