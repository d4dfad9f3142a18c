"""Work of several threads, done together by one of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from billhook.clock import monotonic, pause
from billhook_web.stores.batching import Batching

PATIENCE_SECONDS = 60.0


@dataclass
class Piece:
    """A piece of work; ``done_in``: the number of the batch it was done in."""

    number: int
    done_in: int | None = None


@dataclass
class Workshop:
    """Does pieces once ``open`` is set, and remembers the batches."""

    open: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    batches: list[list[int]] = field(default_factory=list)

    def do(self, pieces: Sequence[Piece]) -> None:
        self.batches.append([piece.number for piece in pieces])
        number = len(self.batches)
        self.begun.set()
        assert self.open.wait(PATIENCE_SECONDS)
        if any(piece.number < 0 for piece in pieces):
            raise ValueError("no such piece")
        for piece in pieces:
            piece.done_in = number


def added(
    pool: ThreadPoolExecutor, batching: Batching[Piece], workshop: Workshop, *numbers: int
) -> list[Future[Piece]]:
    """Have the first piece begun, and the others wait behind it in this order."""

    def add(number: int) -> Piece:
        piece = Piece(number)
        batching.add(piece)
        return piece

    futures = [pool.submit(add, numbers[0])]
    assert workshop.begun.wait(PATIENCE_SECONDS)
    for place, number in enumerate(numbers[1:], start=1):
        futures.append(pool.submit(add, number))
        until(batching, waiting=place)
    return futures


def until(batching: Batching[Piece], *, waiting: int) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while batching.waiting != waiting:
        assert monotonic() < deadline
        pause(0.005)


def test_alone_a_piece_is_done_at_once() -> None:
    workshop = Workshop()
    workshop.open.set()
    batching = Batching(workshop.do, most=3, patience_seconds=PATIENCE_SECONDS)
    first, second = Piece(1), Piece(2)
    batching.add(first)
    batching.add(second)
    assert (first.done_in, second.done_in) == (1, 2)


def test_what_comes_meanwhile_is_done_together_and_no_more_than_may() -> None:
    workshop = Workshop()
    batching = Batching(workshop.do, most=3, patience_seconds=PATIENCE_SECONDS)
    with ThreadPoolExecutor(5) as pool:
        futures = added(pool, batching, workshop, 1, 2, 3, 4, 5)
        workshop.open.set()
        done = [future.result(PATIENCE_SECONDS).done_in for future in futures]
    assert workshop.batches == [[1], [2, 3, 4], [5]]
    assert done == [1, 2, 2, 2, 3]


def test_a_batch_that_fails_costs_only_itself() -> None:
    workshop = Workshop()
    batching = Batching(workshop.do, most=2, patience_seconds=PATIENCE_SECONDS)
    with ThreadPoolExecutor(4) as pool:
        first, leader, follower, last = added(pool, batching, workshop, 1, -2, 3, 4)
        workshop.open.set()
        assert first.result(PATIENCE_SECONDS).done_in == 1
        with pytest.raises(ValueError, match="no such piece"):
            leader.result(PATIENCE_SECONDS)
        assert follower.result(PATIENCE_SECONDS).done_in is None
        assert last.result(PATIENCE_SECONDS).done_in == 3
    assert workshop.batches == [[1], [-2, 3], [4]]


def test_who_waited_long_enough_leaves_and_their_piece_is_not_done() -> None:
    workshop = Workshop()
    batching = Batching(workshop.do, most=3, patience_seconds=0.05)
    with ThreadPoolExecutor(2) as pool:
        first, impatient = pool.submit(batching.add, Piece(1)), Piece(2)
        assert workshop.begun.wait(PATIENCE_SECONDS)
        batching.add(impatient)
        assert (impatient.done_in, batching.waiting) == (None, 0)
        workshop.open.set()
        first.result(PATIENCE_SECONDS)
    assert workshop.batches == [[1]]
