"""How long a receiver of webhooks is waited for: pure numbers, no clock.

One delivery is tried for three days, ever more seldom. An endpoint that fails several times in a row is left alone for
a while, however much waits for it; one that nothing reached for three days is disabled.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

GIVE_UP_AFTER: Final = timedelta(days=3)
"""From the first failed attempt at a delivery, or the first failure of an endpoint, to the last attempt."""

WAITS: Final = tuple(timedelta(seconds=each) for each in (5, 30, 120, 600, 1800, 3600, 7200))
"""Waits after the first, second, third… failed attempt at a delivery; the last one repeats."""

LONGEST_RETRY_AFTER: Final = timedelta(hours=1)
"""A receiver that asks us to wait longer is asked again after this."""

PAUSE_AFTER: Final = 3
"""Failures in a row before an endpoint is left alone."""

SHORTEST_PAUSE: Final = timedelta(seconds=10)
LONGEST_PAUSE: Final = timedelta(minutes=5)

RECOVERED_AFTER: Final = timedelta(minutes=1)
"""An endpoint that failed for so long and answers again is told at once what waited for a later time."""


def wait_after(failures: int, *, retry_after: timedelta | None) -> timedelta:
    """Return the wait after the ``failures``-th failed attempt at a delivery, the first being 1."""
    own = WAITS[min(failures, len(WAITS)) - 1]
    return max(own, min(retry_after or timedelta(), LONGEST_RETRY_AFTER))


def pause_after(failures: int, *, retry_after: timedelta | None) -> timedelta | None:
    """Return how long an endpoint is left alone after so many failures in a row; None: not at all.

    :param retry_after: what a receiver asked for that said it has too much to do.
    """
    asked = None if retry_after is None else min(retry_after, LONGEST_RETRY_AFTER)
    if failures < PAUSE_AFTER:
        return asked
    own: timedelta = min(SHORTEST_PAUSE * (1 << min(failures - PAUSE_AFTER, 16)), LONGEST_PAUSE)
    return max(own, asked or own)
