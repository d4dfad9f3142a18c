"""Asking a plugin whether a delivery is genuine, when the plugin itself may be broken.

Whatever goes wrong there, the sender hears "try again later": it is neither accepted unverified nor lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from billhook.clock import monotonic
from billhook.errors import SignatureInvalid, Temporary
from billhook.provider import Delivery, WebhookRequest, WebhookSource
from billhook_web.services import answers

SLOW_SECONDS = 5.0  # verifying is a matter of milliseconds
SLOW_AT_MOST = 2
"""So many threads may hang in one connection's ``verify``; then its deliveries are sent away at once."""

RETRY_AFTER = timedelta(seconds=10)


class Verify(Protocol):
    """Tells who a delivery is; raises :class:`SignatureInvalid`, :class:`Temporary`."""

    def __call__(self, source: WebhookSource, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Return the delivery's identity."""
        ...


def verified(source: WebhookSource, request: WebhookRequest, *, now: datetime) -> Delivery:
    """Ask a plugin that is trusted to work."""
    return answers.delivery(source.verify(request, now=now))


class Verifier:
    """Verifies deliveries. ``fault`` is told, with the connection's name, what a plugin did against its contract."""

    def __init__(
        self, *, fault: Callable[[str, Exception], None], slow_seconds: float = SLOW_SECONDS
    ) -> None:
        self._fault = fault
        self._slow_seconds = slow_seconds
        self._lock = threading.Lock()
        self._running: dict[object, tuple[str, float]] = {}

    def verify(self, source: WebhookSource, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Return the delivery's identity.

        :raises SignatureInvalid: it is not genuine.    :raises Temporary: that cannot be told just now.
        """
        connection = source.connection
        token = self._enter(connection)
        try:
            return verified(source, request, now=now)
        except (SignatureInvalid, Temporary):
            raise
        except Exception as exc:
            self._fault(connection, exc)
            raise Temporary(
                f"The plugin of {connection} failed; see 'billhook connections list'.",
                retry_after=RETRY_AFTER,
            ) from exc
        finally:
            with self._lock:
                del self._running[token]

    def _enter(self, connection: str) -> object:
        token, now = object(), monotonic()
        with self._lock:
            slow = [
                name
                for name, since in self._running.values()
                if name == connection and now - since > self._slow_seconds
            ]
            if len(slow) < SLOW_AT_MOST:
                self._running[token] = (connection, now)
                return token
        exc = TimeoutError(f"verify did not answer in {self._slow_seconds:g} s")
        self._fault(connection, exc)
        raise Temporary(
            f"The plugin of {connection} does not answer; see 'billhook connections list'.",
            retry_after=RETRY_AFTER,
        )
