"""Access decisions, their history, and the policies they are judged by.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add tables: the version before this one does not know them."""
    _decisions()
    _history()
    _policies()
    _lease_keys()


def _decisions() -> None:
    op.create_table(
        "access_decisions",
        sa.Column("customer_id", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("access", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("policy", sa.Integer(), nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("settled_at", INSTANT, nullable=False),
        sa.Column("next_change_at", INSTANT),
        sa.Column("fresh_until", INSTANT),
        sa.Column("payer", sa.String(255)),
        sa.Column("block_changes", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("customer_id", name="pk_access_decisions"),
    )
    op.create_index("ix_access_decisions_payer", "access_decisions", ["payer"])
    op.create_index("ix_access_decisions_policy", "access_decisions", ["policy"])
    op.create_index("ix_access_decisions_state_customer_id", "access_decisions", ["state", "customer_id"])
    changes = sa.text("next_change_at IS NOT NULL")
    op.create_index(
        "ix_access_decisions_next_change_at",
        "access_decisions",
        ["next_change_at"],
        postgresql_where=changes,
        sqlite_where=changes,
    )


def _history() -> None:
    op.create_table(
        "access_history",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("customer_id", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_access_history"),
        sa.UniqueConstraint("customer_id", "version", name="uq_access_history_customer_id_version"),
    )
    op.create_index("ix_access_history_customer_id_at", "access_history", ["customer_id", "at"])


def _policies() -> None:
    op.create_table(
        "access_policies",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("note", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_access_policies"),
        sa.UniqueConstraint("name", "version", name="uq_access_policies_name_version"),
    )
    op.create_table(
        "access_assignments",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(300), nullable=False),
        sa.Column("customer_id", sa.String(255)),
        sa.Column("policy_id", BIG_ID),
        sa.Column("plugin", sa.String(64)),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("note", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_access_assignments"),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["access_policies.id"], name="fk_access_assignments_policy_id"
        ),
    )
    op.create_index("ix_access_assignments_customer_id", "access_assignments", ["customer_id"])
    op.create_index("ix_access_assignments_scope_id", "access_assignments", ["scope", "id"])


def _lease_keys() -> None:
    op.create_table(
        "lease_keys",
        sa.Column("kid", sa.String(32), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("signs_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_lease_keys"),
    )
