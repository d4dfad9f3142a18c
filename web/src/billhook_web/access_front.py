"""``GET /api/v1/customers/<id>/access`` in front of Flask: it is asked with every request of somebody's product.

What is plain is answered here, from one row or from what was answered within the last second. Everything else (another
instant, a lease, an error, a decision that has to be made again) goes on to the view, which says the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from werkzeug.exceptions import HTTPException

from billhook.clock import monotonic
from billhook_web.auth import authorize, digest_of
from billhook_web.db import DatabaseError
from billhook_web.logs import WSGIApplication
from billhook_web.runtime import Runtime
from billhook_web.services.answering import KEPT_FOR, Told, matches

BEFORE: Final = "/api/v1/customers/"
AFTER: Final = "/access"
SCOPE: Final = "access:read"

KEY_SECONDS: Final = 2.0
"""How long a key is believed without looking it up: a revoked one stops after that."""

MOST_KEYS: Final = 1_000
MOST_ANSWERS: Final = 4_096


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer that may be given again until ``over`` (seconds of the monotonic clock), and not past its end."""

    told: Told
    made_at: datetime
    over: float


class AccessFront:
    """Answers the plain question; threads share it. ``seconds`` is the monotonic clock."""

    def __init__(self, runtime: Runtime, *, seconds: Callable[[], float] = monotonic) -> None:
        self._runtime = runtime
        self._seconds = seconds
        self._keys: dict[str, float] = {}
        self._kept: dict[str, _Kept] = {}
        self._turn = threading.Lock()

    def find(self, customer_id: str, authorization: str) -> tuple[Told, int] | None:
        """Return the answer and for how many seconds the caller may keep it; None: the view has to say."""
        if not self._lets_in(authorization):
            return None
        now, seconds = self._runtime.clock.now(), self._seconds()
        kept = self._kept.get(customer_id)
        if kept is not None and seconds < kept.over and _holds(kept, now):
            return kept.told, 0  # its second began before
        try:
            told = self._runtime.answering.quick(customer_id, now=now)
        except DatabaseError:
            return None
        if told is None:
            return None
        with self._turn:
            if len(self._kept) >= MOST_ANSWERS:
                self._kept.clear()
            self._kept[customer_id] = _Kept(told, now, seconds + KEPT_FOR.total_seconds())
        return told, told.kept_for(now)

    def _lets_in(self, authorization: str) -> bool:
        digest = digest_of(authorization)
        if self._keys.get(digest, 0.0) > self._seconds():
            return True
        try:
            authorize(self._runtime, authorization, scope=SCOPE)
        except (HTTPException, *DatabaseError):
            return False
        with self._turn:
            if len(self._keys) >= MOST_KEYS:
                self._keys.clear()
            self._keys[digest] = self._seconds() + KEY_SECONDS
        return True


def in_front(app: WSGIApplication, front: AccessFront) -> WSGIApplication:
    """Wrap ``app``: the plain question about access is answered here, everything else there."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if not path.endswith(AFTER) or environ["REQUEST_METHOD"] != "GET" or environ.get("QUERY_STRING"):
            return app(environ, start_response)
        customer_id = path[len(BEFORE) : -len(AFTER)]
        readable = customer_id.isascii() and customer_id.isprintable()
        plain = path.startswith(BEFORE) and readable and "/" not in customer_id
        authorization = environ.get("HTTP_AUTHORIZATION")
        found = front.find(customer_id, authorization) if plain and authorization else None
        if found is None:
            return app(environ, start_response)
        told, seconds = found
        headers = [("ETag", told.tag), ("Cache-Control", f"private, max-age={seconds}")]
        asked = environ.get("HTTP_IF_NONE_MATCH")
        if asked and matches(told.tag, asked):
            start_response("304 Not Modified", headers)
            return [b""]
        body = told.text.encode()
        about = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", [*about, *headers])
        return [body]

    return wrapped


def _holds(kept: _Kept, now: datetime) -> bool:
    """Say whether it is still so, by the host's clock: that one may be set, and stand still."""
    age = now - kept.made_at
    return timedelta() <= age < KEPT_FOR and (kept.told.ends is None or now < kept.told.ends)
