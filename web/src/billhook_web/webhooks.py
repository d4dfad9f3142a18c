"""``POST /webhooks/<connection>``: what providers call. Verify, store, and only then answer 2xx."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from flask import Blueprint, Response, abort, request

from billhook.errors import SignatureInvalid, Temporary
from billhook.provider import WebhookRequest
from billhook_web.actors import Wake
from billhook_web.db import DatabaseError
from billhook_web.problems import problem
from billhook_web.runtime import Runtime

log = structlog.get_logger(__name__)

MAX_BODY = 1024 * 1024
"""Larger deliveries are refused: no provider sends one, and nobody may fill the disk."""

RETRY_SECONDS = 10


def webhooks_blueprint(runtime: Runtime, wake: Wake) -> Blueprint:
    """Return the routes that receive webhooks."""
    blueprint = Blueprint("webhooks", __name__)

    @blueprint.post("/webhooks/<connection>")
    def receive_webhook(connection: str) -> Response:
        return _receive(runtime, wake, connection)

    @blueprint.post("/api/billing/webhooks")
    def receive_billing_webhook() -> Response:
        """The address integrators know from before there were connections: the first billing engine's."""
        engines = runtime.connections.engines()
        return _receive(runtime, wake, engines[0].name) if engines else abort(404)

    return blueprint


def _receive(runtime: Runtime, wake: Wake, name: str) -> Response:
    connection = runtime.connections.get(name)
    if connection is None or (connection.source is None and connection.problem is None):
        return problem(404, "No such connection", f"Nothing called {name!r} receives webhooks here.")
    if connection.source is None:
        runtime.meters.refused(name, reason="plugin")
        return _later(f"The plugin of {name!r} is out of order; see 'billhook plugins list'.")
    body = _body()
    if body is None:
        runtime.meters.refused(name, reason="size")
        return problem(413, "Body too large", f"A webhook may have at most {MAX_BODY} bytes.")
    try:
        delivery = WebhookRequest(headers=_headers(), body=body)
        receipt = runtime.intake.receive(connection.source, delivery, now=runtime.clock.now())
    except SignatureInvalid:
        runtime.meters.refused(name, reason="signature")
        log.info("webhook.refused", connection=name)
        return problem(
            401, "Signature invalid", "The signature is missing, wrong or too old. Nothing was stored."
        )
    except Temporary as exc:
        runtime.meters.refused(name, reason="later")
        return _later(runtime.hide(str(exc)))
    except DatabaseError as exc:
        runtime.meters.refused(name, reason="database")
        log.warning("webhook.not_stored", connection=name, error=type(exc).__name__)
        return _later("The database does not answer; nothing was stored.")
    runtime.meters.received(name, repeated=receipt.inbox_id is None)
    if receipt.inbox_id is not None:
        wake.inbox(receipt.inbox_id)
    return Response(status=200)


def _body() -> bytes | None:
    """Read the raw bytes, at most one more than allowed; None when there are more."""
    if (request.content_length or 0) > MAX_BODY:
        return None
    body: bytes = request.stream.read(MAX_BODY + 1)
    return None if len(body) > MAX_BODY else body


def _headers() -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _later(detail: str) -> Response:
    response = problem(503, "Try again", detail)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
