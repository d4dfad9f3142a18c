"""A database of each kind, with the tables made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from billhook_web.db import Database
from billhook_web.stores.tables import metadata


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'host.sqlite3'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
    metadata.create_all(database.engine)
    yield database
    database.close()
