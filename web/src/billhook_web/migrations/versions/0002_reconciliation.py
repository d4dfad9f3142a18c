"""Asking providers what was missed: the runs, and the gaps they found."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add two tables: the version before this one does not look at them."""
    op.create_table(
        "reconcile_runs",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("open_key", sa.String(64)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("since", INSTANT),
        sa.Column("until", INSTANT, nullable=False),
        sa.Column("mark", INSTANT),
        sa.Column("cursor", sa.Text()),
        sa.Column("takes", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("leased_until", INSTANT),
        sa.Column("seen", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("facts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("gaps", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_reconcile_runs"),
        sa.UniqueConstraint("open_key", name="uq_reconcile_runs_open_key"),
    )
    op.create_index("ix_reconcile_runs_connection_id", "reconcile_runs", ["connection", "id"])
    op.create_table(
        "gaps",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("run_id", BIG_ID, nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("ref", sa.String(255), nullable=False),
        sa.Column("changed", sa.Text(), nullable=False),
        sa.Column("at", INSTANT),
        sa.Column("found_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gaps"),
        sa.ForeignKeyConstraint(["run_id"], ["reconcile_runs.id"], name="fk_gaps_run_id"),
    )
    op.create_index("ix_gaps_run_id", "gaps", ["run_id"])
    op.create_index("ix_gaps_connection_id", "gaps", ["connection", "id"])
