"""A customer in the portal: a browser without a script that keeps cookies, is led on, and sends the pages' own forms."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from html import unescape
from http.cookies import SimpleCookie
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from billhook_web.demo.api import TIMEOUT_SECONDS

MOST_STEPS: Final = 5
"""How often a visitor lets themselves be led on before something must be wrong."""

_TOKEN: Final = re.compile(r'name="csrf_token" value="([^"]+)"')
_ABOUT: Final = re.compile(r'data-about="([^"]+)"')


class LostOnTheWay(Exception):
    """A page is not what the visitor came for; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the visitor sees."""

    path: str
    text: str

    @property
    def token(self) -> str:
        """Return the token its forms carry; raises :class:`LostOnTheWay`."""
        return self._found(_TOKEN)

    @property
    def about(self) -> dict[str, Any]:
        """Return what the page tells its script; raises :class:`LostOnTheWay`."""
        told: dict[str, Any] = json.loads(unescape(self._found(_ABOUT)))
        return told

    def _found(self, what: re.Pattern[str]) -> str:
        found = what.search(self.text)
        if found is None:
            raise LostOnTheWay(f"{self.path} has no form.")
        return unescape(found[1])


class Visitor:
    """Visits the portal of the host at ``url``."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url).netloc
        self._cookies: SimpleCookie = SimpleCookie()

    def enter(self, link: str) -> Page:
        """Open a one-time link and go in; return the page it leads to."""
        path = urlsplit(link).path
        return self.send(path, csrf_token=self.open(path).token)

    def open(self, path: str) -> Page:
        """Open a page; raises :class:`LostOnTheWay` when it is not there."""
        return self._go("GET", path, None)

    def send(self, path: str, **fields: str) -> Page:
        """Send a form; return the page it leads to. Raises :class:`LostOnTheWay` when it is refused."""
        return self._go("POST", path, urlencode(fields))

    def _go(self, method: str, path: str, body: str | None) -> Page:
        for _ in range(MOST_STEPS):
            status, location, text = self._ask(method, path, body)
            if status == 303 and location:
                method, path, body = "GET", location, None
                continue
            if status != 200:
                raise LostOnTheWay(f"{method} {path} was answered {status}.")
            return Page(path=path, text=text)
        raise LostOnTheWay(f"{path} leads on and on.")

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, str | None, str]:
        connection = http.client.HTTPConnection(self._place, timeout=TIMEOUT_SECONDS)
        kept = "; ".join(f"{name}={each.value}" for name, each in self._cookies.items())
        headers = {"Cookie": kept, "Origin": f"http://{self._place}"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie", ()):
            self._cookies.load(cookie)
        return answer.status, answer.getheader("Location"), text
