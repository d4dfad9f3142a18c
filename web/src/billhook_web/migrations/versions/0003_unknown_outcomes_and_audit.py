"""Since when the outcome of an effect is unknown, and what operators did."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add nullable columns and a table: the version before this one works on with them."""
    op.add_column("effects", sa.Column("unknown_since", INSTANT))
    op.add_column("effects", sa.Column("unknown_told_at", INSTANT))
    is_unknown = sa.text("unknown_since IS NOT NULL")
    op.create_index(
        "ix_effects_unknown_since",
        "effects",
        ["unknown_since"],
        postgresql_where=is_unknown,
        sqlite_where=is_unknown,
    )
    op.create_table(
        "audit",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
