"""Every table there is: what the migrations are compared with."""

from billhook_web.stores import access_tables, portal_tables, webhook_tables
from billhook_web.stores.tables import metadata

__all__ = ["access_tables", "metadata", "portal_tables", "webhook_tables"]
