"""Retry schedules: what they accept, when they say try again, and when never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billhook.dunning import RetrySchedule, parse_duration
from billhook.model import DeclineClass

FAILED_AT = datetime(2026, 8, 1, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("P3D", timedelta(days=3)),
        ("P2W", timedelta(weeks=2)),
        ("PT5S", timedelta(seconds=5)),
        ("PT12H", timedelta(hours=12)),
        ("PT90M", timedelta(minutes=90)),
        ("P1DT6H30M15S", timedelta(days=1, hours=6, minutes=30, seconds=15)),
        ("P0D", timedelta(0)),
        ("PT0S", timedelta(0)),
        ("P366D", timedelta(days=366)),
    ],
)
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "3D",
        "P1M",
        "P1Y",
        "P1.5D",
        "-P1D",
        "P-1D",
        "p3d",
        "P1W2D",
        "PT1M1H",
        "P 3D",
        "P3D\n",
        "3",
        "P\u0663D",
    ],
)
def test_what_is_not_a_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as P3D, P2W, PT12H"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["P367D", "P999999W", "PT999999999S"])
def test_a_duration_over_a_year_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)


@given(st.integers(0, 364), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_every_combination_reads_back(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)

    assert parse_duration(f"P{days}DT{hours}H{minutes}M{seconds}S") == expected


def test_the_schedule_counts_from_each_failure() -> None:
    schedule = RetrySchedule.parse("P3D, P7D,PT5S")

    assert [
        schedule.next_attempt_at(FAILED_AT, attempt=attempt, decline=DeclineClass.SOFT)
        for attempt in (1, 2, 3, 4, 99)
    ] == [
        FAILED_AT + timedelta(days=3),
        FAILED_AT + timedelta(days=7),
        FAILED_AT + timedelta(seconds=5),
        None,
        None,
    ]


@pytest.mark.parametrize("decline", [DeclineClass.HARD, DeclineClass.AUTHENTICATION])
def test_a_decline_that_waiting_cannot_cure_is_never_tried_again(decline: DeclineClass) -> None:
    assert RetrySchedule.parse("P3D").next_attempt_at(FAILED_AT, attempt=1, decline=decline) is None


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_schedule_never_tries_again(text: str) -> None:
    schedule = RetrySchedule.parse(text)

    assert schedule.pauses == ()
    assert schedule.next_attempt_at(FAILED_AT, attempt=1, decline=DeclineClass.SOFT) is None


@pytest.mark.parametrize(("text", "position"), [("x", 1), ("P3D,7D", 2), ("P3D,,P7D", 2), ("P3D,P7D,", 3)])
def test_a_bad_schedule_is_refused_with_the_position(text: str, position: int) -> None:
    with pytest.raises(ValueError, match=rf"^pause {position}: .* is not a duration such as"):
        RetrySchedule.parse(text)


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="counted from 1, not 0"):
        RetrySchedule.parse("P3D").next_attempt_at(FAILED_AT, attempt=0, decline=DeclineClass.SOFT)


def test_an_unknown_decline_class_is_refused() -> None:
    with pytest.raises(ValueError, match="not a decline class"):
        RetrySchedule.parse("P3D").next_attempt_at(
            FAILED_AT,
            attempt=1,
            decline="stolen",  # type: ignore[arg-type]  # the refusal is what is tested
        )
