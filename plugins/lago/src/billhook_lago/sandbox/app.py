"""The sandbox itself: a WSGI app that puts Lago's REST API, under ``/api/v1``, before a :class:`Bench`.

Every API call is recorded, asked for its bearer key, and run through the fault script. State changes under one lock;
webhooks are sent outside it, by ``deliver_webhooks``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from billhook.clock import Clock, pause
from billhook.testing.sandbox import Fault, FaultKind, Faults, Post
from billhook_lago.sandbox.account import AccountEndpoints
from billhook_lago.sandbox.answers import ApiError, bad_request, json_answer, not_found
from billhook_lago.sandbox.bench import Bench
from billhook_lago.sandbox.calls import Call, Handler
from billhook_lago.sandbox.catalogue import Catalogue
from billhook_lago.sandbox.control import Control
from billhook_lago.sandbox.credit_notes import CreditNotes
from billhook_lago.sandbox.customers import Customers
from billhook_lago.sandbox.invoices import Invoices
from billhook_lago.sandbox.page import pdf
from billhook_lago.sandbox.payment_methods import PaymentMethods
from billhook_lago.sandbox.payments import Payments
from billhook_lago.sandbox.state import Account
from billhook_lago.sandbox.subscriptions import Subscriptions
from billhook_lago.sandbox.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

VERSION = "1.51.0"
"""The Lago release whose behaviour is played."""

_API = "/api/v1"
_PDF = re.compile(r"/files/invoices/([0-9a-f-]+)\.pdf")
_DOTTED_CUSTOMER = re.compile(r"/customers/[^/]*\.")
_RESET_SECONDS = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One API call as it came in; ``path`` is below ``/api/v1`` and decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]


class LagoSandbox(Bench):
    """A stateful Lago with one organisation.

    :param clock: the sandbox's time; nothing becomes due but by :meth:`tick`.
    :param hmac_key: the organisation's webhook key.
    :param signature_algo: ``hmac`` or ``jwt``, for the webhooks that go to ``post``.
    :param premium: whether the instance has a licence, without which payments and credit notes answer 403.
    :param post: how webhooks leave; None accepts them silently.
    :param tax_rate: percentage of tax on plans and add-ons.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        organization_id: str = "5a9d0000-0000-4000-8000-000000000001",
        api_key: str = "lago-sandbox-key",
        hmac_key: str = "lago-sandbox-hmac-key",
        signature_algo: str = "hmac",
        premium: bool = True,
        post: Post | None = None,
        webhook_url: str = "http://webhooks.invalid/",
        base_url: str = "http://lago.sandbox",
        tax_rate: float = 0.0,
    ) -> None:
        super().__init__(
            clock=clock,
            account=Account(
                organization_id=organization_id, base_url=base_url, premium=premium, tax_rate=tax_rate
            ),
            hmac_key=hmac_key,
            signature_algo=signature_algo,
            post=post,
            webhook_url=webhook_url,
        )
        self.faults = Faults()
        self.requests: list[RecordedRequest] = []
        self._api_key = api_key
        self._routes, self._handlers = _routes(self.world)
        self._control = Control(self, self.faults)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one WSGI request."""
        request = Request(environ)
        try:
            response = self._dispatch(request)
        except ApiError as error:
            response = error.answer()
        return response(environ, start_response)

    def _dispatch(self, request: Request) -> Response:
        if request.path == "/health":
            return json_answer({"version": VERSION, "message": "Success"})
        if request.path.startswith("/_sandbox/"):
            return self._control.answer(request)
        if file := _PDF.fullmatch(request.path):
            return self._file(file[1])
        if not request.path.startswith(f"{_API}/"):
            raise ApiError(404, code="resource_not_found")
        self.world.account.base_url = request.root_url.rstrip("/")
        return self._faulty(request)

    def _faulty(self, request: Request) -> Response:
        """Answer an API call the way the fault script says."""
        call, path = self._record(request)
        fault = self.faults.take(request.method, unquote(path))
        match fault.kind if fault else None:
            case None:
                return self._authorised(request, path, call)
            case FaultKind.SLOW:
                pause(_seconds(fault))
                return self._authorised(request, path, call)
            case FaultKind.LOST_ANSWER:
                self._do_and_forget(request, path, call)
                return _page(504, "Gateway Timeout")
            case FaultKind.RATE_LIMITED:
                return _rate_limited()
            case FaultKind.UNAVAILABLE:
                return _page(503, "Service Unavailable")
            case _:
                return json_answer({"status": 500, "error": "Internal Server Error"}, status=500)

    def _do_and_forget(self, request: Request, path: str, call: Call) -> None:
        try:
            self._authorised(request, path, call)
        except ApiError:
            return  # a refusal gets lost on the way like any other answer

    def _record(self, request: Request) -> tuple[Call, str]:
        path = _raw_path(request).removeprefix(_API)
        text = request.get_data(as_text=True)
        try:
            body = json.loads(text) if text else None
        except ValueError:
            body = text
        query = request.args.to_dict()
        recorded = RecordedRequest(
            method=request.method, path=unquote(path), query=query, body=body, headers=dict(request.headers)
        )
        with self.world.lock:
            self.requests.append(recorded)
        lists = {name: request.args.getlist(name) for name in request.args}
        return Call(args={}, query=query, lists=lists, body=body), path

    def _authorised(self, request: Request, path: str, call: Call) -> Response:
        words = request.headers.get("Authorization", "").split()
        if len(words) < 2 or words[1] != self._api_key:  # Lago takes the second word, whatever the first is
            raise ApiError(401)
        if isinstance(call.body, str):
            raise bad_request("Error occurred while parsing request parameters")
        handler, args = self._route(request.method, path)
        with self.world.lock:
            return handler(Call(args=args, query=call.query, lists=call.lists, body=call.body))

    def _route(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        if _DOTTED_CUSTOMER.match(path):  # Rails takes what follows a bare dot for a format; send %2E
            raise not_found("customer")
        try:
            name, args = self._routes.bind("lago").match(path.rstrip("/"), method=method)
        except HTTPException as exc:
            raise ApiError(404, code="resource_not_found") from exc
        return self._handlers[str(name)], {key: unquote(value) for key, value in args.items()}

    def _file(self, invoice_id: str) -> Response:
        with self.world.lock:
            invoice = self.world.ledger.invoice(invoice_id)
            if invoice is None or not invoice.has_file:
                raise not_found("invoice")
            return Response(pdf(f"Invoice {invoice.number}"), content_type="application/pdf")


def _routes(world: World) -> tuple[Map, dict[str, Handler]]:
    groups = (
        Customers, PaymentMethods, Catalogue, Subscriptions, Invoices, Payments, CreditNotes, AccountEndpoints,
    )  # fmt: skip
    rules = [rule for group in groups for rule in group(world).rules()]
    handlers = {f"{method} {path}": handler for method, path, handler in rules}
    table = [Rule(path, methods=[method], endpoint=f"{method} {path}") for method, path, _ in rules]
    return Map(table, merge_slashes=False, strict_slashes=False), handlers


def _raw_path(request: Request) -> str:
    """Return the path below the mount, still percent-encoded, so that an encoded slash stays inside its part."""
    raw = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI")
    path = str(raw).partition("?")[0] if raw else quote(request.root_path + request.path)
    return path.removeprefix(quote(request.root_path.rstrip("/")))


def _seconds(fault: Fault | None) -> float:
    return fault.seconds if fault else 0.0


def _rate_limited() -> Response:
    response = json_answer({"status": 429, "error": "Too Many Requests"}, status=429)
    response.headers["x-ratelimit-limit"] = "50"
    response.headers["x-ratelimit-remaining"] = "0"
    response.headers["x-ratelimit-reset"] = _RESET_SECONDS
    return response


def _page(status: int, title: str) -> Response:
    """Return what a load balancer in front of Lago says: HTML, not JSON."""
    return Response(
        f"<html><body><h1>{status} {title}</h1></body></html>", status=status, content_type="text/html"
    )
