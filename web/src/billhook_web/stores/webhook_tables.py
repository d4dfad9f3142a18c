"""The tables of outgoing webhooks: who receives them, what was said, each delivery of it and every attempt.

Of a customer's messages to an endpoint only the first open one is due (``pending``); the others wait behind it, so that
what is due is found by an index however many wait.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from billhook_web.db import UTCDateTime
from billhook_web.stores.tables import BigId, metadata, new_id

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    new_id(),
    Column("url", Text, nullable=False),
    Column("description", String(255), nullable=False, server_default=""),
    Column("event_types", Text, nullable=False),  # a JSON list; empty: all
    Column("status", String(16), nullable=False),
    Column("reason", String(16)),  # why it is disabled
    Column("notice", Text),
    Column("disabled_at", UTCDateTime),
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row
    Column("failing_since", UTCDateTime),
    Column("resume_at", UTCDateTime),  # nothing is sent before: it failed too often in a row
    Column("secret", Text),  # sealed, as the one before it
    Column("previous_secret", Text),
    Column("previous_until", UTCDateTime),
    Column("created_at", UTCDateTime, nullable=False),
    Column("updated_at", UTCDateTime, nullable=False),
    Index("ix_webhook_endpoints_status", "status"),
)

webhook_messages = Table(
    "webhook_messages",
    metadata,
    new_id(),  # the order within a customer
    Column("key", String(64), nullable=False, unique=True),  # what receivers see: webhook-id
    Column("type", String(64), nullable=False),
    Column("customer_id", String(255)),
    Column("body", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False, index=True),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    new_id(),
    Column("message_id", BigId, ForeignKey("webhook_messages.id"), nullable=False),
    Column("endpoint_id", BigId, ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("customer_id", String(255)),
    Column("status", String(16), nullable=False),
    Column("due_at", UTCDateTime, nullable=False),
    Column("leased_until", UTCDateTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),  # since it was last begun
    Column("failing_since", UTCDateTime),
    Column("created_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("error", Text),
    UniqueConstraint("message_id", "endpoint_id"),
    Index("ix_webhook_deliveries_endpoint_id_status_due_at", "endpoint_id", "status", "due_at"),
    Index(
        "ix_webhook_deliveries_lane", "endpoint_id", "customer_id", "status", "message_id"
    ),  # whose turn it is
    Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    new_id(),
    Column("delivery_id", BigId, ForeignKey("webhook_deliveries.id"), nullable=False, index=True),
    Column("at", UTCDateTime, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("status_code", Integer),
    Column("response", Text),  # the beginning of the answer
    Column("error", Text),
)
