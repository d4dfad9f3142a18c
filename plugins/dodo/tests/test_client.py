"""How Dodo's answers become typed outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from billhook.errors import Conflict, NotFound, OutcomeUnknown, Permanent, Refused, Temporary
from billhook_dodo.client import connect

Answers = Callable[[Request], Response]


def app_of(answer: Answers) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        return answer(Request(environ))(environ, start_response)

    return app


@pytest.fixture
def answering(context):
    """An API that gives one answer to everything."""

    def make(status: int, body: object, *, mode: str = "test"):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return connect(context(app=app_of(lambda _: Response(raw, status=status)), mode=mode))

    return make


def test_an_object_comes_back_as_it_is(answering):
    assert answering(200, {"payment_id": "pay_1"}).get("payments", "pay_1") == {"payment_id": "pay_1"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_accepted_names_the_variable_and_the_mode(answering, status: int):
    api = answering(status, {"code": "UNAUTHORIZED", "message": "no"}, mode="live")
    with pytest.raises(Permanent, match=r"DODO_API_KEY.*live mode"):
        api.get("payments")


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "PAYMENT_NOT_FOUND", NotFound),
        (409, "CHECKOUT_SESSION_CONSUMED", Conflict),
        (422, "UNSUPPORTED_CURRENCY", Refused),
        (400, "PRODUCT_CART_EMTPY", Refused),
        (410, "CHECKOUT_SESSION_EXPIRED", Refused),
    ],
)
def test_a_no_carries_dodos_code(answering, status: int, code: str, error: type[Refused]):
    with pytest.raises(error) as caught:
        answering(status, {"code": code, "message": "because"}).get("payments", "x")
    assert caught.value.code == code


@pytest.mark.parametrize("code", ["PREVIOUS_PAYMENT_PENDING", "EXISTING_REFUND_REQUEST_PROCESSING"])
@pytest.mark.parametrize("status", [400, 409, 422])
def test_one_in_flight_is_waited_for_whatever_the_status(answering, code: str, status: int):
    with pytest.raises(Temporary) as caught:
        answering(status, {"code": code, "message": "wait"}).post("refunds", json={}, moves_money=True)
    assert caught.value.retry_after == timedelta(minutes=10)


def test_a_no_without_a_body_still_says_something(answering):
    with pytest.raises(Refused, match="HTTP_418"):
        answering(418, b"").get("payments")


def test_an_address_in_dodos_words_is_not_passed_on(answering):
    with pytest.raises(Refused) as caught:
        answering(422, {"code": "X", "message": "a@example.com is blocked"}).get("payments")
    assert "a@example.com" not in str(caught.value)
    assert "is blocked" in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"1"])
def test_an_answer_that_is_no_object_leaves_a_charge_open(answering, body: bytes):
    with pytest.raises(OutcomeUnknown):
        answering(200, body).post("refunds", json={}, moves_money=True)
    with pytest.raises(Permanent):
        answering(200, body).get("payments")


def test_a_list_is_read_to_its_end(context):
    rows = [{"payment_id": f"pay_{number}"} for number in range(250)]

    def page(request: Request) -> Response:
        start = int(request.args["page_number"]) * int(request.args["page_size"])
        return Response(json.dumps({"items": rows[start : start + int(request.args["page_size"])]}))

    assert list(connect(context(app=app_of(page))).pages("payments")) == rows


def test_a_list_without_end_is_not_taken_for_a_complete_one(answering):
    endless = {"items": [{"payment_id": "pay_1"}] * 100}
    with pytest.raises(Temporary, match="narrow the time"):
        list(answering(200, endless).pages("payments"))


def test_the_key_is_sent_and_never_shown(context):
    seen: list[str | None] = []

    def answer(request: Request) -> Response:
        seen.append(request.headers.get("Authorization"))
        return Response(json.dumps({"code": "X", "message": "no"}), status=422)

    api = connect(context(app=app_of(answer), api_key="key_very_secret_1"))
    with pytest.raises(Refused) as caught:
        api.get("payments")
    assert seen == ["Bearer key_very_secret_1"]
    assert "key_very_secret_1" not in f"{caught.value}{api!r}"
