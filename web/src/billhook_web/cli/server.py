"""Runs the host under granian: one supervising process and one that serves, with threads.

The serving process does the background work too where asked, because SQLite and the in-process queue must be shared
with the threads that answer. It ends by itself when its supervisor is gone, however that one went.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from types import FrameType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from billhook_web.logs import WSGIApplication

MAX_HEAD_BYTES = 2 * 1024 * 1024
"""One provider signs by putting the whole body, as a token, into a header: a body of 1 MiB makes a head of 1.4 MB."""

STOP_SECONDS = 30
"""The serving process is killed when it has not ended this long after it was told to: background work gets 25."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How to serve. ``background``: do the background work in the serving process."""

    host: str
    port: int
    threads: int
    background: bool


def run(serving: Serving, *, on_listening: Callable[[], object]) -> None:
    """Serve until SIGTERM or SIGINT; requests and work that were begun are finished.

    :param on_listening: called when the port is open.
    :raises click.ClickException: the port cannot be opened.
    """
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    from billhook_web.bodies import BODIES

    address = _free_address(serving.host, serving.port)
    server = Granian(
        "billhook_web.wsgi",
        address=address,
        port=serving.port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=serving.threads + BODIES,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=MAX_HEAD_BYTES),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_level=LogLevels.error,  # it warns of every number of threads above that of cores
        log_dictconfig={"handlers": {}, "formatters": {}, "loggers": {"_granian": {"propagate": True}}},
    )
    server.on_startup(on_listening)
    server.serve(
        target_loader=partial(load, background=serving.background, working=serving.threads), wrap_loader=False
    )


def load(*, background: bool, working: int) -> WSGIApplication:
    """Make the application in the serving process; called there by granian."""
    signal.signal(signal.SIGTERM, _leave)  # until granian takes over, which is when this returns
    signal.signal(signal.SIGINT, _leave)
    _follow_supervisor()
    from billhook_web.cli.ending import end_in_time
    from billhook_web.wsgi import serve

    served = serve(background=background, working=working)
    end_in_time(served)
    return served.app


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _follow_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def follow() -> None:
        wait([supervisor.sentinel])  # readable when the supervisor is gone, also after kill -9
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, name="billhook-supervisor", daemon=True).start()


def _free_address(host: str, port: int) -> str:
    """Return the IP address of ``host`` after a try whether the port is free there.

    Granian would share a port with others that allow it: two hosts on one port would each get half of the requests.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return str(address[0])
    except OSError as exc:
        raise click.ClickException(
            f"Cannot listen on {host} port {port}: {exc.strerror or exc}. Choose another with --host or --port."
        ) from exc
