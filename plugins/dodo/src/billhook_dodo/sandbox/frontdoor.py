"""From an HTTP request to its answer: record it, check the key, play the fault, check the body, do it."""

from __future__ import annotations

import hmac
import json

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from billhook.clock import pause
from billhook.testing.sandbox import Fault, FaultKind

from . import api_catalog, api_money
from .control import ControlPanel
from .desk import Desk
from .errors import ApiError, invalid_body
from .pages import HostedPages
from .records import Json
from .routing import Call, RecordedRequest, Route, check_query

ROUTES = api_money.ROUTES + api_catalog.ROUTES
_OPEN = "/invoices/"  # Dodo serves invoice PDFs without a key


class FrontDoor:
    """Routes requests to the API, the hosted pages and the control panel."""

    def __init__(self, desk: Desk, *, api_key: str) -> None:
        self._desk = desk
        self._api_key = api_key.encode()
        self._pages = HostedPages(desk)
        self._panel = ControlPanel(desk)
        self._urls = Map(
            [Rule(route.path, methods=[route.method], endpoint=route) for route in ROUTES],
            strict_slashes=False,
        )

    def answer(self, request: Request) -> Response:
        """Return the response to ``request``; an :class:`ApiError` becomes Dodo's error JSON."""
        if request.path.startswith(("/session/", "/portal/")):
            return self._pages.answer(request)
        try:
            if request.path.startswith("/_sandbox"):
                return self._panel.answer(request)
            return self._api(request)
        except ApiError as exc:
            return error_response(exc)

    def _api(self, request: Request) -> Response:
        recorded = self._record(request)
        try:
            response = self._call(request, recorded)
        except ApiError as exc:
            response = error_response(exc)
        recorded.status = response.status_code
        return response

    def _record(self, request: Request) -> RecordedRequest:
        recorded = RecordedRequest(
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            json=_peek(request),
            headers=Headers(list(request.headers)),
            at=self._desk.world.now(),
        )
        self._desk.requests.append(recorded)
        return recorded

    def _call(self, request: Request, recorded: RecordedRequest) -> Response:
        self._check_key(request)
        fault = self._desk.faults.take(request.method, request.path)
        if fault is not None and fault.kind not in (FaultKind.LOST_ANSWER, FaultKind.SLOW):
            return _refused_by(fault)
        route, args = self._match(request)
        check_query(route, recorded.query)
        body = _checked_body(route, request)
        with self._desk.lock:
            call = Call(
                world=self._desk.world,
                webhooks=self._desk.hooks,
                args=args,
                json=body,
                query=recorded.query,
            )
            result = route.handler(call)
        if fault is not None and fault.kind is FaultKind.LOST_ANSWER:
            raise ApiError(504, "GATEWAY_TIMEOUT", "The upstream server did not answer in time")
        if fault is not None:
            pause(fault.seconds)
        return result if isinstance(result, Response) else json_response(result)

    def _check_key(self, request: Request) -> None:
        if request.path.startswith(_OPEN):
            return
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.encode(), self._api_key):
            raise ApiError(401, "UNAUTHORIZED", "Missing or invalid API key")

    def _match(self, request: Request) -> tuple[Route, dict[str, str]]:
        try:
            route, args = self._urls.bind_to_environ(request.environ).match()
        except NotFound:
            raise ApiError(404, "NOT_FOUND", "No such path") from None
        except MethodNotAllowed:
            raise ApiError(405, "METHOD_NOT_ALLOWED", "Method not allowed") from None
        except HTTPException as exc:
            raise ApiError(exc.code or 400, "BAD_REQUEST", exc.name) from exc
        if not isinstance(route, Route):
            raise TypeError(f"{request.path} leads to no route")
        return route, {name: str(value) for name, value in args.items()}


def json_response(content: Json, status: int = 200) -> Response:
    """Return ``content`` as JSON."""
    return Response(json.dumps(content, ensure_ascii=False), status=status, mimetype="application/json")


def error_response(error: ApiError) -> Response:
    """Return Dodo's error body."""
    return json_response({"code": error.code, "message": error.message}, error.status)


def _refused_by(fault: Fault) -> Response:
    match fault.kind:
        case FaultKind.ERROR:
            return error_response(ApiError(500, "INTERNAL_SERVER_ERROR", "Something went wrong"))
        case FaultKind.UNAVAILABLE:
            return error_response(ApiError(503, "SERVICE_UNAVAILABLE", "Service is temporarily unavailable"))
        case FaultKind.RATE_LIMITED:
            # Users of the real service saw this answer without a body.
            seconds = str(max(1, int(fault.seconds)))
            headers = {"Retry-After": seconds, "X-RateLimit-Limit": "40", "X-RateLimit-Remaining": "0"}
            return Response(status=429, headers=headers)
        case _:
            raise ValueError(f"{fault.kind} does not refuse a call")


def _checked_body(route: Route, request: Request) -> Json:
    if route.body is None:
        return {}
    if request.mimetype != "application/json":
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Expected Content-Type: application/json")
    try:
        body = json.loads(request.get_data())
    except ValueError:
        raise ApiError(400, "INVALID_REQUEST_BODY", "The body is not JSON") from None
    route.body(body, "")
    if not isinstance(body, dict):
        raise invalid_body("", "expected an object")
    return body


def _peek(request: Request) -> Json | None:
    try:
        body = json.loads(request.get_data())
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
