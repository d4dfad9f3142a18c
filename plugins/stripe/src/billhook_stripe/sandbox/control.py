"""The control panel under ``/_sandbox/``: what Python callers can do, over HTTP, for people and other processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from html import escape
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from billhook.testing.sandbox import Fault, FaultKind

from .cards import GOOD, TEST_CARDS
from .desk import Desk
from .errors import Json, invalid
from .forms import Shape

_SECONDS = ("debit_delay", "refund_delay", "search_delay")
BODIES: Final[dict[str, Shape]] = {
    "pay": {"intent": str, "card": str},
    "authenticate": {"intent": str, "success": bool},
    "add_method": {"customer": str, "card": str, "default": bool},
    "refund": {"intent": str, "amount": int},
    "dispute": {"intent": str, "amount": int},
    "close_dispute": {"dispute": str, "status": str},
    "resend": {"event": str},
    "faults": {"kind": str, "method": str, "path": str, "times": int, "seconds": int},
    "webhooks": {"hold": bool, "drop": int, "duplicate": int, "reverse": bool},
    "settings": dict.fromkeys(_SECONDS, int),
    "tick": {},
}


class ControlPanel:
    """Serves ``GET /_sandbox/`` (a page), ``GET /_sandbox/state`` and one POST per control, with a JSON body."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def answer(self, request: Request) -> Response:
        """Return the page, the state, or the outcome of a control; raises ApiError for what is not there."""
        name = request.path.removeprefix("/_sandbox").strip("/")
        match request.method, name:
            case "GET", "":
                return Response(self._page(), mimetype="text/html")
            case "GET", "state":
                return _json(self._state())
            case "DELETE", "faults":
                self._desk.faults.clear()
                return _json({})
            case "POST", _ if name in BODIES:
                return _json(self._do(name, _body(request, BODIES[name])))
            case _:
                raise invalid(f"No control {request.method} {request.path}", status=404)

    def _do(self, name: str, body: Json) -> Json:
        desk = self._desk
        controls: dict[str, Callable[..., Json | None]] = {
            "pay": lambda intent, card=GOOD: desk.pay(intent, card=_card(card)),
            "authenticate": desk.authenticate,
            "add_method": lambda customer, card=GOOD, default=False: desk.add_method(
                customer, card=_card(card), default=default
            ),
            "refund": desk.refund,
            "dispute": desk.dispute,
            "close_dispute": desk.close_dispute,
            "resend": desk.resend,
            "faults": self._faults,
            "webhooks": self._webhooks,
            "settings": self._settings,
            "tick": self._tick,
        }
        try:
            return controls[name](**body) or {}
        except (TypeError, LookupError):
            raise invalid(f"{name} takes {', '.join(BODIES[name])}, and something in it is missing") from None

    def _faults(
        self, kind: str, method: str | None = None, path: str = "", times: int = 1, seconds: int = 0
    ) -> None:
        if kind not in list(FaultKind):
            raise invalid(f"kind must be one of {', '.join(FaultKind)}", param="kind")
        self._desk.faults.add(
            Fault(kind=FaultKind(kind), method=method, path=path, times=times, seconds=float(seconds))
        )

    def _webhooks(
        self, hold: bool | None = None, drop: int = 0, duplicate: int = 0, reverse: bool = False
    ) -> Json:
        sender = self._desk.sender
        if sender is None:
            raise invalid("The sandbox was started without a webhook URL", status=409)
        sender.hold = sender.hold if hold is None else hold
        sender.drop += drop
        sender.duplicate += duplicate
        if reverse:
            sender.reverse()
        return {
            "hold": sender.hold,
            "drop": sender.drop,
            "duplicate": sender.duplicate,
            "waiting": sender.waiting(),
        }

    def _settings(self, **seconds: int) -> Json:
        for name, value in seconds.items():
            setattr(self._desk.settings, name, timedelta(seconds=value))
        return {name: getattr(self._desk.settings, name).total_seconds() for name in _SECONDS}

    def _tick(self) -> Json:
        return {"answered": self._desk.tick(), "delivered": self._desk.deliver_webhooks()}

    def _state(self) -> Json:
        desk = self._desk
        return {
            "customers": desk.customers,
            "payment_intents": desk.intents,
            "charges": desk.charges,
            "refunds": desk.refunds,
            "disputes": desk.disputes,
            "events": [{"id": each["id"], "type": each["type"]} for each in desk.events],
            "requests": len(desk.requests),
        }

    def _page(self) -> str:
        state = self._state()
        tables = (
            _table("PaymentIntents", state["payment_intents"], "id status amount currency customer"),
            _table("Charges", state["charges"], "id status amount currency failure_code payment_intent"),
            _table("Customers", [each for each in state["customers"] if "email" in each], "id email name"),
            _table("Refunds", state["refunds"], "id status amount currency payment_intent"),
            _table("Disputes", state["disputes"], "id status amount currency payment_intent"),
            _table("Events", state["events"], "id type"),
        )
        numbers = ", ".join(sorted(TEST_CARDS))
        body = f"<h1>Stripe sandbox</h1><p><small>Test cards and accounts: {numbers}</small></p>{''.join(tables)}"
        return document("Stripe sandbox", body)


def document(title: str, body: str) -> str:
    """Return a whole HTML page; ``body`` is HTML already."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="data:text/css,{_STYLE}"></head>'
        f"<body><main>{body}</main></body></html>"
    )


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%25}td,th{text-align:left;padding:.25rem .5rem}"
    "button{font:inherit;padding:.5rem 1rem;margin:.25rem}"
)


def _table(title: str, rows: list[Json], columns: str) -> str:
    names = columns.split()
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(str(row[name] or ''))}</td>" for name in names) + "</tr>"
        for row in rows[::-1]
    )
    return f"<h2>{title} ({len(rows)})</h2><table><tr>{head}</tr>{lines}</table>"


def _card(number: str) -> str:
    if number not in TEST_CARDS:
        raise invalid("This is no test card; the sandbox takes test cards only", param="card")
    return number


def _body(request: Request, shape: Shape) -> Json:
    try:
        body: Any = json.loads(request.get_data() or b"{}")
    except ValueError:
        raise invalid("The body is not JSON") from None
    if not isinstance(body, dict):
        raise invalid("The body is not a JSON object")
    for name, value in body.items():
        if name not in shape or type(value) is not shape[name]:
            allowed = ", ".join(f"{each} ({kind.__name__})" for each, kind in shape.items())
            raise invalid(
                f"{name} is not known or of another type; allowed: {allowed or 'nothing'}", param=name
            )
    return body


def _json(content: Json) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), mimetype="application/json")
