"""When a provider is left alone, and when it is asked again: for any history of answers and failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from billhook_web.services.breaker import FIRST_PAUSE, LONGEST_PAUSE, TOLERATED, Breaker, BreakerState

NOW = datetime(2026, 9, 1, tzinfo=UTC)


def down() -> Breaker:
    breaker = Breaker()
    for _ in range(TOLERATED):
        breaker = breaker.failed(NOW, probe=False)
    return breaker


def test_failures_in_a_row_open_it_and_an_answer_in_between_does_not_let_them_add_up() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(TOLERATED - 1):
            breaker = breaker.failed(NOW, probe=False)
        assert not breaker.shut(NOW)
        breaker = breaker.answered()
    assert down().shut(NOW)
    assert down().state is BreakerState.OPEN


def test_a_failed_probe_makes_the_pause_longer_up_to_a_limit() -> None:
    breaker, now, pauses = down(), NOW, []
    for _ in range(12):
        assert breaker.probe_at is not None
        pauses.append(breaker.probe_at - now)
        now = breaker.probe_at
        breaker = breaker.probe(now).failed(now, probe=True)
    assert pauses[:3] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_provider_that_says_when_to_come_back_is_left_alone_so_long() -> None:
    breaker = Breaker(failures=TOLERATED - 1).failed(NOW, probe=False, retry_after=timedelta(minutes=1))
    assert breaker.probe_at == NOW + timedelta(minutes=1)


def test_calls_that_were_under_way_when_it_opened_do_not_prolong_the_pause() -> None:
    breaker = down()
    assert breaker.failed(NOW + timedelta(seconds=4), probe=False).probe_at == breaker.probe_at


class Histories(RuleBasedStateMachine):
    """Calls go out when it lets them; one probe at a time; any answer ends it all."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = NOW
        self.in_a_row = 0
        self.probes = 0

    @rule(seconds=st.integers(0, 400))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(answers=st.booleans())
    def call(self, answers: bool) -> None:
        if self.breaker.shut(self.now):
            return
        probe = self.breaker.state is not BreakerState.CLOSED
        if probe:
            self.breaker = self.breaker.probe(self.now)
            assert self.breaker.shut(self.now), "a second one must wait for the probe"
            assert self.breaker.state is BreakerState.HALF_OPEN
        if answers:
            self.breaker, self.in_a_row = self.breaker.answered(), 0
            return
        self.in_a_row += 1
        self.breaker = self.breaker.failed(self.now, probe=probe)

    @rule()
    def a_probe_is_lost(self) -> None:
        if not self.breaker.shut(self.now) and self.breaker.state is not BreakerState.CLOSED:
            self.breaker = self.breaker.probe(self.now)

    @invariant()
    def it_is_open_exactly_after_too_many_failures(self) -> None:
        assert (self.breaker.state is BreakerState.CLOSED) == (self.in_a_row < TOLERATED)

    @invariant()
    def it_always_lets_another_probe_through_soon(self) -> None:
        assert not self.breaker.shut(self.now + LONGEST_PAUSE)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
