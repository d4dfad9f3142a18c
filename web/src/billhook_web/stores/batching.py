"""What several threads want at the same time, done at once: the first one leads, the others sleep until theirs is done.

Waiting is most of what a statement costs: for the disk, for the server's answer, for SQLite's one write lock. So the first
thread to come does what it brought, and what others bring meanwhile the next leader does, all together. Nobody waits for
company: alone, a thread does its own work at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


def _taken() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Seat(Generic[T]):
    """A thread's place in the queue. It sleeps until ``woken`` is released: its work is done, or it ``leads``."""

    work: T
    woken: threading.Lock = field(default_factory=_taken)
    leads: bool = False


class Batching(Generic[T]):
    """Does the work of all threads of a process, one batch after the other.

    :param do: does the pieces of a batch, which is never empty, and notes in each what came of it.
    :param most: pieces of one batch at most: more would hold the first back for the last.
    :param patience_seconds: how long a thread waits for those before it.
    """

    def __init__(self, do: Callable[[Sequence[T]], None], *, most: int, patience_seconds: float) -> None:
        self._do = do
        self._most = most
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._queue: list[_Seat[T]] = []
        self._led = False

    @property
    def waiting(self) -> int:
        """How many pieces of work nobody has begun."""
        return len(self._queue)

    def add(self, work: T) -> None:
        """Have a piece of work done; it is when this returns, unless nothing was noted in it: then patience ran out."""
        seat = _Seat(work)
        with self._lock:
            self._queue.append(seat)
            seat.leads, self._led = not self._led, True
        if not seat.leads and not seat.woken.acquire(timeout=self._patience_seconds):
            self._withdraw(seat)
        if seat.leads:
            self._lead(seat)

    def _withdraw(self, seat: _Seat[T]) -> None:
        """Wait no longer. Who was made leader at this very moment has to lead all the same."""
        with self._lock:
            if not seat.leads and seat in self._queue:
                self._queue.remove(seat)

    def _lead(self, leader: _Seat[T]) -> None:
        with self._lock:
            batch, self._queue = self._queue[: self._most], self._queue[self._most :]
        try:
            self._do([seat.work for seat in batch])
        finally:
            self._hand_over()
            for seat in batch:
                if seat is not leader:
                    seat.woken.release()

    def _hand_over(self) -> None:
        with self._lock:
            self._led = bool(self._queue)
            if self._led:
                self._queue[0].leads = True
                self._queue[0].woken.release()
