"""When a delivery's body was pruned and a customer's personal data erased, indexes to find what is old, and gaps counted on.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add columns that may stay empty, and indexes: the version before this one works on with them."""
    op.add_column("inbox", sa.Column("pruned_at", INSTANT))
    op.add_column("customers", sa.Column("erased_at", INSTANT))
    _index(
        "ix_inbox_status_processed_at",
        "inbox",
        ["status", "processed_at"],
        only="pruned_at IS NULL AND processed_at IS NOT NULL",
    )
    _index("ix_customers_erased_at", "customers", ["erased_at"], only="erased_at IS NOT NULL")
    op.create_index("ix_effect_attempts_at", "effect_attempts", ["at"])
    _count_gaps_on()


def _count_gaps_on() -> None:
    """Let each run know how many gaps were found before it: runs are pruned, their number is not forgotten."""
    op.add_column("reconcile_runs", sa.Column("gaps_before", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "UPDATE reconcile_runs SET gaps_before = (SELECT coalesce(sum(earlier.gaps), 0) FROM reconcile_runs earlier "
        "WHERE earlier.connection = reconcile_runs.connection AND earlier.id < reconcile_runs.id)"
    )


def _index(name: str, table: str, columns: list[str], *, only: str) -> None:
    """Make an index of those rows that ``only`` is true of."""
    op.create_index(name, table, columns, postgresql_where=sa.text(only), sqlite_where=sa.text(only))
