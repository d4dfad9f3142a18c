"""Sealed secrets of connections, and what was noticed about a connection's settings.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add a table and nullable columns: the version before this one works on with them."""
    op.create_table(
        "connection_secrets",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("field", sa.String(64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("set_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_connection_secrets"),
    )
    op.create_index("ix_connection_secrets_connection_field", "connection_secrets", ["connection", "field"])
    op.add_column("connection_health", sa.Column("notice", sa.Text()))
    op.add_column("connection_health", sa.Column("notice_at", INSTANT))
