"""Lago's REST API: its error bodies as typed errors, its pages as one stream.

Lago knows no idempotency keys. Nothing here repeats a call: the host does, and looks first where Lago would count a
repetition twice (``POST /payments``, ``POST /credit_notes``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from json import loads
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from billhook.config import prefix_of
from billhook.errors import Conflict, NotFound, PayloadInvalid, Permanent, Refused, Unsupported
from billhook.hookspecs import ConnectionContext
from billhook.http import ApiClient, ApiResponse, Params
from billhook_lago.config import LagoConfig
from billhook_lago.reading import Json, obj, obj_or_empty, rows, text

NO_LICENCE: Final = "feature_unavailable"
"""Lago's word for "this needs a premium licence"; also what it says about paying an invoice that is not final."""

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list and the number of the next (None: it was the last). ``pause``: Lago's limit is used up for so
    long."""

    rows: Sequence[Json]
    following: int | None
    pause: timedelta


class LagoClient:
    """One Lago organisation's API. ``variable`` prefixes the settings that errors tell an operator to look at."""

    def __init__(self, api: ApiClient, server: ApiClient, *, server_url: str, variable: str) -> None:
        self._api = api
        self._server = server
        self._host = _host(server_url)
        self._variable = variable

    def get(self, *path: str, params: Params | None = None) -> Json:
        """Read one thing."""
        return self._answer(self._api.get(*path, params=params))

    def post(self, *path: str, body: Json | None = None, moves_money: bool = False) -> Json:
        """Create or do something; an empty answer gives an empty object.

        :param moves_money: Lago would count a repetition twice: without an answer the outcome is unknown.
        """
        return self._answer(self._api.post(*path, json=body, moves_money=moves_money))

    def put(self, *path: str, body: Json) -> Json:
        """Set a state."""
        return self._answer(self._api.put(*path, json=body))

    def delete(self, *path: str, params: Params | None = None) -> Json:
        """End something."""
        return self._answer(self._api.delete(*path, params=params))

    def pages(self, root: str, *path: str, params: Params | None = None) -> Iterator[Json]:
        """Yield every row of a list."""
        number: int | None = 1
        while number is not None:
            page = self.page(root, *path, params=params, number=number)
            yield from page.rows
            number = page.following

    def page(self, root: str, *path: str, params: Params | None = None, number: int = 1) -> Page:
        """Read one page of a list; pages count from 1.

        What comes after it is what ``next_page`` says: Lago caches some totals for half an hour, so a count would miss
        rows.
        """
        query = {**(params or {}), "page": number, "per_page": 100}
        response = self._api.get(*path, params=query)
        answer = self._answer(response)
        with readable():
            if (
                root not in answer
            ):  # an empty list would say "not there" to somebody who looks before repeating
                raise PayloadInvalid(f"{root} is missing")
            following = obj_or_empty(answer, "meta").get("next_page")
            onward = isinstance(following, int) and following > number
            return Page(
                rows=rows(answer, root), following=following if onward else None, pause=_pause(response)
            )

    def health(self) -> Json:
        """Return what the server says about itself outside the API: its version."""
        return self._answer(self._server.get("health"))

    def file(self, url: str) -> bytes:
        """Fetch a file that Lago links to; its links need no key and lead to itself.

        :raises Refused: the link leads to another host, where we do not follow.
        """
        parts = urlsplit(url)
        if _host(url) != self._host:
            raise Refused(
                f"Lago links its files to {parts.hostname}, not to the configured host; make LAGO_API_URL on the Lago "
                f"server and {self._variable}_API_URL here name the same host"
            )
        # The redirect form would lead on to a storage service; the proxy form makes Lago itself answer.
        path = parts.path.replace("/blobs/redirect/", "/blobs/proxy/")
        segments = [unquote(segment) for segment in path.split("/") if segment]
        response = self._server.get(*segments, params=dict(parse_qsl(parts.query)) or None)
        if not response.ok:
            raise Permanent(
                f"Lago answered {response.status} for its own file", request_id=response.request_id
            )
        return response.body

    def _answer(self, response: ApiResponse) -> Json:
        if not response.ok:
            raise self._error(response)
        if not response.body.strip():
            return {}
        answer = response.json()
        if not isinstance(answer, dict):
            raise Permanent("Lago's answer is not a JSON object; check the API's address")
        return answer

    def _error(self, response: ApiResponse) -> Exception:
        body = _error_body(response.body)
        code = body.get("code") if isinstance(body.get("code"), str) else None
        what = f"Lago answered {response.status}" + (f" ({code})" if code else "")
        match response.status:
            case 401:
                return Permanent(
                    f"Lago does not accept the API key; check {self._variable}_API_KEY and {self._variable}_API_URL",
                    request_id=response.request_id,
                )
            case 403 if code == NO_LICENCE:
                return Unsupported(f"{what}: it needs a premium licence", code=code)
            case 404:
                return NotFound(what, code=code)
            case 422:
                return _invalid(what, code, body.get("error_details"))
            case 403 | 405:
                return Refused(what, code=code)
            case _:
                return Permanent(what, request_id=response.request_id)


