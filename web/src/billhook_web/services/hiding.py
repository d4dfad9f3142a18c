"""Takes secrets out of texts. It learns new secrets while the host runs and forgets none: an old log line may come late."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from billhook.http import redact


class Hider:
    """Hides every secret it knows. It shows none when it is printed."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._secrets = frozenset(secrets)

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        return redact(text, self._secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these too; call it before they are used."""
        with self._lock:
            self._secrets = self._secrets | frozenset(secrets)
