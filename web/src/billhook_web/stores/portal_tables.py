"""The tables of the customer portal: links that open it once, and the sessions of those who are in.

Neither has a token: only digests, so that who reads the database gets in nowhere.
"""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from billhook_web.db import UTCDateTime
from billhook_web.stores.tables import metadata

portal_links = Table(
    "portal_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("customer_id", String(255), nullable=False, index=True),
    Column("page", String(64), nullable=False),
    Column("return_url", Text),  # where the customer came from; its origin was checked
    Column("created_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False, index=True),
    Column("used_at", UTCDateTime),
    Column("used_by", String(64)),  # digest of what the browser held that used it
)

portal_sessions = Table(
    "portal_sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("customer_id", String(255), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),  # what every form of the session carries
    Column("return_url", Text),
    Column("created_at", UTCDateTime, nullable=False),
    Column("seen_at", UTCDateTime, nullable=False),
    Column("ends_at", UTCDateTime, nullable=False, index=True),  # at the latest
    Column("ended_at", UTCDateTime),  # signed out, or replaced by a newer one
)
