"""The tables of the customer portal: links that open it once, and the sessions of those who are in, and how often
mails with links were asked for.

Neither has a token: only digests, so that who reads the database gets in nowhere.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

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
    Column("via", String(16)),  # "mail": it was mailed to the customer; null: an app asked for it
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

portal_login_counts = Table(
    "portal_login_counts",
    metadata,
    Column("name", String(80), primary_key=True),  # of an address or a client only the digest
    Column("since", UTCDateTime, primary_key=True, index=True),  # when the window began
    Column("asked", Integer, nullable=False),
)

portal_login_mails = Table(
    "portal_login_mails",
    metadata,
    Column("effect_id", BigInteger, primary_key=True, autoincrement=False),  # forgotten with it
    Column("at", UTCDateTime, nullable=False, index=True),
)
