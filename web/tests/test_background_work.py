"""Background work: two sets of threads, each with a broker of its own that interrupts what takes too long."""

from __future__ import annotations

import logging
import threading

import dramatiq
import pytest

from billhook_web.actors import QUEUE, WEBHOOKS, BackgroundWork, Wake
from billhook_web.broker import TimeLimitExceeded
from billhook_web.runtime import Runtime

LIMIT_MILLISECONDS = 100


def stuck(broker: dramatiq.Broker, queue: str) -> tuple[dramatiq.Actor[[], None], threading.Event]:
    """Return an actor that would run until it is interrupted, and what tells that it was."""
    interrupted, never = threading.Event(), threading.Event()

    def run() -> None:
        try:
            while not never.wait(0.01):
                pass
        except TimeLimitExceeded:
            interrupted.set()

    actor = dramatiq.actor(
        actor_name=f"stuck_in_{queue}", queue_name=queue, time_limit=LIMIT_MILLISECONDS, broker=broker
    )
    return actor(run), interrupted


def test_what_takes_too_long_is_interrupted_wherever_it_runs(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    work = BackgroundWork(runtime, Wake(runtime))
    found = [stuck(runtime.broker, QUEUE), stuck(runtime.webhook_broker, WEBHOOKS)]
    work.start()
    try:
        for actor, _ in found:
            actor.send()
        assert [interrupted.wait(60) for _, interrupted in found] == [True, True]
    finally:
        work.stop(timeout=60)
    assert "same type twice" not in caplog.text
