"""Bodies go after a while, and nothing else does: repetitions are recognised, a rebuild is equal, work goes on."""

from __future__ import annotations

import time
from datetime import timedelta

from billhook.effects import RecordFailure
from billhook.model import Ref
from billhook.provider import Delivery
from billhook_web.actors import BackgroundWork
from billhook_web.services.retention import Pruned
from billhook_web.stores import inbox, outbox, reconcile
from billhook_web.stores.inbox import InboxRow
from billhook_web.stores.outbox import EffectStatus
from billhook_web.stores.reconcile import Gap, RunStatus
from tests.flow.flow import PATIENCE_SECONDS, Flow
from tests.flow.tape import Tape
from tests.flow.test_rebuild import made_anew, tell

KEPT = timedelta(days=90)


def prune_all(flow: Flow) -> Pruned:
    done = Pruned()
    while (some := flow.runtime.retention.prune_some()).total:
        done = done.plus(some)
    return done


def deliveries(flow: Flow) -> list[InboxRow]:
    with flow.runtime.db.read() as tx:
        return list(inbox.page(tx, limit=1000))


def test_a_pruned_delivery_is_still_recognised_and_a_rebuild_is_still_equal(flow: Flow) -> None:
    tape = Tape(flow).record()
    tell(flow)
    before = flow.books()
    flow.clock.advance(KEPT - timedelta(days=4))
    assert prune_all(flow).bodies == 0
    flow.clock.advance(timedelta(days=5))
    with_body = [row for row in deliveries(flow) if row.body]
    waiting = flow.runtime.retention.waiting(before=flow.clock.now() - KEPT)
    pruned = prune_all(flow)
    assert pruned == waiting
    assert pruned.bodies == len(with_body)
    assert [row.id for row in deliveries(flow) if row.body] == []
    assert made_anew(flow, check=True).differences == ()
    assert tape.repeat() == 0
    assert made_anew(flow, check=False).differences == ()
    assert flow.books() == before
    assert flow.dead() == []


def test_a_replay_of_what_was_pruned_hears_its_facts_again_and_nothing_happens(flow: Flow) -> None:
    tell(flow)
    before = flow.books()
    flow.clock.advance(KEPT + timedelta(days=1))
    prune_all(flow)
    for row in deliveries(flow):
        flow.api("POST", f"/events/{row.id}/replay")
    flow.settle()
    assert {row.status for row in deliveries(flow)} == {"processed"}
    assert flow.books() == before
    assert made_anew(flow, check=True).differences == ()


def test_a_replay_keeps_what_had_to_be_fetched_the_first_time(flow: Flow) -> None:
    tell(flow)
    for row in deliveries(flow):
        flow.api("POST", f"/events/{row.id}/replay")
    flow.settle()
    assert made_anew(flow, check=True).differences == ()
    assert flow.dead() == []


def test_what_is_not_processed_keeps_its_body(flow: Flow) -> None:
    now = flow.clock.now()
    with flow.runtime.db.begin() as tx:
        dead = inbox.add(tx, connection="lago", delivery=Delivery(key="dead"), body=b"{", now=now)
        later = now + timedelta(days=365)
        waits = inbox.add(tx, connection="lago", delivery=Delivery(key="waits"), body=b"{}", now=later)
    flow.settle()
    flow.clock.advance(KEPT * 2)
    assert prune_all(flow).bodies == 0
    bodies = {row.id: row.body for row in deliveries(flow)}
    assert bodies == {dead: b"{", waits: b"{}"}
    assert flow.dead() != []


def test_a_running_host_prunes_by_itself(flow: Flow) -> None:
    tell(flow)
    flow.clock.advance(KEPT + timedelta(days=1))
    second = BackgroundWork(flow.runtime, flow.wake, sweep_seconds=0.02)
    second.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(row.body for row in deliveries(flow)):
        assert time.monotonic() < deadline, "bodies are still there"
        time.sleep(0.02)
    second.stop(timeout=10)
    assert made_anew(flow, check=True).differences == ()


def test_tries_at_finished_effects_go_and_those_at_dead_ones_stay(flow: Flow) -> None:
    now = flow.clock.now()
    done, dead = (RecordFailure(invoice=Ref("x", "i"), payment=Ref("x", name)) for name in ("a", "b"))
    ids = []
    for effect, status in ((done, EffectStatus.DONE), (dead, EffectStatus.DEAD)):
        with flow.runtime.db.begin() as tx:
            effect_id = outbox.add(tx, effect, now=now + timedelta(days=1000))
            assert effect_id is not None
            outbox.note_attempt(tx, effect_id, at=now, milliseconds=1, outcome="tried", detail="x")
            outbox.finish(tx, effect_id, status=status, now=now)
            ids.append(effect_id)
    flow.clock.advance(KEPT + timedelta(days=1))
    assert prune_all(flow).attempts == 1
    with flow.runtime.db.read() as tx:
        assert [len(outbox.attempts_of(tx, effect_id)) for effect_id in ids] == [0, 1]


def test_old_runs_and_gaps_go_but_each_connections_last_run_stays(flow: Flow) -> None:
    gap = Gap(kind="payment", ref=Ref("dodo", "pay_1"), changed=("status",), at=None)
    lease = timedelta(minutes=1)
    runs = []
    for _ in range(3):
        now = flow.clock.now()
        with flow.runtime.db.begin() as tx:
            run = reconcile.begin(tx, "dodo", since=None, now=now, lease=lease)
            assert run is not None
            reconcile.advance(tx, run, cursor=None, seen=1, facts=0, found=[gap], now=now, lease=lease)
            reconcile.finish(tx, run, status=RunStatus.DONE, now=now)
            runs.append(run.id)
        flow.clock.advance(timedelta(hours=1))
    with flow.runtime.db.read() as tx:
        mark = reconcile.marked(tx, "dodo")
    flow.clock.advance(KEPT)
    pruned = prune_all(flow)
    assert (pruned.runs, pruned.gaps) == (2, 2)
    with flow.runtime.db.read() as tx:
        assert [each.id for each in reconcile.page_runs(tx)] == runs[2:]
        assert reconcile.marked(tx, "dodo") == mark
        assert reconcile.count_gaps(tx) == {"dodo": 3}  # a counter that fell would look like a new one
