"""The network between the host and the two sandboxes: it loses, repeats, delays and reorders, by the numbers of a seed.

Webhooks go through a :class:`Postman`, who stands for the sender's own retries: what is not dropped for good is tried
again until the host takes it. API calls go through :class:`Weather`, in front of a sandbox: some fail before anything is
done, some after.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from billhook.testing.sandbox import Headers, Post, post_to
from chaos.payers import delivery_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

RETRY_SECONDS = 0.4
LATE_SECONDS = 2.0
CARRIERS = 4


@dataclass(frozen=True, order=True)
class Letter:
    """One webhook on its way, at the earliest at ``due`` (monotonic seconds)."""

    due: float
    number: int
    connection: str = field(compare=False)
    key: str = field(compare=False)
    body: bytes = field(compare=False)
    headers: Headers = field(compare=False)


class Postman:
    """Carries webhooks to the host. ``accepted`` are those that were answered with 2xx: (connection, key, body)."""

    def __init__(self, base_url: str, *, seed: int, drop: float, duplicate: float = 0.15) -> None:
        self._base_url = base_url
        self._to: dict[str, Post] = {}
        self._luck = random.Random(seed)
        self._drop, self._duplicate = drop, duplicate
        self._bag: list[Letter] = []
        self._carried = 0
        self._numbers = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._walk, daemon=True) for _ in range(CARRIERS)]
        self.accepted: set[tuple[str, str, bytes]] = set()
        self.counts: Counter[str] = Counter()

    def box(self, connection: str) -> Post:
        """Return where a sandbox posts its webhooks: it always gets its 200, for retries are made here."""
        self._to[connection] = post_to(f"{self._base_url}/webhooks/{connection}", timeout=8)

        def post(body: bytes, headers: Headers) -> int:
            with self._lock:
                self._throw_in(connection, delivery_of(body, headers), body, headers)
            return 200

        return post

    def start(self) -> None:
        """Begin to carry."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Go home; what is in the bag stays there."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def calm(self) -> None:
        """From now on nothing is lost, repeated or late."""
        with self._lock:
            self._drop = self._duplicate = 0.0

    def waiting(self) -> int:
        """Count what is on its way."""
        with self._lock:
            return len(self._bag) + self._carried

    def _throw_in(self, connection: str, key: str, body: bytes, headers: Headers) -> None:
        self.counts["sent"] += 1
        if self._luck.random() < self._drop:
            self.counts["dropped"] += 1
            return
        copies = 2 if self._luck.random() < self._duplicate else 1
        self.counts["duplicated"] += copies - 1
        for _ in range(copies):
            late = self._luck.uniform(0, LATE_SECONDS) if self._luck.random() < 0.4 else 0.0
            self._numbers += 1
            letter = Letter(time.monotonic() + late, self._numbers, connection, key, body, headers)
            heapq.heappush(self._bag, letter)

    def _walk(self) -> None:
        while not self._stop.is_set():
            letter = self._next()
            if letter is None:
                time.sleep(0.02)
                continue
            status = self._to[letter.connection](letter.body, letter.headers)
            with self._lock:
                self._carried -= 1
                self._answered(letter, status)

    def _next(self) -> Letter | None:
        with self._lock:
            if not self._bag or self._bag[0].due > time.monotonic():
                return None
            self._carried += 1
            return heapq.heappop(self._bag)

    def _answered(self, letter: Letter, status: int) -> None:
        if 200 <= status < 300:
            self.accepted.add((letter.connection, letter.key, letter.body))
            return
        self.counts["refused or unreachable"] += 1
        again = time.monotonic() + RETRY_SECONDS
        heapq.heappush(
            self._bag,
            Letter(again, letter.number, letter.connection, letter.key, letter.body, letter.headers),
        )


BEFORE = {
    "500": ("500 Internal Server Error", []),
    "503": ("503 Service Unavailable", []),
    "429": ("429 Too Many Requests", [("Retry-After", "1"), ("X-RateLimit-Reset", "1")]),
}
"""Answers without anything done."""


class Weather:
    """A sandbox behind a bad line: per call, ``rate`` is the chance of each fault."""

    def __init__(self, app: WSGIApplication, *, seed: int, rate: float, hang_seconds: float) -> None:
        self._app = app
        self._luck = random.Random(seed)
        self._rate = rate
        self._hang_seconds = hang_seconds
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()

    def calm(self) -> None:
        """From now on every call goes well."""
        self._rate = 0.0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        fault = self._draw()
        if fault in BEFORE:
            status, headers = BEFORE[fault]
            start_response(status, [("Content-Type", "text/plain"), *headers])
            return [b"bad weather"]
        if fault is None:
            return self._app(environ, start_response)
        self._do(environ)
        if fault == "answered too late":
            time.sleep(self._hang_seconds)
        start_response("504 Gateway Timeout", [("Content-Type", "text/plain")])
        return [b"bad weather"]

    def _draw(self) -> str | None:
        with self._lock:
            kinds = [*BEFORE, "answer lost", "answered too late"]
            chance = self._luck.random()
            chosen = int(chance / self._rate) if self._rate else len(kinds)
            kind = kinds[chosen] if chosen < len(kinds) else None
            self.counts[kind or "well"] += 1
            return kind

    def _do(self, environ: WSGIEnvironment) -> None:
        environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        answer = self._app(environ, _deaf)
        for _ in answer:
            pass


def _deaf(*_: object) -> Callable[[bytes], object]:
    return lambda _body: None
