"""When to leave a provider alone: bookkeeping only, as a value. Who calls it, holds the lock.

After some failures in a row nobody calls for a pause; then one call is let through as a probe. A probe that fails makes
the next pause twice as long, one that is answered ends the matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

TOLERATED = 5
"""Failures in a row after which a provider counts as down."""

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
PROBE_PATIENCE = timedelta(minutes=2)
"""A probe that never came back (its thread hangs, its process died) is followed by another after this."""


class BreakerState(StrEnum):
    """Whether calls go out."""

    CLOSED = "closed"  # they do
    OPEN = "open"  # they do not: the provider is down
    HALF_OPEN = "half_open"  # one is on its way, to see


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What is known of one provider's health. ``failures`` and ``pauses`` count in a row.

    ``probe_at``: when the next call may go out; None: now.
    """

    failures: int = 0
    pauses: int = 0
    probe_at: datetime | None = None
    probing: bool = False

    @property
    def state(self) -> BreakerState:
        """Say it in one word."""
        if self.probe_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.probing else BreakerState.OPEN

    def shut(self, now: datetime) -> bool:
        """Tell whether no call may go out now."""
        return self.probe_at is not None and now < self.probe_at

    def probe(self, now: datetime) -> Breaker:
        """Return the state after a call was let through although the provider counts as down."""
        return replace(self, probing=True, probe_at=now + PROBE_PATIENCE)

    def answered(self) -> Breaker:
        """Return the state after any answer, also a no: the provider is there."""
        return Breaker()

    def failed(self, now: datetime, *, probe: bool, retry_after: timedelta | None = None) -> Breaker:
        """Return the state after a call without an answer. One that began before the pause does not prolong it."""
        failures = self.failures + 1
        if self.probe_at is None and failures < TOLERATED:
            return replace(self, failures=failures)
        if self.probe_at is not None and not probe:
            return replace(self, failures=failures)
        pause = min(FIRST_PAUSE * 2 ** min(self.pauses, 10), LONGEST_PAUSE)
        until = now + max(pause, min(retry_after or timedelta(), LONGEST_PAUSE))
        return Breaker(failures=failures, pauses=self.pauses + 1, probe_at=until)
