"""From an HTTP request to its answer: record it, check the key, play the fault, look the idempotency key up, do it."""

from __future__ import annotations

import copy
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from billhook.clock import pause
from billhook.testing.sandbox import Fault, FaultKind

from . import api_account, api_clocks, api_customers, api_money
from .browser import Browser
from .control import ControlPanel
from .desk import Desk
from .errors import ApiError, Json, invalid
from .forms import checked, parsed
from .routing import Call, RecordedRequest, Route
from .world import API_VERSION, new_id

ROUTES: Final = api_customers.ROUTES + api_money.ROUTES + api_account.ROUTES + api_clocks.ROUTES
KEYS_LIVE: Final = timedelta(hours=24)
"""How long an idempotency key is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What was answered to the first request with an idempotency key."""

    method: str
    path: str
    params: Json
    status: int
    body: Json
    at: datetime


class FrontDoor:
    """Routes requests to the API, to what a customer's browser loads, and to the control panel."""

    def __init__(self, desk: Desk, *, api_key: str, publishable_key: str) -> None:
        self._desk = desk
        self._api_key = api_key
        self._publishable_key = publishable_key
        self._browser = Browser(desk)
        self._panel = ControlPanel(desk)
        self._keys: dict[str, Remembered] = {}
        rules = [Rule(route.path, methods=[route.method], endpoint=route) for route in ROUTES]
        self._urls = Map(rules, strict_slashes=False)

    def answer(self, request: Request) -> Response:
        """Return the response; an :class:`ApiError` becomes Stripe's error JSON."""
        if request.method == "OPTIONS":
            return _cors(Response(status=204))
        try:
            if request.path.startswith(("/js/", "/3ds/")):
                return self._browser.answer(request)
            if request.path.startswith("/_sandbox"):
                return self._panel.answer(request)
            return _cors(self._api(request))
        except ApiError as exc:
            return _cors(json_response(exc.body, exc.status))

    def _api(self, request: Request) -> Response:
        params = parsed((request.get_data() or request.query_string).decode("utf-8", "replace"))
        recorded = RecordedRequest(
            method=request.method,
            path=request.path,
            params=params,
            headers={name.lower(): value for name, value in request.headers.items()},
            at=self._desk.world.now(),
        )
        self._desk.requests.append(recorded)
        public = self._check_key(request)
        fault = self._desk.faults.take(request.method, request.path)
        if fault is not None and fault.kind not in (FaultKind.LOST_ANSWER, FaultKind.SLOW):
            return _refused_by(fault)
        route, args = self._match(request)
        if public and not route.public:
            raise ApiError(
                403,
                "invalid_request_error",
                "This API call cannot be made with a publishable API key. Please use a secret API key.",
                code="secret_key_required",
            )
        response = self._once(recorded, route, args, public=public)
        if fault is not None and fault.kind is FaultKind.LOST_ANSWER:
            raise ApiError(504, "api_error", "The upstream server did not answer in time")
        if fault is not None:
            pause(fault.seconds)
        return response

    def _once(
        self, recorded: RecordedRequest, route: Route, args: dict[str, str], *, public: bool
    ) -> Response:
        """Do it, or answer as the first time when its idempotency key is known."""
        key = recorded.key if recorded.method == "POST" else None
        with self._desk.acting(key):
            known = self._keys.get(key) if key else None
            if known is not None and recorded.at - known.at < KEYS_LIVE:
                return _replayed(known, recorded)
            call = Call(
                world=self._desk.world,
                hooks=self._desk.hooks,
                args=args,
                params=checked(recorded.params, route.shape, required=route.required),
                public=public,
            )
            try:
                status, body = 200, copy.deepcopy(route.handler(call))
            except ApiError as exc:
                if not exc.begun:
                    raise
                status, body = exc.status, exc.body
            if key:
                self._keys[key] = Remembered(method=recorded.method, path=recorded.path,
                                             params=recorded.params, status=status, body=body,
                                             at=recorded.at)  # fmt: skip
        return json_response(body, status, key=key)

    def _check_key(self, request: Request) -> bool:
        """Return whether the caller is a browser; a key nobody knows is refused."""
        given = request.headers.get("Authorization", "").partition(" ")[2]
        if hmac.compare_digest(given.encode(), self._api_key.encode()):
            return False
        if hmac.compare_digest(given.encode(), self._publishable_key.encode()):
            return True
        raise ApiError(401, "invalid_request_error", f"Invalid API Key provided: {given[:7]}***")

    def _match(self, request: Request) -> tuple[Route, dict[str, str]]:
        try:
            route, args = self._urls.bind_to_environ(request.environ).match()
        except NotFound:
            url = f"{request.method}: {request.path}"
            raise invalid(f"Unrecognized request URL ({url}).", status=404) from None
        except MethodNotAllowed:
            raise invalid(f"Unrecognized request URL ({request.method}).", status=404) from None
        except HTTPException as exc:
            raise invalid(exc.name, status=exc.code or 400) from exc
        if not isinstance(route, Route):
            raise TypeError(f"{request.path} leads to no route")
        return route, {name: str(value) for name, value in args.items()}


def json_response(content: Json, status: int = 200, *, key: str | None = None) -> Response:
    """Return ``content`` as JSON with the headers that Stripe adds."""
    headers = {"Request-Id": new_id("req"), "Stripe-Version": API_VERSION}
    if key:
        headers["Idempotency-Key"] = key
    body = json.dumps(content, ensure_ascii=False)
    return Response(body, status=status, mimetype="application/json", headers=headers)


def _replayed(known: Remembered, again: RecordedRequest) -> Response:
    if (known.method, known.path, known.params) != (again.method, again.path, again.params):
        raise ApiError(
            400,
            "idempotency_error",
            "Keys for idempotent requests can only be used with the same parameters they were first used with. "
            f"Try using a key other than '{again.key}' if you meant to execute a different request.",
        )
    response = json_response(known.body, known.status, key=again.key)
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _cors(response: Response) -> Response:
    """Let pages of any origin call, as Stripe does: what they may do hangs on the key."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Allow-Headers"] = "authorization, content-type, stripe-version"
    response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
    return response


def _refused_by(fault: Fault) -> Response:
    match fault.kind:
        case FaultKind.ERROR:
            raise ApiError(500, "api_error", "An unknown error occurred")
        case FaultKind.UNAVAILABLE:
            # Stripe sends no Retry-After with a 503; asking when to come back is the proxy's word that nothing was done
            response = json_response({"error": {"type": "api_error", "message": "Unavailable"}}, 503)
        case FaultKind.RATE_LIMITED:
            error = {"type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests"}
            response = json_response({"error": error}, 429)
        case _:
            raise ValueError(f"{fault.kind} does not refuse a call")
    response.headers["Retry-After"] = str(max(1, int(fault.seconds)))
    return response
