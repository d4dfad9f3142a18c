"""What both clients send over: the origin, the key, how long to wait, and what counts as no answer."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from billhook import __version__
from billhook.client.exchange import Call, Reply

NO_ANSWER: Final = (httpx.HTTPError, httpx.InvalidURL)


def options(base_url: str, api_key: str, timeout: float) -> dict[str, Any]:
    """Return the arguments of an HTTP client for the host.

    :param timeout: seconds for a connection, and for each wait for a part of the answer.
    :raises ValueError: the URL or the key cannot be used; the message shows neither.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("base_url is http:// or https:// and a host, such as https://billing.example.com")
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError(
            "api_key is empty or has a character that no key has; make one with 'billhook keys create'"
        )
    headers = {
        "Authorization": f"Bearer {api_key}",
        "Accept": "application/json",
        "User-Agent": f"billhook-client/{__version__}",
    }
    return {
        "base_url": base_url.rstrip("/"),
        "headers": headers,
        "timeout": timeout,
        "follow_redirects": False,
    }


def arguments(call: Call) -> dict[str, Any]:
    """Return the arguments of one request."""
    return {"method": call.method, "url": call.path, "headers": dict(call.headers), "content": call.body}


def reply_of(response: httpx.Response) -> Reply:
    """Return what came back, read to its end."""
    return Reply(status=response.status_code, body=response.content, etag=response.headers.get("etag"))


def why(exc: Exception) -> str:
    """Say why there is no answer; the library's own text could show a URL."""
    return (
        "it did not answer in time"
        if isinstance(exc, httpx.TimeoutException)
        else f"no connection ({type(exc).__name__})"
    )
