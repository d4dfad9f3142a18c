"""Login to the portal by a link in a mail: whom an address belongs to, which links were mailed, how often was asked.

Revision ID: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add columns that may be empty and tables: the version before this one writes neither.

    What it writes of a customer meanwhile is still found by the address exactly as it is spelt.
    """
    op.add_column("customers", sa.Column("email_key", sa.String(320)))
    op.create_index("ix_customers_email_key", "customers", ["email_key"])
    op.execute("UPDATE customers SET email_key = lower(trim(email)) WHERE email IS NOT NULL")
    op.add_column("portal_links", sa.Column("via", sa.String(16)))
    op.create_table(
        "portal_login_counts",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", "since", name="pk_portal_login_counts"),
    )
    op.create_index("ix_portal_login_counts_since", "portal_login_counts", ["since"])
    op.create_table(
        "portal_login_mails",
        sa.Column("effect_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("effect_id", name="pk_portal_login_mails"),
    )
    op.create_index("ix_portal_login_mails_at", "portal_login_mails", ["at"])
