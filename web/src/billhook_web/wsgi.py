"""The host for a WSGI server: ``granian --interface wsgi --factory billhook_web.wsgi:create``.

Everything is read from the environment. Without Redis the background work runs inside the serving process, for SQLite
and the in-process queue must be shared with the threads that answer requests.
"""

from __future__ import annotations

import os
from multiprocessing.util import Finalize

from billhook.clock import new_token
from billhook_web import logs
from billhook_web.actors import BackgroundWork, Wake
from billhook_web.app import create_app
from billhook_web.logs import WSGIApplication
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.settings import read_configuration

STOP_SECONDS = 30.0
"""How long background work may go on with what it is doing after it was told to stop."""


def create(*, background: bool | None = None) -> WSGIApplication:
    """Return the host, serving and working until the process ends.

    :param background: do the background work in this process; None: when there is no Redis.
    :raises billhook.errors.ConfigInvalid: with everything that is wrong with the configuration.
    """
    configuration = read_configuration(os.environ)
    logs.configure(configuration.host.log_level)
    runtime = build_runtime(configuration)
    wake = Wake(runtime)
    app = create_app(runtime, wake)
    work = None
    if runtime.embedded if background is None else background:
        work = BackgroundWork(runtime, wake)
        work.start()
    # Unlike atexit, this also runs at the end of a forked worker process of a server.
    Finalize(None, _stop, args=(runtime, work), exitpriority=10)
    return logs.with_request_id(app, new_id=new_token)


def _stop(runtime: Runtime, work: BackgroundWork | None) -> None:
    if work is not None:
        work.stop(timeout=STOP_SECONDS)
    runtime.close()
