"""Calls for people who wait: a provider that is down or slow costs them an answer at once, and nobody else anything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billhook.clock import VirtualClock
from billhook.errors import Refused, Temporary
from billhook_web.db import Database
from billhook_web.services.breaker import FIRST_PAUSE, TOLERATED, BreakerState
from billhook_web.services.gates import ASKING_AT_MOST, Gates
from billhook_web.stores.tables import metadata
from tests.host.isolation import START


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def gates(tmp_path: Path, clock: VirtualClock) -> Iterator[Gates]:
    db = Database(f"sqlite:///{tmp_path / 'gates.sqlite3'}")
    metadata.create_all(db.engine)
    yield Gates(db=db, clock=clock, limit=1, redact=str)
    db.close()


def down() -> Any:
    raise Temporary("connection refused")


def refuses() -> Any:
    raise Refused("no such plan")


def ask_in_vain(gates: Gates, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Temporary):
            gates.ask("acme", down)


def test_failures_of_people_and_of_work_count_together(gates: Gates, clock: VirtualClock) -> None:
    ask_in_vain(gates, TOLERATED)
    assert gates.states()["acme"] is BreakerState.OPEN
    calls: list[int] = []
    with pytest.raises(Temporary, match="does not answer") as told:
        gates.ask("acme", lambda: calls.append(1))
    assert calls == []
    assert told.value.retry_after == FIRST_PAUSE
    assert gates.ask("other", lambda: "fine") == "fine"
    clock.advance(FIRST_PAUSE + timedelta(seconds=1))
    assert gates.ask("acme", lambda: "back") == "back", "it is the probe"
    assert gates.states()["acme"] is BreakerState.CLOSED


def test_a_refusal_is_an_answer(gates: Gates) -> None:
    ask_in_vain(gates, TOLERATED - 1)
    with pytest.raises(Refused):
        gates.ask("acme", refuses)
    ask_in_vain(gates, 1)
    assert gates.states()["acme"] is BreakerState.CLOSED


def test_people_take_no_place_of_the_work_and_work_none_of_theirs(gates: Gates) -> None:
    with gates.enter("acme"):
        assert gates.ask("acme", lambda: dict(gates.running())) == {"acme": 1}
    assert gates.running() == {"acme": 0}


def test_a_provider_that_hangs_holds_few_threads(gates: Gates) -> None:
    free, inside = threading.Event(), threading.Semaphore(0)

    def hangs() -> str:
        inside.release()
        free.wait(30)
        return "late"

    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(gates.ask("acme", hangs)))
        for _ in range(ASKING_AT_MOST)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert inside.acquire(timeout=10)
    with pytest.raises(Temporary, match="slow"):
        gates.ask("acme", hangs)
    assert gates.ask("other", lambda: "fine") == "fine"
    free.set()
    for thread in threads:
        thread.join(10)
    assert answers == ["late"] * ASKING_AT_MOST
    assert gates.ask("acme", lambda: "free") == "free"
