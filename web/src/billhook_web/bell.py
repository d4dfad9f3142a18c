"""Wake-up calls for new deliveries, off the path of the sender, who waits for his answer.

A message to the queue costs more than storing the delivery it is about, so a thread of its own sends them. In a flood it
stops altogether: whoever works has enough to do, and finds the rest by the sweep of what is due, twice a second.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

WAITING = 50
"""Calls that may wait to be sent. More are a flood."""

FLOOD_SECONDS = 0.5
"""How long the bell is silent after a flood: about as long as the sweep takes to come."""


class Bell:
    """Rings for deliveries. ``wake`` sends one call; it may fail, for the sweep comes anyway."""

    def __init__(self, wake: Callable[[int], object], *, flood_seconds: float = FLOOD_SECONDS) -> None:
        self._wake = wake
        self._flood_seconds = flood_seconds
        self._waiting: deque[int] = deque()
        self._flooded = False
        self._rung = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="billhook-bell", daemon=True)
        self._thread.start()

    def ring(self, inbox_id: int) -> None:
        """Have a delivery processed soon; returns at once."""
        if len(self._waiting) < WAITING:
            self._waiting.append(inbox_id)
        else:
            self._flooded = True
        if not self._rung.is_set():
            self._rung.set()

    def close(self) -> None:
        """Send nothing more."""
        self._closed.set()
        self._rung.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while self._rung.wait() and not self._closed.is_set():
            self._rung.clear()
            while self._waiting and not self._closed.is_set():
                if self._flooded:
                    self._sit_out()
                else:
                    self._send(self._waiting.popleft())

    def _sit_out(self) -> None:
        self._waiting.clear()
        self._flooded = False
        self._closed.wait(self._flood_seconds)

    def _send(self, inbox_id: int) -> None:
        try:
            self._wake(inbox_id)
        except Exception as exc:  # noqa: BLE001 - the edge of a thread: the next call is sent all the same
            log.warning("bell.failed", inbox_id=inbox_id, error=type(exc).__name__)
