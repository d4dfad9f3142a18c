"""Clocks: UTC, aware, and the virtual one moves only when told to."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billhook.clock import SystemClock, VirtualClock, jitter, monotonic, new_token, pause

START = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


def test_the_system_clock_tells_the_machines_time_in_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()

    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_the_virtual_clock_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(START)

    assert [clock.now(), clock.now()] == [START, START]
    assert clock.advance(timedelta(days=3)) == START + timedelta(days=3)
    assert clock.now() == START + timedelta(days=3)


def test_the_virtual_clock_answers_in_utc_and_refuses_a_naive_start() -> None:
    clock = VirtualClock(START.astimezone(timezone(timedelta(hours=-7))))

    assert clock.now().tzinfo is UTC
    assert clock.now() == START
    with pytest.raises(ValueError, match="aware start time"):
        VirtualClock(START.replace(tzinfo=None))


def test_no_move_of_the_virtual_clock_is_lost_between_threads() -> None:
    clock = VirtualClock(START)
    threads = [
        threading.Thread(target=lambda: [clock.advance(timedelta(seconds=1)) for _ in range(200)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert clock.now() == START + timedelta(seconds=1600)


def test_pausing_takes_time() -> None:
    before = monotonic()
    pause(0.01)

    assert monotonic() - before >= 0.01


def test_tokens_differ_are_url_safe_and_keep_their_prefix() -> None:
    tokens = {new_token("bh_") for _ in range(200)}

    assert len(tokens) == 200
    assert all(
        token.startswith("bh_") and token.replace("-", "").replace("_", "").isalnum() for token in tokens
    )
    assert len(new_token(size=12)) == 16


@given(st.timedeltas(timedelta(0), timedelta(days=400)), st.floats(min_value=0, max_value=2, allow_nan=False))
def test_jitter_only_lengthens_and_at_most_by_the_ratio(span: timedelta, ratio: float) -> None:
    assert span <= jitter(span, ratio=ratio) <= span * (1 + ratio) + timedelta(microseconds=1)


def test_jitter_spreads_retries_out() -> None:
    assert len({jitter(timedelta(hours=1)) for _ in range(50)}) > 1
