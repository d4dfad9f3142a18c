"""``POST /webhooks/<connection>``: what providers call. Verify, store, and only then answer 2xx.

:class:`Ingress` decides; two edges translate. :func:`in_front` answers before Flask is asked and is what a server runs:
routing, contexts and response objects cost several times what verifying and storing do. The blueprint is the same route
inside Flask, for an application that is served without the front, and for what is no POST.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import structlog
from flask import Blueprint, Response, abort, request

from billhook.errors import SignatureInvalid, Temporary
from billhook.provider import WebhookRequest
from billhook_web.actors import Wake
from billhook_web.db import DatabaseError
from billhook_web.logs import WSGIApplication
from billhook_web.problems import problem_body
from billhook_web.runtime import Runtime

log = structlog.get_logger(__name__)

MAX_BODY = 1024 * 1024
"""Larger deliveries are refused: no provider sends one, and nobody may fill the disk."""

RETRY_SECONDS = 10

PATH = "/webhooks/"
FIRST_ENGINE_PATH = "/api/billing/webhooks"
"""The address integrators know from before there were connections: the first billing engine's."""

Read = Callable[[int], bytes]
"""Reads at most so many bytes of a body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told; no ``body``: taken."""

    status: int
    body: str = ""
    retry_after: int | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Return what describes the body and the way out."""
        headers = [("Content-Type", "application/problem+json")] if self.body else []
        return headers if self.retry_after is None else [*headers, ("Retry-After", str(self.retry_after))]


TAKEN = Answer(200)


class Ingress:
    """Takes deliveries. ``ring`` is called with the id of each new one, after it is committed."""

    def __init__(self, runtime: Runtime, ring: Callable[[int], object]) -> None:
        self._runtime = runtime
        self._ring = ring

    def first_engine(self) -> str | None:
        """Return the connection that :data:`FIRST_ENGINE_PATH` stands for; None: no billing engine is connected."""
        return next((engine.name for engine in self._runtime.connections.engines()), None)

    def take(self, name: str, *, length: int, read: Read, headers: Callable[[], Mapping[str, str]]) -> Answer:
        """Verify and store what was sent to the connection ``name``.

        :param length: what the sender says the body has; 0: it does not say.
        :param headers: returns the headers, names in lower case; asked for only when somebody is there to read them.
        """
        runtime = self._runtime
        connection = runtime.connections.get(name)
        if connection is None or (connection.source is None and connection.problem is None):
            return _refused(404, "No such connection", f"Nothing called {name!r} receives webhooks here.")
        if connection.source is None:
            runtime.meters.refused(name, reason="plugin")
            return _later(f"The plugin of {name!r} is out of order; see 'billhook plugins list'.")
        body = b"" if length > MAX_BODY else read(MAX_BODY + 1)
        if max(length, len(body)) > MAX_BODY:
            runtime.meters.refused(name, reason="size")
            return _refused(413, "Body too large", f"A webhook may have at most {MAX_BODY} bytes.")
        delivery = WebhookRequest(headers=headers(), body=body)
        try:
            receipt = runtime.intake.receive(connection.source, delivery, now=runtime.clock.now())
        except SignatureInvalid:
            runtime.meters.refused(name, reason="signature")
            log.info("webhook.refused", connection=name)
            said = "The signature is missing, wrong or too old. Nothing was stored."
            return _refused(401, "Signature invalid", said)
        except Temporary as exc:
            runtime.meters.refused(name, reason="later")
            return _later(runtime.hide(str(exc)))
        except DatabaseError as exc:
            runtime.meters.refused(name, reason="database")
            log.warning("webhook.not_stored", connection=name, error=type(exc).__name__)
            return _later("The database does not answer; nothing was stored.")
        runtime.meters.received(name, repeated=receipt.inbox_id is None)
        if receipt.inbox_id is not None:
            self._ring(receipt.inbox_id)
        return TAKEN


def in_front(app: WSGIApplication, ingress: Ingress) -> WSGIApplication:
    """Wrap ``app``: deliveries are answered here, everything else there."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        name = _addressed(environ, ingress)
        if name is None:
            return app(environ, start_response)
        answer = ingress.take(
            name,
            length=_length(environ),
            read=environ["wsgi.input"].read,
            headers=lambda: _environ_headers(environ),
        )
        content = answer.body.encode()
        headers = [*answer.headers(), ("Content-Length", str(len(content)))]
        if environ["PATH_INFO"] == FIRST_ENGINE_PATH:
            headers.append(("Cache-Control", "no-store"))
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        return [content]

    return wrapped


def webhooks_blueprint(runtime: Runtime, wake: Wake) -> Blueprint:
    """Return the routes that receive webhooks, inside Flask."""
    blueprint = Blueprint("webhooks", __name__)
    ingress = Ingress(runtime, wake.inbox)

    @blueprint.post(f"{PATH}<connection>")
    def receive_webhook(connection: str) -> Response:
        return _take(ingress, connection)

    @blueprint.post(FIRST_ENGINE_PATH)
    def receive_billing_webhook() -> Response:
        return _take(ingress, ingress.first_engine() or abort(404))

    return blueprint


def _addressed(environ: Mapping[str, Any], ingress: Ingress) -> str | None:
    """Return the connection a request is for; None: it is no delivery, or for nobody who could be named."""
    if environ["REQUEST_METHOD"] != "POST":
        return None
    path: str = environ["PATH_INFO"]
    if path == FIRST_ENGINE_PATH:
        return ingress.first_engine()
    name = path.removeprefix(PATH)
    return name if name and name != path and name.isascii() and "/" not in name else None


def _length(environ: Mapping[str, Any]) -> int:
    said = environ.get("CONTENT_LENGTH", "")
    return int(said) if said.isascii() and said.isdigit() else 0


def _environ_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {_header(name): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[_header(name)] = environ[name]
    return headers


@lru_cache(maxsize=512)
def _header(name: str) -> str:
    """Return a header's name in lower case; the same few come with every delivery."""
    return name.removeprefix("HTTP_").replace("_", "-").lower()


def _take(ingress: Ingress, name: str) -> Response:
    answer = ingress.take(
        name,
        length=request.content_length or 0,
        read=request.stream.read,
        headers=lambda: {name.lower(): value for name, value in request.headers.items()},
    )
    response = Response(answer.body, status=answer.status)
    response.headers.update(answer.headers())
    return response


def _refused(status: int, title: str, detail: str) -> Answer:
    return Answer(status, json.dumps(problem_body(status, title, detail), ensure_ascii=False))


def _later(detail: str) -> Answer:
    body = json.dumps(problem_body(503, "Try again", detail), ensure_ascii=False)
    return Answer(503, body, retry_after=RETRY_SECONDS)
