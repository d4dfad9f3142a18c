"""Errors as RFC 9457 ``application/problem+json``: one shape for every refusal of the API.

Under ``/api`` every error is a problem; elsewhere pages stay pages. Every answer carries ``X-Request-Id``: the caller's
own when it sent a sensible one. No problem quotes a request, and what a provider said is redacted.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, InternalServerError

from billhook.clock import monotonic, new_token
from billhook.errors import (
    BillhookError,
    Conflict,
    NotFound,
    OutcomeUnknown,
    Permanent,
    ProviderError,
    Refused,
    Temporary,
    Unsupported,
)
from billhook_web.db import DatabaseError
from billhook_web.runtime import Runtime

log = structlog.get_logger(__name__)

API_PATH = "/api/"
RETRY_SECONDS = 10
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def problem(
    status: int, title: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """Return a problem: ``title`` names the kind, ``detail`` this case and the way out."""
    body = json.dumps(problem_body(status, title, detail, **members), ensure_ascii=False)
    response = Response(body, status=status, content_type="application/problem+json")
    response.headers.update(headers or {})
    return response


def problem_body(status: int, title: str, detail: str, **members: Any) -> dict[str, Any]:
    """Return the members of a problem, in their order."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}


def install_problems(app: Flask, runtime: Runtime) -> None:
    """Answer every error of ``app`` in its form, and give every answer a request id."""
    app.before_request(_name_request)
    app.after_request(_close_request)
    app.teardown_request(_forget_request)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(Exception, _on_bug)
    for kind in DatabaseError:
        app.register_error_handler(kind, _on_database)

    @app.errorhandler(BillhookError)
    def on_billhook(exc: BillhookError) -> Response:
        return _in_its_form(_problem_of(exc, runtime.hide))


def _name_request() -> None:
    """Take the id that the server around us bound and will send; without one, choose and send it here."""
    bound = structlog.contextvars.get_contextvars().get("request_id")
    sent = request.headers.get("X-Request-Id", "")
    g.request_id = bound or (sent if _REQUEST_ID.fullmatch(sent) else new_token("req_", size=12))
    g.named_here = bound is None
    g.began = monotonic()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _forget_request(_exc: BaseException | None) -> None:
    if g.get("named_here"):
        structlog.contextvars.unbind_contextvars("request_id")


def _close_request(response: Response) -> Response:
    """Name the request in the answer and the log. The log has the route, not the path: no ids of people, no query."""
    if g.named_here:
        response.headers["X-Request-Id"] = g.request_id
    if request.path.startswith(API_PATH):
        response.headers.setdefault("Cache-Control", "no-store")
        rule = request.url_rule.rule if request.url_rule else None
        took = round((monotonic() - g.began) * 1000)
        log.info(
            "api.answered", method=request.method, route=rule, status=response.status_code, ms=took,
            key_id=g.get("key_id"),
        )  # fmt: skip
    return response


def _on_http(exc: HTTPException) -> Any:
    """A routing error, an ``abort`` or invalid input. ``Allow``, ``Retry-After`` and the like are kept."""
    if exc.response is not None or not request.path.startswith(API_PATH):
        return exc
    kept = {name: value for name, value in exc.get_headers() if name.lower() != "content-type"}
    members: Mapping[str, Any] = getattr(exc, "members", {})
    return problem(
        exc.code or 500,
        exc.name,
        exc.description or "",
        headers=kept,
        **members,
        request_id=g.request_id,
    )


def _on_bug(exc: Exception) -> Any:
    """Nobody foresaw it. The log says where, without the message: it may quote what was sent."""
    log.error("request.failed", error=type(exc).__name__, where=_where(exc))
    return _on_http(InternalServerError("Something went wrong here; the log names it by this request_id."))


def _on_database(exc: Exception) -> Response:
    log.error("database.failed", error=type(exc).__name__, where=_where(exc))
    return _in_its_form(_retry("The database does not answer.", None))


def _where(exc: Exception) -> list[str]:
    frames = traceback.extract_tb(exc.__traceback__)[-8:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _in_its_form(response: Response) -> Response:
    """Outside the API, where people look, keep the status and say it in plain words."""
    if request.path.startswith(API_PATH):
        return response
    said = json.loads(response.get_data())
    response.set_data(f"{said['title']}. {said['detail']}\n")
    response.content_type = "text/plain; charset=utf-8"
    return response


def _problem_of(exc: BillhookError, hide: Callable[[str], str]) -> Response:
    detail = hide(str(exc))
    match exc:
        case Refused():
            return _refused(exc, detail, hide)
        case Temporary():
            return _retry(f"The provider cannot be asked just now: {detail}", exc.retry_after)
        case OutcomeUnknown():
            way_out = "It may have been carried out: read the thing again before you repeat the call."
            return problem(
                504, "Outcome unknown", f"The provider did not answer. {way_out}", request_id=g.request_id
            )
        case Permanent() | ProviderError():
            return problem(502, "Provider failed", detail, request_id=g.request_id)
        case _:
            return problem(500, "Internal Server Error", "See the log.", request_id=g.request_id)


def _refused(exc: Refused, detail: str, hide: Callable[[str], str]) -> Response:
    members: dict[str, Any] = {"field": hide(exc.field)} if exc.field else {}
    if exc.code:
        members["code"] = hide(exc.code)
    members["request_id"] = g.request_id
    match exc:
        case NotFound():
            return problem(404, "Not Found", detail, **members)
        case Conflict():
            return problem(409, "Conflict", detail, **members)
        case Unsupported():
            return problem(409, "Not supported", detail, **members)
        case _ if exc.field:
            errors = [{"field": members["field"], "message": detail}]
            return problem(422, "Refused by the provider", detail, errors=errors, **members)
        case _:
            return problem(409, "Refused", detail, **members)


def _retry(detail: str, after: timedelta | None) -> Response:
    seconds = max(1, round(after.total_seconds())) if after else RETRY_SECONDS
    headers = {"Retry-After": str(seconds)}
    return problem(503, "Try again", detail, headers=headers, request_id=g.request_id)
