"""How each connection does: whether its provider answers, and what its plugin raised."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add a table: the version before this one does not look at it."""
    op.create_table(
        "connection_health",
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("probe_at", INSTANT),
        sa.Column("reason", sa.Text()),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("faults", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("fault", sa.Text()),
        sa.Column("fault_at", INSTANT),
        sa.PrimaryKeyConstraint("connection", name="pk_connection_health"),
    )
