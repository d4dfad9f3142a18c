"""Bodies that do not come: a sender who stalls must not keep the threads that answer others.

The server hands a request over as soon as its head is there; reading the body then waits for the sender, without limit. Most
bodies are there already and are simply read. Only when :data:`AT_ONCE` readers wait, the next body is read by a thread of its
own, and what is not there after :data:`SECONDS` is answered with a 408; the connection stays until the sender leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import RequestTimeout

from billhook.clock import monotonic
from billhook_web.logs import WSGIApplication

AT_ONCE = 2
"""So many readers may wait for as long as their senders stay; it costs so many of the server's threads at most."""

SECONDS = 10.0
"""How long the body of one request may take, when others are slow too."""


def in_time(app: WSGIApplication, *, at_once: int = AT_ONCE, seconds: float = SECONDS) -> WSGIApplication:
    """Wrap ``app``: its bodies come in time, or their senders get a 408."""
    direct = threading.Semaphore(at_once)

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            environ["wsgi.input"] = _Body(environ["wsgi.input"], direct, seconds)
        try:
            return app(environ, start_response)
        except RequestTimeout as exc:
            return exc(environ, start_response)

    return wrapped


class _Body:
    """The part of a WSGI input that is used: reading."""

    def __init__(self, body: Any, direct: threading.Semaphore, seconds: float) -> None:
        self._body = body
        self._direct = direct
        self._seconds = seconds
        self._deadline: float | None = None

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes; raises :class:`RequestTimeout`."""
        if self._direct.acquire(blocking=False):
            try:
                return bytes(self._body.read(size))
            finally:
                self._direct.release()
        return self._read_beside(size)

    def _read_beside(self, size: int) -> bytes:
        self._deadline = self._deadline or monotonic() + self._seconds
        parts: list[bytes] = []
        helper = threading.Thread(
            target=lambda: parts.append(bytes(self._body.read(size))), name="billhook-slow-body", daemon=True
        )
        helper.start()
        helper.join(max(0.0, self._deadline - monotonic()))
        if not parts:
            raise RequestTimeout(f"The body did not come within {self._seconds:g} s.")
        return parts[0]
