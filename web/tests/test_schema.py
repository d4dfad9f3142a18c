"""Migrations: what they make is what the tables say, on both databases, also when two processes make it at once."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from billhook_web.db import Database
from billhook_web.stores import schema
from billhook_web.stores.all_tables import metadata

WEB = Path(__file__).resolve().parent.parent


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'billhook.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def _differ(*columns_and_defaults: object) -> bool | None:
    """Alembic does not recognise SQLite's empty text; everything else is left to its own comparison."""
    *_, inspected, _, rendered = columns_and_defaults
    return False if (inspected, rendered) == ("('')", "") else None


def test_an_upgrade_makes_exactly_the_tables_that_the_code_uses(db: Database) -> None:
    schema.upgrade(db)
    with db.begin() as tx:
        options = {
            "version_table": schema.VERSION_TABLE,
            "compare_type": True,
            "compare_server_default": _differ,
            "target_metadata": metadata,
        }
        differences = compare_metadata(MigrationContext.configure(tx, opts=options), metadata)
    assert differences == []


def test_names_of_constraints_are_those_of_the_tables(db: Database) -> None:
    schema.upgrade(db)
    found = inspect(db.engine)
    for table in metadata.sorted_tables:
        assert found.get_pk_constraint(table.name)["name"] == table.primary_key.name
        assert {each["name"] for each in found.get_foreign_keys(table.name)} == {
            each.name for each in table.foreign_key_constraints
        }


def test_a_new_database_is_not_current_until_it_is_upgraded(db: Database) -> None:
    assert schema.revision(db) is None
    assert not schema.is_current(db)
    schema.upgrade(db)
    assert schema.revision(db) == schema.newest()
    assert schema.is_current(db)


def test_upgrading_again_keeps_what_is_there(db: Database) -> None:
    schema.upgrade(db)
    with db.begin() as tx:
        tx.execute(text("INSERT INTO connection_state (connection, key, value) VALUES ('acme', 'k', 'v')"))
    schema.upgrade(db)
    with db.read() as tx:
        assert tx.execute(text("SELECT value FROM connection_state")).scalar_one() == "v"


def test_an_upgrade_that_fails_leaves_nothing_behind(db: Database) -> None:
    with db.begin() as tx:
        tx.execute(text("CREATE TABLE connection_state (id INTEGER)"))  # the last table to be made
    with pytest.raises(Exception, match="connection_state"):
        schema.upgrade(db)
    assert inspect(db.engine).get_table_names() == ["connection_state"]
    assert schema.revision(db) is None


def _upgrade(url: str, start: Barrier) -> None:
    start.wait(30)
    schema.upgrade(Database(url))


def test_several_processes_may_upgrade_at_once(url: str, db: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    processes = [spawn.Process(target=_upgrade, args=(url, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(50)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert schema.is_current(db)


def test_the_migrations_are_where_the_installed_package_looks_for_them() -> None:
    listed = {str(path.relative_to(WEB / "src")) for path in schema.MIGRATIONS.rglob("*.py")}
    assert "billhook_web/migrations/env.py" in listed
    assert any("/versions/" in name for name in listed)