def lago_client(context: ConnectionContext) -> LagoClient:
    """Return the client of a connection; no call is made."""
    config = context.config(LagoConfig)
    key = config.api_key.get_secret_value()
    api = context.http(
        name=context.name,
        base_url=config.api_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=[key],
    )
    server = context.http(name=context.name, base_url=config.server_url, headers={}, secrets=[key])
    return LagoClient(api, server, server_url=config.server_url, variable=prefix_of(context.name))


def organization_id(client: LagoClient) -> str | None:
    """Return the id of the organisation the API key belongs to; None: this Lago does not tell.

    ``GET /organizations`` is in no published schema, so the webhook endpoints, which name it too, are the second try.
    """
    try:
        answer = client.get("organizations")
    except NotFound:
        endpoints = client.pages("webhook_endpoints", "webhook_endpoints")
        with readable():
            return next((text(row, "lago_organization_id") for row in endpoints), None)
    with readable():
        return text(obj(answer, "organization"), "lago_id")


@contextmanager
def readable() -> Iterator[None]:
    """Turn an answer that is not what Lago writes into what a failed call is.

    :raises Permanent: instead of PayloadInvalid, which is for webhooks.
    """
    try:
        yield
    except PayloadInvalid as exc:
        raise Permanent(f"Lago's answer is not readable: {exc}") from exc


def _pause(response: ApiResponse) -> timedelta:
    """Return how long to leave Lago alone: its cloud tells how many calls are left, and in how many seconds more are."""
    left, reset = (response.headers.get(f"x-ratelimit-{name}", "") for name in ("remaining", "reset"))
    used_up = left == "0" and re.fullmatch(r"[0-9]{1,4}", reset) is not None
    return timedelta(seconds=int(reset)) if used_up else timedelta()


def _error_body(body: bytes) -> Json:
    try:
        parsed: object = loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _invalid(what: str, code: str | None, details: object) -> Refused:
    """Read a 422. Lago names the fields it refuses; other shapes of details (a provider's own) have no field."""
    if code != "validation_errors" or not isinstance(details, dict) or not details:
        return Refused(what, code=code)
    named = {str(field): _codes(codes) for field, codes in details.items()}
    listed = "; ".join(f"{field}: {', '.join(codes)}" for field, codes in named.items())
    field, codes = next(iter(named.items()))
    return Conflict(f"Lago does not take {listed}", code=codes[0] if codes else code, field=field)


def _codes(codes: object) -> list[str]:
    """Return the codes of one field; what is not a code (it could quote a value) is left out."""
    listed: Sequence[Any] = codes if isinstance(codes, list) else [codes]
    return [code for code in listed if isinstance(code, str) and _CODE.fullmatch(code)]


def _host(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    try:
        return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, None
