"""Logging: events with ids, never payloads. JSON lines for machines, colours on a terminal; always on stderr.

Our own events and those of libraries come out alike. What is bound to the context (``request_id``) is on every line
that is written while it is bound.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

QUIET = {
    "httpx": logging.WARNING,  # it writes whole URLs
    "httpcore": logging.WARNING,  # at DEBUG it writes headers, and with them credentials
    "alembic": logging.WARNING,
    "dramatiq": logging.INFO,
    "urllib3": logging.INFO,
}
"""Libraries that say too much: the least level each may write at, whatever the configured level is."""

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def configure(level: str, *, stream: TextIO | None = None, terminal: bool | None = None) -> None:
    """Send all logging to ``stream`` (default: stderr).

    :param level: DEBUG, INFO, WARNING or ERROR.
    :param terminal: write for people; None: when the stream is a terminal.
    """
    stream = stream or sys.stderr
    for_people = stream.isatty() if terminal is None else terminal
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last(for_people)],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelNamesMapping()[level]))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # it may be configured again: by a test, in a worker process
    )


def with_request_id(app: WSGIApplication, *, new_id: Callable[[], str]) -> WSGIApplication:
    """Wrap ``app``: everything logged during a request carries its ``request_id``, and the answer names it.

    An ``X-Request-Id`` that a proxy in front has given is kept when it looks like an id.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _ACCEPTED_ID.fullmatch(given) else new_id()

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("X-Request-Id", request_id)], *rest)

        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            return app(environ, start)
        finally:
            structlog.contextvars.reset_contextvars(**bound)

    return wrapped


def numbered(prefix: str) -> Callable[[], str]:
    """Return what makes ids: ``prefix``, which names the process, and a number. Nobody has to be unable to guess them."""
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers)}"


def _shared() -> list[Callable[[WrappedLogger, str, EventDict], Any]]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.UnicodeDecoder(),
    ]


def _last(for_people: bool) -> list[Callable[[WrappedLogger, str, EventDict], Any]]:
    if for_people:
        return [
            structlog.dev.ConsoleRenderer(
                timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [
        structlog.processors.format_exc_info,
        _time_level_event_first,
        structlog.processors.JSONRenderer(),
    ]


def _time_level_event_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in ("time", "level", "event") if name in event}
    return {**first, **event}
