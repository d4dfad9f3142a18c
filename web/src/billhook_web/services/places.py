"""Who may send webhooks now: a few at a time to each endpoint, and few in all to those that fail or are slow.

A receiver that hangs costs a thread for as long as it is waited for. However many hang, most threads stay free for the
others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

THREADS: Final = 8
"""Threads of a process that send webhooks and do nothing else."""

EACH: Final = 2
"""Calls at a time to one endpoint; one that fails or is slow gets one."""

SUSPECTS: Final = 3
"""Calls at a time to all endpoints together that fail or are slow."""

SLOW_SECONDS: Final = 2.0


@dataclass(slots=True)
class Place:
    """Whether one was free, and afterwards who may try now."""

    taken: bool
    woken: tuple[int, ...] = ()


class Places:
    """The places of one process. Its lock is held for bookkeeping only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[int] = Counter()
        self._suspects = 0
        self._slow: set[int] = set()
        self._turned_away: dict[int, None] = {}

    @contextmanager
    def take(self, endpoint_id: int, *, failing: bool) -> Iterator[Place]:
        """Take a place while the block runs; when it has ended, ``woken`` says which endpoints found none meanwhile."""
        with self._lock:
            suspect = failing or endpoint_id in self._slow
            place = Place(taken=self._is_free(endpoint_id, suspect=suspect))
            if place.taken:
                self._running[endpoint_id] += 1
                self._suspects += suspect
            else:
                self._turned_away[endpoint_id] = None
        try:
            yield place
        finally:
            if place.taken:
                place.woken = self._leave(endpoint_id, suspect=suspect)

    def note(self, endpoint_id: int, *, seconds: float) -> None:
        """Remember how long an endpoint took last."""
        with self._lock:
            if seconds > SLOW_SECONDS:
                self._slow.add(endpoint_id)
            else:
                self._slow.discard(endpoint_id)

    def _is_free(self, endpoint_id: int, *, suspect: bool) -> bool:
        running = self._running[endpoint_id]
        return running == 0 and self._suspects < SUSPECTS if suspect else running < EACH

    def _leave(self, endpoint_id: int, *, suspect: bool) -> tuple[int, ...]:
        with self._lock:
            self._running[endpoint_id] -= 1
            if not self._running[endpoint_id]:
                del self._running[endpoint_id]
            self._suspects -= suspect
            woken = tuple(self._turned_away)
            self._turned_away.clear()
        return woken
