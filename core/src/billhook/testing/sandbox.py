"""The kit a provider's sandbox is built from: scripted faults and a webhook sender that misbehaves on request.

A sandbox is a WSGI app that speaks the provider's wire format. It holds a :class:`Faults` script, asked once for
every API call, and a :class:`WebhookSender` for its own webhooks. Nothing here is random: a fault happens because
a test, the demo or an operator asked for it.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from billhook.clock import Clock

Headers = Mapping[str, str]
Post = Callable[[bytes, Headers], int]
"""Sends one webhook and returns the HTTP status; 0 when the receiver could not be reached."""


class FaultKind(StrEnum):
    """What a sandbox can do wrong with an API call."""

    ERROR = "error"  # answer 500, nothing done
    UNAVAILABLE = "unavailable"  # answer 503, nothing done
    RATE_LIMITED = "rate_limited"  # answer 429 with a Retry-After / rate-limit header, nothing done
    LOST_ANSWER = "lost_answer"  # do it, then answer 504: the caller cannot know
    SLOW = "slow"  # do it, after ``seconds``


@dataclass(slots=True)
class Fault:
    """The next ``times`` calls that match ``method`` and ``path`` (a part of it) go wrong."""

    kind: FaultKind
    method: str | None = None
    path: str = ""
    times: int = 1
    seconds: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        """Say whether this fault is meant for the call."""
        return self.times > 0 and self.path in path and self.method in (None, method)


class Faults:
    """A script of faults, used up in order."""

    def __init__(self) -> None:
        self._script: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Append ``fault`` to the script."""
        with self._lock:
            self._script.append(fault)

    def clear(self) -> None:
        """Forget the script: from now on all is well."""
        with self._lock:
            self._script.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for this call, using it up, or None when the call shall go well."""
        with self._lock:
            for fault in self._script:
                if fault.matches(method, path):
                    fault.times -= 1
                    return fault
            return None


@dataclass(slots=True)
class Outgoing:
    """One webhook on its way: signed afresh at every attempt, as the real providers do."""

    type: str
    body: Callable[[], bytes]
    headers: Callable[[bytes, datetime], Headers]
    due_at: datetime
    attempts: int = 0
    statuses: list[int] = field(default_factory=list)


class WebhookSender:
    """Delivers webhooks to one URL with the provider's own retry schedule.

    ``pauses`` are the waits after a failed attempt; after the last one the webhook is given up, as the provider
    would. ``hold`` keeps webhooks back until released, which is how reordering and outages are played.
    """

    def __init__(self, *, clock: Clock, post: Post, pauses: Sequence[timedelta]) -> None:
        self._clock = clock
        self._post = post
        self._pauses = tuple(pauses)
        self._queue: list[Outgoing] = []
        self._lock = threading.RLock()
        self.sent: list[Outgoing] = []
        self.given_up: list[Outgoing] = []
        self.drop = 0  # the next n webhooks never leave
        self.duplicate = 0  # the next n webhooks are delivered twice
        self.hold = False

    def add(self, outgoing: Outgoing) -> None:
        """Queue one webhook; it leaves at the next :meth:`deliver_due`."""
        with self._lock:
            if self.drop:
                self.drop -= 1
                return
            self._queue.append(outgoing)

    def reverse(self) -> None:
        """Turn the order of what is waiting round."""
        with self._lock:
            self._queue.reverse()

    def waiting(self) -> int:
        """Return how many webhooks have not been delivered or given up."""
        with self._lock:
            return len(self._queue)

    def deliver_due(self) -> int:
        """Attempt everything that is due once; return how many attempts were made."""
        with self._lock:
            if self.hold:
                return 0
            now = self._clock.now()
            due = [outgoing for outgoing in self._queue if outgoing.due_at <= now]
            self._queue = [outgoing for outgoing in self._queue if outgoing.due_at > now]
        for outgoing in due:
            self._attempt(outgoing)
        return len(due)

    def _attempt(self, outgoing: Outgoing) -> None:
        body = outgoing.body()
        status = self._post(body, outgoing.headers(body, self._clock.now()))
        outgoing.attempts += 1
        outgoing.statuses.append(status)
        if not 200 <= status < 300:
            self._retry_or_give_up(outgoing)
            return
        self.sent.append(outgoing)
        if self.duplicate:
            self.duplicate -= 1
            self._post(body, outgoing.headers(body, self._clock.now()))

    def _retry_or_give_up(self, outgoing: Outgoing) -> None:
        if outgoing.attempts > len(self._pauses):
            self.given_up.append(outgoing)
            return
        outgoing.due_at = self._clock.now() + self._pauses[outgoing.attempts - 1]
        with self._lock:
            self._queue.append(outgoing)


def post_to(url: str, *, timeout: float = 15.0) -> Post:
    """Return a :data:`Post` that sends over HTTP to ``url`` (http or https only)."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"webhook URL {url!r} must start with http:// or https://")

    def post(body: bytes, headers: Headers) -> int:
        request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
                return int(response.status)
        except urllib.error.HTTPError as exc:
            return exc.code
        except (urllib.error.URLError, OSError):
            return 0

    return post
