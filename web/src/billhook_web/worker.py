"""A process that only does background work: as many as wanted, beside as many web processes, over Redis."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from types import FrameType
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from billhook_web.actors import BackgroundWork, Wake
from billhook_web.app import create_operations_app
from billhook_web.runtime import Runtime
from billhook_web.services.renewal import Watch

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
    watch = Watch(runtime.renewal)
    work.start()
    watch.start()
    stop.wait()
    watch.stop()
    work.stop(timeout=STOP_SECONDS)


@contextmanager
def answering(runtime: Runtime, host: str, port: int) -> Iterator[int]:
    """Answer ``/metrics``, ``/healthz`` and ``/readyz`` while the block runs; gives the port: one is chosen for 0.

    :raises OSError: the address cannot be listened on.
    """
    app = create_operations_app(runtime)
    with make_server(host, port, app, server_class=_Server, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, name="billhook-operations", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    """One thread for each request: a slow reader keeps nobody waiting."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Writes no access log, and gives up on a client that sends nothing."""

    timeout = 10

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
