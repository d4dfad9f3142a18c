"""The end of a serving process that was told to end: bounded, and complete also when somebody will not let go.

The server closes its port and waits, without limit, until every request it has was answered. One whose sender stalls
never is, and the supervisor would kill the process in the middle of its background work. So the end is watched here, too:
work is finished at once, requests get a little time, then what is left of them is dropped and the process ends by itself.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import structlog

from billhook.clock import monotonic

if TYPE_CHECKING:
    from billhook_web.wsgi import Served

log = structlog.get_logger(__name__)

BODY_SECONDS = 5.0
"""How long a body may still be on its way after the signal."""

ANSWER_SECONDS = 15.0
"""How long after the signal a request that has its body may be worked on."""

WRITE_SECONDS = 0.5
"""How long the server has for writing the last answers."""


def end_in_time(served: Served) -> None:
    """Have this process end soon after SIGTERM or SIGINT. Called in its main thread, before the server takes over.

    The server has handlers of its own by then; Python also reports every signal on a file descriptor.
    """
    told, tell = socket.socketpair()
    tell.setblocking(False)
    signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end, args=(served, told, tell), name="billhook-ending", daemon=True).start()


def _end(served: Served, told: socket.socket, _kept: socket.socket) -> None:
    while told.recv(1)[0] not in (signal.SIGTERM, signal.SIGINT):
        pass  # another signal is none of ours
    began, never = monotonic(), threading.Event()
    served.finish_work()
    never.wait(max(0.0, began + BODY_SECONDS - monotonic()))  # usually the process is gone before
    whole = served.places.close(seconds=max(0.0, began + ANSWER_SECONDS - monotonic()))
    log.warning(
        "serve.dropped", reason="requests whose body did not come" if whole else "requests that take too long"
    )
    never.wait(WRITE_SECONDS)
    served.close()
    os._exit(0)
