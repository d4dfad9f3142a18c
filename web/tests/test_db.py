"""Opening a database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from sqlalchemy import text

from billhook_web.db import Database

OPENERS = 8
FILES = 60  # without asking again, about one opener in a hundred is refused


def _open_and_write(url: str, together: Barrier) -> None:
    db = Database(url)
    together.wait(30)
    with db.begin() as tx:
        tx.execute(text("CREATE TABLE IF NOT EXISTS t (a INTEGER)"))
    db.close()


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(OPENERS) as pool:
        for number in range(FILES):
            url, together = f"sqlite:///{tmp_path / f'{number}.sqlite3'}", Barrier(OPENERS)
            opened = [pool.submit(_open_and_write, url, together) for _ in range(OPENERS)]
            assert [each.result(60) for each in opened] == [None] * OPENERS
