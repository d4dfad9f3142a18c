"""Many at the same door at the same moment: a link lets one browser in, however many hold it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billhook.clock import VirtualClock, new_token
from billhook_web.db import Database
from billhook_web.services.portal_sessions import Limits, PortalSessions
from billhook_web.stores import accounts, schema

NOW = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
LIMITS = Limits(idle=timedelta(minutes=30), longest=timedelta(hours=12))
CROWD = 8


@pytest.fixture(params=["sqlite", "postgresql"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path):
    postgres = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path / 'portal.sqlite3'}"
    db = Database(url)
    schema.upgrade(db)
    with db.begin() as tx:
        accounts.put_customer(tx, "ada", given={"name": "Ada"}, now=NOW)
    yield PortalSessions(db=db, clock=VirtualClock(NOW), limits=LIMITS, new_token=new_token)
    db.close()


def _begin_at_once(sessions: PortalSessions, browsers: list[str]) -> list[bool]:
    token = sessions.issue("ada", page="overview", return_url=None).token
    with ThreadPoolExecutor(len(browsers)) as pool:
        begun = pool.map(lambda browser: sessions.begin(token, browser=browser), browsers)
        return [each is not None for each in begun]


def test_of_many_browsers_one_gets_in(sessions: PortalSessions) -> None:
    assert sum(_begin_at_once(sessions, [f"browser-{number}" for number in range(CROWD)])) == 1


def test_one_browser_gets_in_however_often_it_asks(sessions: PortalSessions) -> None:
    assert all(_begin_at_once(sessions, ["browser"] * CROWD))
