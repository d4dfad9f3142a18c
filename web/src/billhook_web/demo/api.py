"""The host as an integrator meets it: its API with a key, its pay page, its webhook door. All over HTTP."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from billhook.http import ApiClient, ApiResponse
from billhook.testing.sandbox import post_to

MOST_ROWS: Final = 200
"""The longest page the API gives; the story is shorter."""

TIMEOUT_SECONDS: Final = 15.0


class ApiRefused(Exception):
    """The host's API said no; the message is its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visited:
    """What a browser got: the status, and where it is led on to."""

    status: int
    location: str | None
    text: str


class Api:
    """Calls the host at ``url`` with ``key``."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._client = ApiClient(name="billhook", base_url=f"{url}/api/v1", headers=headers)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, *path: str) -> dict[str, Any]:
        """Read one thing; raises :class:`ApiRefused`."""
        return _checked(self._client.get(*path))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Read a list, newest first; raises :class:`ApiRefused`."""
        data: list[dict[str, Any]] = _checked(self._client.get(name, params={"limit": MOST_ROWS}))["data"]
        return data

    def put(self, *path: str, json: object) -> tuple[int, dict[str, Any]]:
        """Set something; return the status and the answer. Raises :class:`ApiRefused`."""
        response = self._client.put(*path, json=json)
        return response.status, _checked(response)

    def post(self, *path: str, json: object) -> dict[str, Any]:
        """Ask for something to be done; raises :class:`ApiRefused`."""
        return _checked(self._client.post(*path, json=json))

    def visit(self, url: str, *, method: str = "GET") -> Visited:
        """Open a page as a browser does, without following where it leads. OSError when nobody answers."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, parts.path)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        return Visited(status=answer.status, location=answer.getheader("Location"), text=text)

    def deliver(self, connection: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Hand in a webhook as if it came from a provider; return the status, 0 when nobody answers."""
        return post_to(f"{self._url}/webhooks/{connection}", timeout=TIMEOUT_SECONDS)(body, headers)


def _checked(response: ApiResponse) -> dict[str, Any]:
    answer = response.json()
    if not response.ok or not isinstance(answer, dict):
        raise ApiRefused(f"{response.status}: {answer}")
    return answer
