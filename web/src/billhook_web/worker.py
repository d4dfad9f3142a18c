"""A process that only does background work: as many as wanted, beside as many web processes, over Redis."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from billhook_web.actors import BackgroundWork, Wake
from billhook_web.runtime import Runtime

STOP_SECONDS = 30.0
"""How long work that was begun may take after the process was told to stop."""


def run(runtime: Runtime) -> None:
    """Work until SIGTERM or SIGINT comes; then finish what is being done, for at most :data:`STOP_SECONDS`."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    work = BackgroundWork(runtime, Wake(runtime))
    work.start()
    stop.wait()
    work.stop(timeout=STOP_SECONDS)
