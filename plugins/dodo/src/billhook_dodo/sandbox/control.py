"""The control panel under ``/_sandbox/``: what Python callers can do, over HTTP, for people and other processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from html import escape
from typing import Any

from werkzeug.wrappers import Request, Response

from billhook.testing.sandbox import Fault, FaultKind

from . import cards
from .desk import Desk
from .errors import ApiError, invalid_body
from .pages import document
from .records import Json
from .schema import Check, anything, boolean, integer, metadata, nullable, one_of, record, text

_id = text()
_amount = nullable(integer(least=1))
_seconds = integer(most=86_400 * 365)
BODIES: dict[str, Check] = {
    "pay": record(required={"session_id": _id}, optional={"card": _id, "amount": _amount, "save": boolean}),
    "decline": record(required={"session_id": _id}, optional={"code": _id}),
    "refund": record(required={"payment_id": _id}, optional={"amount": _amount}),
    "dispute": record(
        optional={"payment_id": _id, "amount": _amount, "dispute_id": _id, "outcome": _id, "rdr": boolean}
    ),
    "flip": record(required={"payment_id": _id}, optional={"code": _id}),
    "mandate": record(
        optional={"customer_id": _id, "email": _id, "metadata": metadata, "currency": _id, "card": _id}
    ),
    "card": record(required={"subscription_id": _id, "card": _id}),
    "faults": record(
        required={"kind": one_of(*FaultKind)},
        optional={"method": _id, "path": _id, "times": integer(least=1), "seconds": anything},
    ),
    "webhooks": record(
        optional={"hold": boolean, "drop": integer(), "duplicate": integer(), "reverse": boolean}
    ),
    "settings": record(
        optional={
            "tax_rate_percent": integer(most=100),
            "adaptive_currency": boolean,
            "adaptive_fee_percent": integer(most=100),
            "settlement_currency": nullable(_id),
            "charge_delay": _seconds,
            "refund_delay": _seconds,
            "refund_outcome": one_of("succeeded", "failed", "review"),
        }
    ),
    "tick": record(),
}


class ControlPanel:
    """Serves ``GET /_sandbox/`` (a page), ``GET /_sandbox/state`` and one POST per control."""

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
                raise ApiError(404, "NOT_FOUND", f"No control {request.method} {request.path}")

    def _do(self, name: str, body: Json) -> Json:
        desk = self._desk
        controls: dict[str, Callable[..., Json]] = {
            "pay": desk.pay,
            "decline": desk.decline,
            "refund": desk.refund,
            "dispute": self._dispute,
            "flip": desk.flip,
            "mandate": desk.authorise_mandate,
            "card": self._card,
            "faults": self._faults,
            "webhooks": self._webhooks,
            "settings": self._settings,
            "tick": self._tick,
        }
        return controls[name](**body)

    def _card(self, subscription_id: str, card: str) -> Json:
        self._desk.set_card(subscription_id, card)
        return {}

    def _tick(self) -> Json:
        self._desk.tick()
        return {"delivered": self._desk.deliver_webhooks()}

    def _faults(self, **body: Any) -> Json:
        self._desk.faults.add(_fault(body))
        return {}

    def _dispute(self, **body: Any) -> Json:
        if "dispute_id" in body and "outcome" in body:
            rdr = bool(body.get("rdr"))
            return self._desk.dispute_event(body["dispute_id"], body["outcome"], rdr=rdr)
        if "payment_id" not in body:
            raise invalid_body("", "payment_id, or dispute_id and outcome, are required")
        return self._desk.dispute(body["payment_id"], body.get("amount"))

    def _webhooks(self, **body: Any) -> Json:
        sender = self._desk.sender
        if sender is None:
            raise ApiError(409, "NO_ENDPOINT", "The sandbox was started without a webhook URL")
        sender.hold = body.get("hold", sender.hold)
        sender.drop += body.get("drop", 0)
        sender.duplicate += body.get("duplicate", 0)
        if body.get("reverse"):
            sender.reverse()
        return {
            "hold": sender.hold,
            "drop": sender.drop,
            "duplicate": sender.duplicate,
            "waiting": sender.waiting(),
        }

    def _settings(self, **body: Any) -> Json:
        settings = self._desk.settings
        for name, value in body.items():
            is_delay = name.endswith("_delay")
            setattr(settings, name, timedelta(seconds=value) if is_delay else value)
        return {name: _plain(value) for name, value in asdict(settings).items()}

    def _state(self) -> Json:
        desk = self._desk
        return {
            "checkouts": desk.checkouts,
            "payments": desk.payments,
            "refunds": desk.refunds,
            "disputes": desk.disputes,
            "subscriptions": desk.subscriptions,
            "webhooks": desk.webhooks,
            "requests": len(desk.requests),
        }

    def _page(self) -> str:
        state = self._state()
        parts = (
            _table(
                "Checkouts", state["checkouts"], "session_id checkout_url consumed payment_id payment_status"
            ),
            _table(
                "Payments",
                state["payments"],
                "payment_id status total_amount currency charge_type error_code",
            ),
            _table("Refunds", state["refunds"], "refund_id payment_id status amount currency is_partial"),
            _table("Disputes", state["disputes"], "dispute_id payment_id dispute_status amount currency"),
            _table("Subscriptions", state["subscriptions"], "subscription_id status on_demand currency"),
            _table("Webhooks", state["webhooks"], "type webhook_id attempts statuses"),
        )
        test_cards = ", ".join(sorted(cards.TEST_CARDS))
        body = f"<h1>Dodo sandbox</h1><p><small>Test cards: {test_cards}</small></p>{''.join(parts)}"
        return document("Dodo sandbox", body, wide=True)


def _table(title: str, rows: list[Json], columns: str) -> str:
    names = columns.split()
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = "".join(
        "<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name in names) + "</tr>" for row in rows[::-1]
    )
    return f"<h2>{title} ({len(rows)})</h2><table><tr>{head}</tr>{lines}</table>"


def _cell(value: Any) -> str:
    shown = escape("" if value is None else str(value))
    return f'<a href="{shown}">{shown}</a>' if shown.startswith("http") else shown


def _fault(body: Json) -> Fault:
    seconds = body.get("seconds", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 600:
        raise invalid_body("seconds", "must be a number from 0 to 600")
    return Fault(
        kind=FaultKind(body["kind"]),
        method=body.get("method"),
        path=body.get("path", ""),
        times=body.get("times", 1),
        seconds=float(seconds),
    )


def _body(request: Request, check: Check) -> Json:
    try:
        body = json.loads(request.get_data() or b"{}")
    except ValueError:
        raise ApiError(400, "INVALID_REQUEST_BODY", "The body is not JSON") from None
    check(body, "")
    if not isinstance(body, dict):
        raise invalid_body("", "expected an object")
    return body


def _plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _json(content: Json) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), mimetype="application/json")
