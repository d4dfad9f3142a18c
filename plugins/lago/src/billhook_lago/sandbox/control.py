"""The control surface under ``/_sandbox/``: what no Lago API offers but a test, the demo or a person with curl needs.

It needs no API key and takes no part in faults. ``GET /_sandbox/`` is a page to look at.
"""

from __future__ import annotations

from werkzeug.wrappers import Request, Response

from billhook.testing.sandbox import Fault, FaultKind, Faults
from billhook_lago.sandbox.answers import ApiError, bad_request, json_answer
from billhook_lago.sandbox.bench import Bench
from billhook_lago.sandbox.page import overview
from billhook_lago.sandbox.state import Json


class Control:
    """Answers requests under ``/_sandbox/``."""

    def __init__(self, bench: Bench, faults: Faults) -> None:
        self._bench = bench
        self._faults = faults

    def answer(self, request: Request) -> Response:
        """Dispatch one request.

        :raises ApiError: 400 for a body that cannot be used, 404 for a path that is not there.
        """
        match request.method, request.path.removeprefix("/_sandbox/").rstrip("/"):
            case "GET", "":
                return Response(overview(self._bench.state()), content_type="text/html; charset=utf-8")
            case "GET", "state":
                return json_answer(self._bench.state())
            case "POST", "tick":
                happened = self._bench.tick()
                return json_answer({"happened": happened, "attempts": self._bench.deliver_webhooks()})
            case "POST", "plans" | "invoices" | "faults" as what:
                return self._make(what, _body(request))
            case "DELETE", "faults":
                self._faults.clear()
                return json_answer({})
            case _:
                raise ApiError(404, code="resource_not_found")

    def _make(self, what: str, body: Json) -> Response:
        try:
            match what:
                case "plans":
                    return json_answer(self._bench.add_plan(**body))
                case "invoices":
                    return json_answer(self._bench.issue_invoice(**body))
                case _:
                    self._faults.add(Fault(**{**body, "kind": FaultKind(body["kind"])}))
                    return json_answer({})
        except (KeyError, TypeError, ValueError) as exc:
            raise bad_request(str(exc)) from exc


def _body(request: Request) -> Json:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise bad_request("send a JSON object")
    return body
