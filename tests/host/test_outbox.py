"""The outbox: each effect once, one at a time in a lane, in the order they were planned."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from billhook.effects import CollectInvoice, RecordFailure, SyncCustomer
from billhook.model import Ref
from billhook_web.db import Database
from billhook_web.stores import outbox
from billhook_web.stores.outbox import EffectRow, EffectStatus

NOW = datetime(2026, 9, 1, tzinfo=UTC)
LEASE = timedelta(minutes=2)
INVOICE = Ref("acme", "in_1")


def plan(db: Database, *effects: CollectInvoice | RecordFailure | SyncCustomer) -> list[int | None]:
    with db.begin() as tx:
        return [outbox.add(tx, effect, now=NOW) for effect in effects]


def claim(db: Database, effect_id: int | None, at: datetime = NOW) -> EffectRow | None:
    assert effect_id is not None
    with db.begin() as tx:
        return outbox.claim(tx, effect_id, now=at, lease=LEASE)


def finish(db: Database, effect_id: int | None, status: EffectStatus = EffectStatus.DONE) -> None:
    assert effect_id is not None
    with db.begin() as tx:
        outbox.finish(tx, effect_id, status=status, now=NOW)


def failure(number: int) -> RecordFailure:
    return RecordFailure(invoice=INVOICE, payment=Ref("pay", f"p{number}"))


def test_fifty_plans_of_one_effect_are_one(db: Database) -> None:
    with ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(lambda _: plan(db, CollectInvoice(invoice=INVOICE))[0], range(50)))
    assert len([each for each in ids if each is not None]) == 1


def test_one_of_twenty_carries_it_out(db: Database) -> None:
    (effect_id,) = plan(db, CollectInvoice(invoice=INVOICE))
    with ThreadPoolExecutor(20) as pool:
        rows = list(pool.map(lambda _: claim(db, effect_id), range(20)))
    assert len([row for row in rows if row is not None]) == 1


def test_a_lane_is_carried_out_in_order(db: Database) -> None:
    first, second = plan(db, failure(1), failure(2))
    assert claim(db, second) is None
    assert claim(db, first) is not None
    assert claim(db, second) is None
    with db.read() as tx:
        assert list(outbox.due(tx, now=NOW, limit=10)) == []
    finish(db, first)
    with db.read() as tx:
        assert outbox.next_in_lane(tx, failure(1).lane, now=NOW) == second
    assert claim(db, second) is not None


def test_a_dead_effect_does_not_block_its_lane(db: Database) -> None:
    first, second = plan(db, failure(1), failure(2))
    finish(db, first, EffectStatus.DEAD)
    assert claim(db, second) is not None


def test_an_effect_with_a_date_waits_for_it_and_can_be_hastened(db: Database) -> None:
    later = CollectInvoice(invoice=INVOICE, attempt=2, not_before=NOW + timedelta(days=3))
    (effect_id,) = plan(db, later)
    assert claim(db, effect_id) is None
    assert claim(db, effect_id, NOW + timedelta(days=3)) is not None
    sooner = CollectInvoice(invoice=Ref("acme", "in_2"), not_before=NOW + timedelta(days=3))
    (other,) = plan(db, sooner)
    with db.begin() as tx:
        assert outbox.hasten(tx, sooner, now=NOW) == other
    assert claim(db, other) is not None


def test_an_effect_whose_process_died_is_taken_again_and_counts_its_tries(db: Database) -> None:
    (effect_id,) = plan(db, CollectInvoice(invoice=INVOICE))
    assert claim(db, effect_id) is not None
    again = claim(db, effect_id, NOW + LEASE)
    assert again is not None
    assert again.attempts == 2


def test_a_newer_version_supersedes_what_waits_but_not_what_runs(db: Database) -> None:
    versions = [SyncCustomer(customer_id="c", connection="acme", version=number) for number in (1, 2, 3)]
    first, second, third = plan(db, *versions)
    assert claim(db, first) is not None
    assert third is not None
    with db.begin() as tx:
        assert outbox.supersede(tx, lane=versions[0].lane, below_id=third, now=NOW, note="newer") == 1
    with db.read() as tx:
        statuses = [outbox.get(tx, each) for each in (first, second, third) if each is not None]
    assert [row.status for row in statuses if row] == [
        EffectStatus.RUNNING,
        EffectStatus.SUPERSEDED,
        EffectStatus.PENDING,
    ]


def test_only_a_dead_or_waiting_effect_can_be_retried(db: Database) -> None:
    (effect_id,) = plan(db, CollectInvoice(invoice=INVOICE))
    assert effect_id is not None
    finish(db, effect_id)
    with db.begin() as tx:
        assert not outbox.retry(tx, effect_id, now=NOW)
        outbox.finish(tx, effect_id, status=EffectStatus.DEAD, now=NOW, error="refused")
        assert outbox.retry(tx, effect_id, now=NOW)
    assert claim(db, effect_id) is not None
