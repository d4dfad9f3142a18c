"""The first tables: inbox, ledger, customers, projections, attempts, outbox, keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
PROJECTIONS = (
    "subscriptions",
    "invoices",
    "payments",
    "refunds",
    "disputes",
    "credit_notes",
    "mandates",
)


def upgrade() -> None:
    """Make everything."""
    _inbox_and_ledger()
    _customers()
    for name in PROJECTIONS:
        _projection(name)
    _collecting()
    _outbox()
    _access_to_the_host()


def _number() -> sa.Column[int]:
    return sa.Column("id", BIG_ID, autoincrement=True, nullable=False)


def _inbox_and_ledger() -> None:
    op.create_table(
        "inbox",
        _number(),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("delivery_key", sa.String(255), nullable=False),
        sa.Column("content_key", sa.String(255)),
        sa.Column("type", sa.String(128), nullable=False, server_default=""),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("leased_until", INSTANT),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("processed_at", INSTANT),
        sa.Column("facts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
        sa.UniqueConstraint("connection", "delivery_key", name="uq_inbox_connection_delivery_key"),
        sa.UniqueConstraint("connection", "content_key", name="uq_inbox_connection_content_key"),
    )
    op.create_index("ix_inbox_status_due_at", "inbox", ["status", "due_at"])
    op.create_table(
        "facts",
        _number(),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("payment", sa.String(255)),
        sa.Column("invoice", sa.String(255)),
        sa.Column("customer_id", sa.String(255)),
        sa.Column("inbox_id", BIG_ID),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_facts"),
        sa.UniqueConstraint("key", name="uq_facts_key"),
    )
    for column in ("subject", "payment", "invoice", "customer_id", "inbox_id"):
        op.create_index(f"ix_facts_{column}", "facts", [column])


def _customers() -> None:
    op.create_table(
        "customers",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("observed", sa.Text(), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("email", sa.String(320)),
        sa.Column("version", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_customers"),
    )
    op.create_index("ix_customers_email", "customers", ["email"])
    op.create_index("ix_customers_created_at", "customers", ["created_at"])
    op.create_table(
        "customer_links",
        sa.Column("customer_id", sa.String(255), nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("provider_id", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "connection", name="pk_customer_links"),
    )
    op.create_index(
        "ix_customer_links_connection_provider_id", "customer_links", ["connection", "provider_id"]
    )
    op.create_table(
        "customer_syncs",
        sa.Column("customer_id", sa.String(255), nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("field", sa.String(64)),
        sa.Column("detail", sa.Text()),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "connection", name="pk_customer_syncs"),
    )


def _projection(name: str) -> None:
    op.create_table(
        name,
        sa.Column("ref", sa.String(255), nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(255)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("invoice", sa.String(255)),
        sa.Column("payment", sa.String(255)),
        sa.Column("alias", sa.String(255)),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=f"pk_{name}"),
    )
    op.create_index(f"ix_{name}_at_ref", name, ["at", "ref"])
    for column in ("customer_id", "invoice", "payment", "alias"):
        op.create_index(f"ix_{name}_{column}", name, [column])


def _collecting() -> None:
    op.create_table(
        "attempts",
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("invoice", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("session", sa.String(255)),
        sa.Column("payment", sa.String(255)),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_attempts"),
        sa.UniqueConstraint("invoice", "number", name="uq_attempts_invoice_number"),
    )
    op.create_index("ix_attempts_session", "attempts", ["session"])
    op.create_index("ix_attempts_payment", "attempts", ["payment"])
    op.create_table(
        "pay_links",
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("invoice", sa.String(255), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_pay_links"),
        sa.UniqueConstraint("invoice", name="uq_pay_links_invoice"),
    )


def _outbox() -> None:
    op.create_table(
        "effects",
        _number(),
        sa.Column("key", sa.String(512), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("lane", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("leased_until", INSTANT),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("note", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_effects"),
        sa.UniqueConstraint("key", name="uq_effects_key"),
    )
    op.create_index("ix_effects_subject", "effects", ["subject"])
    op.create_index("ix_effects_status_due_at", "effects", ["status", "due_at"])
    op.create_index("ix_effects_lane_id", "effects", ["lane", "id"])
    op.create_table(
        "effect_attempts",
        _number(),
        sa.Column("effect_id", BIG_ID, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_effect_attempts"),
        sa.ForeignKeyConstraint(["effect_id"], ["effects.id"], name="fk_effect_attempts_effect_id"),
    )
    op.create_index("ix_effect_attempts_effect_id", "effect_attempts", ["effect_id"])


def _access_to_the_host() -> None:
    op.create_table(
        "api_keys",
        _number(),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("last4", sa.String(4), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_table(
        "connection_state",
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "key", name="pk_connection_state"),
    )
