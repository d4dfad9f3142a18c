"""Whose decision about access changes next is found in the index alone.

Revision ID: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Put an index that also knows the customer in the place of one that did not: the version before this one uses it too."""
    changes = sa.text("next_change_at IS NOT NULL")
    op.create_index(
        "ix_access_decisions_next_change_at_customer_id",
        "access_decisions",
        ["next_change_at", "customer_id"],
        postgresql_where=changes,
        sqlite_where=changes,
    )
    op.drop_index("ix_access_decisions_next_change_at", table_name="access_decisions")
