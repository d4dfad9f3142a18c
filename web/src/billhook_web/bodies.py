"""Bodies that do not come: a sender who stalls must not keep the threads that answer others.

The server hands a request over as soon as its head is there; reading the body then waits for the sender, without limit, and
a read that has begun cannot be called off: an answer given meanwhile stops the whole server until the sender goes on. So
each body is waited for by a thread that does nothing else, and only then the request takes one of the places where requests
are worked on. When :data:`BODIES` requests are here already, the next one is sent away unread, and its connection is closed:
neither threads nor memory grow any further, and requests without a body are answered as ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from billhook.clock import monotonic
from billhook_web.logs import WSGIApplication

BODIES = 240
"""So many requests with a body may be here at a time, most of them waiting for it: the threads a server needs for these
beside those that work. A thread that waits costs some ten kB, and exists only while it is needed."""

LARGEST = 1024 * 1024 + 1
"""Bytes that are read ahead: all of any body that is taken, and enough of a larger one to refuse it."""

RETRY_SECONDS = 10


class Places:
    """Where requests are worked on, ``count`` at a time."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.Semaphore(count)

    def __enter__(self) -> None:
        self._free.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._free.release()

    def close(self, *, seconds: float) -> bool:
        """Let nobody else in and wait for those inside; False: some were not ready after so many seconds."""
        end = monotonic() + seconds
        return all(self._free.acquire(timeout=max(0.0, end - monotonic())) for _ in range(self._count))


def in_time(
    app: WSGIApplication, *, places: Places, bodies: int = BODIES, drain: Callable[[WSGIApplication], WSGIApplication]
) -> WSGIApplication:  # fmt: skip
    """Wrap ``app``: it works on as many requests at a time as there are places, and each has its body when it begins.

    :param drain: wraps what is done with one request, places included: it may wait for the sender again.
    """
    room = threading.Semaphore(bodies)

    def work(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with places:
            return app(environ, start_response)

    whole = drain(work)

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return work(environ, start_response)
        if not room.acquire(blocking=False):
            return _send_away(start_response)
        try:
            _read_ahead(environ)
            return whole(environ, start_response)
        finally:
            room.release()

    return wrapped


def _read_ahead(environ: dict[str, Any]) -> None:
    """Read the body, unless its length says that it will be refused."""
    said = environ.get("CONTENT_LENGTH") or "0"
    if said.isascii() and said.isdigit() and int(said) >= LARGEST:
        return
    begun = bytes(environ["wsgi.input"].read(LARGEST))
    environ["wsgi.input"] = BytesIO(begun) if len(begun) < LARGEST else _Begun(begun, environ["wsgi.input"])


class _Begun:
    """A body whose first part was read: the part of a WSGI input that is used is reading."""

    def __init__(self, begun: bytes, rest: Any) -> None:
        self._begun = BytesIO(begun)
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes."""
        first = self._begun.read(size)
        if size >= 0 and (first or not size):
            return first
        return first + bytes(self._rest.read(size))


def _send_away(start_response: Callable[..., Any]) -> list[bytes]:
    said = b"Too many requests are waiting for their bodies; try again later.\n"
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(said))),
        ("Retry-After", str(RETRY_SECONDS)),
        ("Connection", "close"),
    ]
    start_response("503 Service Unavailable", headers)
    return [said]
