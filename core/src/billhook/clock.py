"""The only place that looks at the wall: the current time, waiting, and random ids.

Everything else receives a :class:`Clock`, an instant or an id as an argument, so a test or the demo can
say what time it is.
"""

from __future__ import annotations

import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time, in UTC."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time in UTC."""
        return datetime.now(UTC)


class VirtualClock:
    """A clock that moves only when told to; safe to share between threads."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("VirtualClock needs an aware start time; pass datetime(..., tzinfo=UTC)")
        self._now = start.astimezone(UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the instant it was last moved to."""
        with self._lock:
            return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move forward by ``by`` and return the new instant."""
        with self._lock:
            self._now += by
            return self._now


def monotonic() -> float:
    """Return seconds of a clock that never goes back, for measuring durations."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Wait in this thread."""
    time.sleep(seconds)


def new_token(prefix: str = "", *, size: int = 24) -> str:
    """Return an unguessable url-safe token of ``size`` random bytes, after ``prefix``."""
    return prefix + secrets.token_urlsafe(size)


def random_bytes(size: int) -> bytes:
    """Return ``size`` unguessable bytes."""
    return secrets.token_bytes(size)


def jitter(span: timedelta, *, ratio: float = 0.2) -> timedelta:
    """Return ``span`` lengthened by a random part of at most ``ratio``, so that retries spread out."""
    return span * (1 + ratio * secrets.randbelow(1_000_001) / 1_000_000)


class ShiftedClock:
    """The machine's clock, moved by a span that only grows: time goes on by itself and can be skipped ahead."""

    def __init__(self) -> None:
        self._shift = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the machine's time in UTC, moved ahead by what was skipped."""
        with self._lock:
            return datetime.now(UTC) + self._shift

    def advance(self, by: timedelta) -> datetime:
        """Skip ahead by ``by`` and return the new instant."""
        with self._lock:
            self._shift += by
        return self.now()
