"""Every story runs on SQLite with the in-process broker, and on PostgreSQL with Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.flow import Backend, Flow


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "sqlite":
        return Backend("sqlite", f"sqlite:///{tmp_path / 'billhook.sqlite3'}", None)
    return Backend("postgres", request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url"))


@pytest.fixture
def payer() -> str:
    """Who collects. A module whose stories are the same for every provider parametrises this with ``PAYERS``."""
    return "dodo"


@pytest.fixture
def flow(backend: Backend, payer: str) -> Iterator[Flow]:
    with Flow(backend, payer=payer).running() as running:
        yield running
