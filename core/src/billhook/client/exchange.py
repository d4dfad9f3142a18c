"""What goes to the host and what comes back, and how a refusal is called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from billhook.client.cache import Entry
from billhook.errors import CredentialsRefused, NotFound, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to send."""

    method: str
    path: str
    at: datetime
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    leased: bool = False
    held: Entry | None = None  # what a 304 confirms


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    status: int
    body: bytes
    etag: str | None = None


def segment(text: str) -> str:
    """Return an id as one segment of a path; raises ValueError when it is empty."""
    if not text:
        raise ValueError("the id is empty: the call would reach another resource")
    return quote(text, safe="").replace(".", "%2E")  # or "." and ".." would be resolved on the way


def object_of(reply: Reply) -> dict[str, Any]:
    """Return the JSON object of a reply; an empty one when there is none."""
    try:
        parsed = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def detail_of(reply: Reply) -> str:
    """Return what the host says about a refusal, in its words."""
    said = object_of(reply)
    return str(said.get("detail") or said.get("title") or f"status {reply.status}")


def refusal_of(reply: Reply) -> Refused:
    """Return the error that a 4xx means."""
    detail = detail_of(reply)
    match reply.status:
        case 401:
            return CredentialsRefused(f"Billhook does not accept the API key: {detail}")
        case 403:
            return CredentialsRefused(f"The API key may not do this: {detail}")
        case 404:
            return NotFound(f"Billhook does not know this: {detail}")
        case status:
            return Refused(f"Billhook refused the request ({status}): {detail}")
