"""An upgrade while the host works: it must not make everybody wait behind a table that is in use."""

from __future__ import annotations

import threading

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from billhook_web.db import Database, DatabaseError, gave_way
from billhook_web.stores import schema


@pytest.fixture
def db(postgres_url: str) -> Database:
    """A database some revisions ago; what comes changes the table of effects."""
    database = Database(postgres_url)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with database.begin() as tx:
        config.attributes["connection"] = tx
        command.upgrade(config, "0002")
    return database


def test_an_upgrade_gives_way_and_in_the_end_gives_up(db: Database) -> None:
    with db.begin() as tx:
        tx.execute(text("LOCK TABLE effects IN ACCESS SHARE MODE"))
        with pytest.raises(DatabaseError) as raised:
            schema.upgrade(db, lock_seconds=0.05, tries=2)
    assert gave_way(raised.value)
    assert schema.revision(db) == "0002", "all or nothing"
    db.close()


def test_an_upgrade_goes_on_when_the_table_is_free_again(db: Database) -> None:
    upgrading = threading.Thread(target=lambda: schema.upgrade(db, lock_seconds=0.05, tries=200))
    with db.begin() as tx:
        tx.execute(text("LOCK TABLE effects IN ACCESS SHARE MODE"))
        upgrading.start()
        upgrading.join(0.3)
        assert upgrading.is_alive()
        with db.read() as other:  # does not queue up behind the upgrade for longer than the limit
            other.execute(text("SET statement_timeout = '2s'"))
            assert other.execute(text("SELECT count(*) FROM effects")).scalar_one() == 0
    upgrading.join(20)
    assert schema.is_current(db)
    db.close()
