"""Run by Alembic for every command: migrates the connection that :mod:`billhook_web.stores.schema` hands over.

That connection is inside a transaction already, so Alembic begins and commits nothing by itself.
"""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from billhook_web.db import UTCDateTime
from billhook_web.stores.all_tables import metadata
from billhook_web.stores.schema import VERSION_TABLE


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write our own types as what they are in the database: a revision must not import code that changes."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()
