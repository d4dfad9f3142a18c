"""Outcomes that nobody knows: noted since when, kept until they are settled, told to an operator once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from billhook.effects import CollectInvoice
from billhook.model import Ref
from billhook_web.db import Database
from billhook_web.services.unknowns import tell_overdue
from billhook_web.stores import outbox, vitals
from billhook_web.stores.outbox import EffectRow, EffectStatus

NOW = datetime(2026, 9, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEADLINE = 24 * HOUR
LEASE = timedelta(minutes=2)


@pytest.fixture
def effect(db: Database) -> int:
    with db.begin() as tx:
        added = outbox.add(tx, CollectInvoice(invoice=Ref("acme", "in_1")), now=NOW)
    assert added is not None
    return added


def attempt(db: Database, effect_id: int, at: datetime, status: EffectStatus | None) -> EffectRow:
    """Claim it and give it back with this status; None: the process dies."""
    with db.begin() as tx:
        assert outbox.claim(tx, effect_id, now=at, lease=LEASE) is not None
        if status is not None:
            outbox.postpone(tx, effect_id, status=status, now=at, due_at=at, error="no answer")
    return state(db, effect_id)


def state(db: Database, effect_id: int) -> EffectRow:
    with db.read() as tx:
        row = outbox.get(tx, effect_id)
    assert row is not None
    return row


def count(db: Database, at: datetime) -> vitals.Unknown:
    with db.read() as tx:
        return vitals.unknown(tx, now=at, deadline=DEADLINE)


def test_it_is_unknown_since_the_first_try_without_an_answer(db: Database, effect: int) -> None:
    assert attempt(db, effect, NOW, EffectStatus.PENDING).unknown_since is None
    attempt(db, effect, NOW + HOUR, EffectStatus.UNKNOWN)
    again = attempt(db, effect, NOW + 2 * HOUR, EffectStatus.UNKNOWN)
    assert (again.status, again.unknown_since) == (EffectStatus.UNKNOWN, NOW + HOUR)


def test_a_try_that_could_not_even_look_leaves_it_unknown(db: Database, effect: int) -> None:
    attempt(db, effect, NOW, EffectStatus.UNKNOWN)
    later = attempt(db, effect, NOW + HOUR, EffectStatus.PENDING)
    assert (later.status, later.unknown_since) == (EffectStatus.UNKNOWN, NOW)


def test_a_process_that_dies_between_call_and_record_leaves_it_unknown(db: Database, effect: int) -> None:
    assert attempt(db, effect, NOW, None).unknown_since is None, "it may still be at it"
    found = attempt(db, effect, NOW + LEASE, EffectStatus.PENDING)
    assert (found.status, found.unknown_since) == (EffectStatus.UNKNOWN, NOW + LEASE)


@pytest.mark.parametrize("status", [EffectStatus.DONE, EffectStatus.SUPERSEDED, EffectStatus.DEAD])
def test_an_answer_settles_it(db: Database, effect: int, status: EffectStatus) -> None:
    attempt(db, effect, NOW, EffectStatus.UNKNOWN)
    with db.begin() as tx:
        outbox.finish(tx, effect, status=status, now=NOW + HOUR)
    assert state(db, effect).unknown_since is None
    assert count(db, NOW + DEADLINE) == vitals.Unknown(count=0, overdue=0, since=None)


def test_giving_up_settles_nothing_and_neither_does_retrying(db: Database, effect: int) -> None:
    attempt(db, effect, NOW, EffectStatus.UNKNOWN)
    with db.begin() as tx:
        outbox.give_up(tx, effect, now=NOW + HOUR, error="down", unknown=False)
    assert (state(db, effect).status, state(db, effect).unknown_since) == (EffectStatus.DEAD, NOW)
    assert count(db, NOW + DEADLINE) == vitals.Unknown(count=1, overdue=1, since=NOW)
    with db.begin() as tx:
        assert outbox.retry(tx, effect, now=NOW + 2 * HOUR)
    assert state(db, effect).unknown_since == NOW


def test_giving_up_a_call_that_never_left_leaves_nothing_unknown(db: Database, effect: int) -> None:
    attempt(db, effect, NOW, EffectStatus.PENDING)
    with db.begin() as tx:
        outbox.give_up(tx, effect, now=NOW + HOUR, error="down", unknown=False)
    assert state(db, effect).unknown_since is None


def test_it_is_overdue_only_when_the_deadline_has_passed(db: Database, effect: int) -> None:
    attempt(db, effect, NOW, EffectStatus.UNKNOWN)
    assert count(db, NOW + DEADLINE - timedelta(seconds=1)).overdue == 0
    assert count(db, NOW + DEADLINE).overdue == 1


def test_an_operator_is_told_once_and_only_after_the_deadline(db: Database, effect: int) -> None:
    attempt(db, effect, NOW, EffectStatus.UNKNOWN)
    with capture_logs() as lines:
        told = [
            tell_overdue(db, now=NOW + after, deadline=DEADLINE)
            for after in (DEADLINE - HOUR, DEADLINE, DEADLINE + HOUR)
        ]
    assert told == [0, 1, 0]
    assert lines == [
        {
            "event": "effect.outcome_unknown_too_long",
            "log_level": "error",
            "effect_id": effect,
            "kind": "collect_invoice",
            "since": NOW.isoformat(),
        }
    ]
