"""The host for a WSGI server: ``granian --interface wsgi --factory billhook_web.wsgi:create``.

Everything is read from the environment. Without Redis the background work runs inside the serving process, for SQLite
and the in-process queue must be shared with the threads that answer requests.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing.util import Finalize
from typing import Any

from billhook.clock import new_token
from billhook_web import access_front, logs
from billhook_web.actors import BackgroundWork, Wake
from billhook_web.app import create_app
from billhook_web.auth import ensure_bootstrap_key
from billhook_web.bell import Bell
from billhook_web.bodies import Places, in_time
from billhook_web.logs import WSGIApplication
from billhook_web.runtime import build_runtime, read_and_check
from billhook_web.services.renewal import Watch
from billhook_web.stores import schema
from billhook_web.webhooks import Ingress, in_front

STOP_SECONDS = 25.0
"""How long background work may go on with what it is doing after it was told to stop."""

DRAIN_BYTES = 64 * 1024 * 1024
"""How much of a refused body is read and thrown away. Past it, the sender gets a broken connection for an answer."""

_CHUNK = 64 * 1024


WORKING = 16
"""Requests worked on at a time, unless the server says otherwise."""


class Served:
    """The host of one serving process. It ends with the process, or before when it is told to; each step is done once."""

    def __init__(
        self, app: WSGIApplication, *, places: Places, steps: Sequence[Callable[[], object]]
    ) -> None:
        self.app = app
        self.places = places
        self._steps = deque(steps)
        self._turn = threading.Lock()

    def finish_work(self) -> None:
        """Stop the background work, after what it is doing; requests go on."""
        self._do(until=1)

    def close(self) -> None:
        """Stop the background work, then give back what requests need, too."""
        self._do(until=0)

    def _do(self, *, until: int) -> None:
        with self._turn:
            while len(self._steps) > until:
                self._steps.popleft()()


def create() -> WSGIApplication:
    """Return the application of :func:`serve`: for a server that is started without ``billhook``."""
    return serve().app


def serve(*, background: bool | None = None, working: int = WORKING) -> Served:
    """Return the host, serving and working until the process ends. Its server needs :data:`billhook_web.bodies.BODIES`
    threads more than ``working``.

    :param background: do the background work in this process; None: when there is no Redis.
    :raises billhook.errors.ConfigInvalid: with everything that is wrong with the configuration.
    """
    configuration = read_and_check(os.environ)
    logs.configure(configuration.host.log_level)
    runtime = build_runtime(configuration)
    if schema.is_current(runtime.db):
        ensure_bootstrap_key(runtime)
    wake = Wake(runtime)
    bell = Bell(wake.inbox)
    app = in_front(create_app(runtime, wake), Ingress(runtime, bell.ring))
    app = access_front.in_front(app, access_front.AccessFront(runtime))
    watch = Watch(runtime.renewal)
    steps: list[Callable[[], object]] = [bell.close, watch.stop, runtime.close]
    if runtime.embedded if background is None else background:
        work = BackgroundWork(runtime, wake)
        work.start()
        steps.insert(2, partial(work.stop, timeout=STOP_SECONDS))
    watch.start()
    places = Places(working)
    whole = in_time(app, places=places, drain=read_to_the_end)
    app = logs.with_request_id(whole, new_id=logs.numbered(new_token(size=9)))
    served = Served(app, places=places, steps=steps)
    # Unlike atexit, this also runs at the end of a forked worker process of a server.
    Finalize(None, served.close, exitpriority=10)
    return served


def read_to_the_end(app: WSGIApplication) -> WSGIApplication:
    """Wrap ``app``: what it refuses without having read it is read and thrown away before it answers.

    Otherwise the server closes the connection while the sender still writes, and many senders then report a broken
    connection instead of the 413 or 404 they were given.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refused = False

        def start(status: str, *rest: Any) -> Any:
            nonlocal refused
            refused = status >= "4"
            return start_response(status, *rest)

        answer = app(environ, start)
        if refused:
            _drain(environ["wsgi.input"])
        return answer

    return wrapped


def _drain(body: Any) -> None:
    left = DRAIN_BYTES
    while left > 0:
        chunk = body.read(min(_CHUNK, left))
        if not chunk:
            return
        left -= len(chunk)
