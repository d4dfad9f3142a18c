"""One HTTP server on the loopback interface, for the host and the sandboxes together. Not for production."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ADDRESS: Final = "127.0.0.1"


class PortTaken(Exception):
    """Somebody else listens on the port, or it may not be listened on; the message says what to do."""


class Loopback:
    """A server whose address is known before what it serves is made. ``app`` answers once it is set."""

    def __init__(self, port: int) -> None:
        self.app: WSGIApplication | None = None
        self._socket = _listen(port)
        self._server = make_server(
            ADDRESS, 0, self._answer, threaded=True, request_handler=_Quiet, fd=self._socket.fileno()
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="demo-server")

    @property
    def url(self) -> str:
        """Return where the server is, without a slash at the end."""
        return f"http://{ADDRESS}:{self._server.port}"

    @contextmanager
    def serving(self) -> Iterator[Loopback]:
        """Serve while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._socket.close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.app is None:
            start_response("503 Service Unavailable", [("Retry-After", "1")])
            return [b""]
        return self.app(environ, start_response)


class _Quiet(WSGIRequestHandler):
    """Writes no line per request: the terminal belongs to the story."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


def _listen(port: int) -> socket.socket:
    """Listen on ``port``, 0 for any free one; the server's own way to fail would end the process."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((ADDRESS, port))
        listening.listen(128)
    except (OSError, OverflowError) as exc:
        listening.close()
        taken = isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE
        why = "is taken" if taken else f"cannot be used ({getattr(exc, 'strerror', None) or exc})"
        raise PortTaken(f"Port {port} {why}. Choose another with --port; 0 takes any that is free.") from exc
    return listening
