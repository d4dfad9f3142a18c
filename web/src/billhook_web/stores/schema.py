"""The database's shape over time: brings a database to the newest revision with Alembic, without an ini file.

The version is kept in ``billhook_alembic_version``, so that a plugin with tables of its own can keep another one beside
it. Revisions are in ``billhook_web/migrations/versions``; there is no way back but a backup.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from billhook_web.db import Database, lock

VERSION_TABLE = "billhook_alembic_version"

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(db: Database) -> None:
    """Bring the database to the newest revision, all of it or nothing.

    Safe when several processes do it at once: one works, the others wait and then find nothing to do. PostgreSQL waits
    for an advisory lock, SQLite for the write lock that every transaction takes at its beginning.

    :raises billhook_web.db.DatabaseError: the database cannot be reached, or stays locked for too long.
    """
    config = _config()
    with db.begin() as tx:
        lock(tx, [VERSION_TABLE])
        config.attributes["connection"] = tx
        command.upgrade(config, "head")


def revision(db: Database) -> str | None:
    """Return the revision the database is at; None: it was never set up."""
    with db.read() as tx:
        context = MigrationContext.configure(tx, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


@lru_cache(maxsize=1)
def newest() -> str | None:
    """Return the newest revision this version of Billhook knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def is_current(db: Database) -> bool:
    """Say whether the database has the shape that this version of Billhook expects."""
    return revision(db) == newest()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
