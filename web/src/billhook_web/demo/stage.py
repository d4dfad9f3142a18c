"""The stage of the demo: a host, two sandboxes and one clock in one process, talking real HTTP over loopback.

The clock runs by itself and can be skipped ahead. The database is SQLite in a folder that is gone afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, cast

import structlog
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from billhook.clock import ShiftedClock, monotonic, new_token, pause
from billhook.plugins import Installed
from billhook_web import logs
from billhook_web.actors import BackgroundWork, Wake
from billhook_web.app import create_app
from billhook_web.demo.casting import Cast, find_cast
from billhook_web.demo.loopback import Loopback
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.settings import read_configuration
from billhook_web.stores import inbox, outbox, schema

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PATIENCE_SECONDS: Final = 15.0
"""How long the story waits, by the machine's clock, for what must happen now."""

LOOK_SECONDS: Final = 0.02
SWEEP_SECONDS: Final = 0.05
STOP_SECONDS: Final = 5.0
BATCH: Final = 500


class NotSettled(Exception):
    """Something that was due did not come to an end in time; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A running host and its sandboxes. ``doors``: what is served beside the host, by path; more may be added."""

    url: str
    api_key: str
    log_file: Path
    cast: Cast
    clock: ShiftedClock
    runtime: Runtime
    courier: Courier
    doors: dict[str, WSGIApplication]
    patience: float

    def settle(self) -> None:
        """Wait until nothing that is due now is left to do, at the sandboxes or in the host.

        :raises NotSettled: it took longer than the stage's patience.
        """
        deadline, quiet = monotonic() + self.patience, 0
        while quiet < 2:
            attempts = self.courier.round()
            left = self._left()
            quiet = 0 if attempts or left else quiet + 1
            if monotonic() > deadline:
                raise NotSettled(
                    f"Still not done after {self.patience:g} s: {', '.join(left) or 'webhooks'}."
                )
            pause(LOOK_SECONDS)

    def skip(self, span: timedelta) -> None:
        """Move the clock ahead and let what became due happen."""
        self.clock.advance(span)
        for role in self.cast.roles:
            role.sandbox.tick()
        self.settle()

    def skip_until(self, happened: Callable[[], bool], *, by: timedelta, most: timedelta) -> timedelta:
        """Skip ahead in steps until something has happened; return the time that took.

        :raises NotSettled: it has not happened after ``most``.
        """
        passed = timedelta()
        while not happened():
            if passed >= most:
                raise NotSettled(f"It has not happened after {passed}.")
            self.skip(by)
            passed += by
        return passed

    def _left(self) -> list[str]:
        """Name what is not finished: webhooks that nobody holds back, and what is due in the host."""
        now = self.clock.now()
        with self.runtime.db.read() as tx:
            rows = inbox.page(tx, status=inbox.InboxStatus.RECEIVED, limit=BATCH)
            effects = [row for status in outbox.OPEN for row in outbox.page(tx, status=status, limit=BATCH)]
        senders = {role.name: role.story.webhooks for role in self.cast.roles}
        return [
            *(
                f"webhooks of {name}"
                for name, sender in senders.items()
                if sender.waiting() and not sender.hold
            ),
            *(f"{row.connection} {row.type}" for row in rows if row.due_at is not None and row.due_at <= now),
            *(row.key for row in effects if row.due_at <= now),
            *(f"access of {customer}" for customer, _ in self.runtime.deciding.due(now=now)),
        ]


class Courier:
    """Carries the sandboxes' webhooks to the host, in a thread; whoever wants to be sure makes a round of their own."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._walk, name="demo-courier", daemon=True)

    def round(self) -> int:
        """Deliver every webhook that is due once; return how many attempts were made."""
        with self._lock:
            return sum(role.sandbox.deliver_webhooks() for role in self._cast.roles)

    @contextmanager
    def walking(self) -> Iterator[Courier]:
        """Make rounds while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def _walk(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.round()


@contextmanager
def open_stage(
    *,
    port: int,
    installed: Iterable[Installed] | None = None,
    patience: float = PATIENCE_SECONDS,
    payer: str | None = None,
) -> Iterator[Stage]:
    """Put everything up, and take it down when the block ends.

    :param port: 0: any that is free.    :param installed: None: the plugins of this environment.
    :param payer: the payment provider that collects; None: the first.
    :raises PortTaken: the port cannot be had.    :raises NobodyToPlay: a sandbox is missing.
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="billhook-demo-")))
        stack.enter_context(_logging_to(home / "host.log"))
        server = stack.enter_context(Loopback(port).serving())
        clock, api_key = ShiftedClock(), new_token("bh_demo_")
        cast_ = find_cast(installed, clock=clock, url=server.url, payer=payer)
        env = _environment(home, url=server.url, api_key=api_key, cast_=cast_)
        runtime = build_runtime(read_configuration(env), clock=clock, installed=installed)
        stack.callback(runtime.close)
        schema.upgrade(runtime.db)
        wake = Wake(runtime)
        everything = _everything(runtime, wake, cast_)
        server.app = everything
        work = BackgroundWork(runtime, wake, sweep_seconds=SWEEP_SECONDS)
        work.start()
        stack.callback(work.stop, timeout=STOP_SECONDS)
        yield Stage(
            url=server.url,
            api_key=api_key,
            log_file=home / "host.log",
            cast=cast_,
            clock=clock,
            runtime=runtime,
            courier=stack.enter_context(Courier(cast_).walking()),
            doors=everything.mounts,
            patience=patience,
        )


def _environment(home: Path, *, url: str, api_key: str, cast_: Cast) -> Mapping[str, str]:
    return {
        "BILLHOOK_HOME": str(home),
        "BILLHOOK_PUBLIC_URL": url,
        "BILLHOOK_API_KEY": api_key,
        "BILLHOOK_BRAND_NAME": "Northwind",
        "BILLHOOK_BRAND_SUPPORT_URL": "mailto:billing@northwind.example",
        "BILLHOOK_RECONCILE_EVERY": "never",  # nothing is lost on the way here
        **cast_.environment(url),
    }


def _everything(runtime: Runtime, wake: Wake, cast_: Cast) -> DispatcherMiddleware:
    sandboxes = {role.mount: cast("WSGIApplication", role.sandbox.wsgi) for role in cast_.roles}
    return DispatcherMiddleware(create_app(runtime, wake), sandboxes)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Send the host's log to a file while the block runs: the terminal belongs to the story."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # or they would be closed, and their owner still wants them
    with path.open("w", encoding="utf-8") as stream:
        logs.configure("INFO", stream=stream, terminal=False)
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            structlog.configure(**before)
