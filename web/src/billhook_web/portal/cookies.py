"""The portal's two cookies: the session's, and one that marks the browser which is about to use a link.

Over https their names begin with ``__Host-``: a browser takes such a cookie only from this very host, with ``Secure`` and
for every path, so that no neighbouring domain can plant one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from flask import Response, request

ENTRY_LIVES: Final = timedelta(minutes=10)
_LONGEST: Final = 128  # characters; ours have 43


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    """Reads and writes them. ``secure``: the host is reached by https."""

    secure: bool

    def session(self) -> str | None:
        """Return the session's token, if the browser sent one."""
        return self._read("portal")

    def entry(self) -> str | None:
        """Return what marks this browser."""
        return self._read("portal_entry")

    def set_session(self, response: Response, token: str, *, lives: timedelta) -> None:
        """Let the browser keep the session's token for as long as it can be good for anything."""
        self._write(response, "portal", token, lives)

    def set_entry(self, response: Response, token: str) -> None:
        """Mark this browser."""
        self._write(response, "portal_entry", token, ENTRY_LIVES)

    def drop_session(self, response: Response) -> None:
        """Take the session's token out of the browser."""
        self._write(response, "portal", "", timedelta())

    def _read(self, name: str) -> str | None:
        value = request.cookies.get(self._name(name), "")
        return value if 0 < len(value) <= _LONGEST else None

    def _write(self, response: Response, name: str, value: str, lives: timedelta) -> None:
        response.set_cookie(
            self._name(name),
            value,
            max_age=lives,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="Lax",
        )

    def _name(self, name: str) -> str:
        return f"__Host-billhook_{name}" if self.secure else f"billhook_{name}"
