"""The database's shape over time: brings a database to the newest revision with Alembic, without an ini file.

The version is kept in ``billhook_alembic_version``, so that a plugin with tables of its own can keep another one beside
it. Revisions are in ``billhook_web/migrations/versions``; there is no way back but a backup.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from billhook.clock import pause
from billhook_web.db import Database, DatabaseError, gave_way, give_way, lock

log = structlog.get_logger(__name__)

VERSION_TABLE = "billhook_alembic_version"

LOCK_SECONDS = 5.0
"""How long an upgrade waits for a table that is in use before it gives way to those who queue behind it."""

TRIES = 12

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(db: Database, *, lock_seconds: float = LOCK_SECONDS, tries: int = TRIES) -> None:
    """Bring the database to the newest revision, all of it or nothing.

    Safe when several processes do it at once: one works, the others wait and then find nothing to do. PostgreSQL waits
    for an advisory lock, SQLite for the write lock that every transaction takes at its beginning. Safe, too, while the
    host works: on PostgreSQL it gives way when it does not get a table's lock within ``lock_seconds``, and tries again.

    :raises billhook_web.db.DatabaseError: the database cannot be reached, or stays locked for too long.
    """
    for left in reversed(range(tries)):
        try:
            _upgrade(db, lock_seconds)
            return
        except DatabaseError as exc:
            if not gave_way(exc) or not left:
                raise
            log.warning("database.upgrade_gave_way", tries_left=left)
            pause(lock_seconds)


def _upgrade(db: Database, lock_seconds: float) -> None:
    config = _config()
    with db.begin() as tx:
        lock(tx, [VERSION_TABLE])  # another upgrade may take long: the limit is only for what comes now
        give_way(tx, seconds=lock_seconds)
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
