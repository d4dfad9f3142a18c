"""The customer portal: links that open it once, and sessions.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add tables: the version before this one does not know them."""
    op.create_table(
        "portal_links",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(255), nullable=False),
        sa.Column("page", sa.String(64), nullable=False),
        sa.Column("return_url", sa.Text()),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT),
        sa.Column("used_by", sa.String(64)),
        sa.PrimaryKeyConstraint("digest", name="pk_portal_links"),
    )
    op.create_index("ix_portal_links_customer_id", "portal_links", ["customer_id"])
    op.create_index("ix_portal_links_expires_at", "portal_links", ["expires_at"])
    op.create_table(
        "portal_sessions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(255), nullable=False),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("return_url", sa.Text()),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.PrimaryKeyConstraint("digest", name="pk_portal_sessions"),
    )
    op.create_index("ix_portal_sessions_customer_id", "portal_sessions", ["customer_id"])
    op.create_index("ix_portal_sessions_ends_at", "portal_sessions", ["ends_at"])
