"""The inbox: a delivery is stored once, and processed by one at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from billhook.provider import Delivery
from billhook_web.db import Database
from billhook_web.stores import inbox
from billhook_web.stores.inbox import InboxStatus

NOW = datetime(2026, 9, 1, tzinfo=UTC)
LEASE = timedelta(minutes=2)


def add(db: Database, key: str = "d1", content: str | None = None, connection: str = "acme") -> int | None:
    with db.begin() as tx:
        delivery = Delivery(key=key, content_key=content, type="invoice.created")
        return inbox.add(tx, connection=connection, delivery=delivery, body=b"{}", now=NOW)


def claim(db: Database, inbox_id: int, at: datetime = NOW) -> bool:
    with db.begin() as tx:
        return inbox.claim(tx, inbox_id, now=at, lease=LEASE) is not None


def test_fifty_concurrent_copies_are_one_row(db: Database) -> None:
    with ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(lambda _: add(db), range(50)))
    assert len([each for each in ids if each is not None]) == 1
    with db.read() as tx:
        assert inbox.counts(tx) == {"received": 1}


def test_the_same_content_under_another_key_is_known(db: Database) -> None:
    assert add(db, "d1", "c1") is not None
    assert add(db, "d2", "c1") is None
    assert add(db, "d2", "c2") is not None
    assert add(db, "d3", None) is not None
    assert add(db, "d4", None) is not None


def test_two_connections_do_not_share_keys(db: Database) -> None:
    assert add(db, "d1", connection="acme") is not None
    assert add(db, "d1", connection="acme-eu") is not None


def test_one_of_twenty_gets_the_lease(db: Database) -> None:
    inbox_id = add(db)
    assert inbox_id is not None
    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(lambda _: claim(db, inbox_id), range(20))) == 1


def test_a_lease_that_ran_out_can_be_taken_again(db: Database) -> None:
    inbox_id = add(db)
    assert inbox_id is not None
    assert claim(db, inbox_id)
    assert not claim(db, inbox_id, NOW + LEASE - timedelta(seconds=1))
    assert claim(db, inbox_id, NOW + LEASE)


def test_due_lists_what_waits_and_nothing_else(db: Database) -> None:
    first, second, third = (add(db, key) for key in ("a", "b", "c"))
    assert first is not None
    assert second is not None
    with db.begin() as tx:
        inbox.finish(tx, first, now=NOW, facts=1)
        inbox.postpone(tx, second, due_at=NOW + timedelta(minutes=5), error="down")
    with db.read() as tx:
        assert inbox.due(tx, now=NOW, limit=10) == [(third, NOW)]
        later = NOW + timedelta(minutes=5)
        assert inbox.due(tx, now=later, limit=10) == [(third, NOW), (second, later)]


def test_a_dead_letter_can_be_replayed(db: Database) -> None:
    inbox_id = add(db)
    assert inbox_id is not None
    with db.begin() as tx:
        inbox.bury(tx, inbox_id, now=NOW, error="not readable")
    assert not claim(db, inbox_id)
    with db.begin() as tx:
        assert inbox.replay(tx, inbox_id, now=NOW)
        assert not inbox.replay(tx, inbox_id + 1, now=NOW)
    with db.read() as tx:
        row = inbox.get(tx, inbox_id)
    assert row is not None
    assert (row.status, row.error, row.attempts) == (InboxStatus.RECEIVED, None, 0)
