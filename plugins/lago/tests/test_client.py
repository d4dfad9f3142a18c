"""How Lago's answers become errors that say what to do, and its pages one stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from billhook.errors import BillhookError, Conflict, NotFound, Permanent, Refused, Temporary, Unsupported
from billhook.hookspecs import ConnectionContext
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.client import LagoClient, lago_client
from billhook_lago.sandbox import LagoSandbox

Connect = Callable[..., ConnectionContext]


class Scripted:
    """A server that gives the next answer of a script and remembers what it was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING")
        self.asked.append(environ["PATH_INFO"] + (f"?{query}" if query else ""))
        status, body = self.answers.pop(0)
        start_response(f"{status} Said", [("Content-Type", "application/json")])
        return [body if isinstance(body, bytes) else json.dumps(body).encode()]


def _says(connect: Connect, status: int, body: Any) -> LagoClient:
    return lago_client(connect(app=Scripted((status, body))))


@pytest.mark.parametrize(
    ("status", "body", "error", "code", "field"),
    [
        (403, {"code": "feature_unavailable"}, Unsupported, "feature_unavailable", None),
        (
            403,
            {"code": "write_action_not_allowed_for_invoice"},
            Refused,
            "write_action_not_allowed_for_invoice",
            None,
        ),
        (404, {"code": "invoice_not_found"}, NotFound, "invoice_not_found", None),
        (405, {"code": "not_voidable"}, Refused, "not_voidable", None),
        (
            422,
            {"code": "validation_errors", "error_details": {"currency": ["currencies_does_not_match"]}},
            Conflict,
            "currencies_does_not_match",
            "currency",
        ),
        (422, {"code": "provider_error", "error_details": {"message": "x"}}, Refused, "provider_error", None),
        (422, {"code": "validation_errors", "error_details": "?"}, Refused, "validation_errors", None),
    ],
)
def test_a_refusal_is_typed_by_its_code(
    connect: Connect, status: int, body: Any, error: type[Refused], code: str, field: str | None
) -> None:
    with pytest.raises(Refused) as caught:
        _says(connect, status, body).get("things")
    assert (type(caught.value), caught.value.code, caught.value.field) == (error, code, field)


@pytest.mark.parametrize("status", [400, 409, 418])
def test_an_answer_we_caused_by_mistake_is_permanent(connect: Connect, status: int) -> None:
    with pytest.raises(Permanent, match=str(status)):
        _says(connect, status, {"error": "BadRequest: param is missing"}).get("things")


def test_a_refused_key_names_the_variables_to_look_at(connect: Connect) -> None:
    context = connect(app=Scripted((401, {"status": 401, "error": "Unauthorized"})), name="lago-eu")
    with pytest.raises(Permanent, match="LAGO_EU_API_KEY and LAGO_EU_API_URL"):
        lago_client(context).get("organizations")


def test_a_refusal_quotes_codes_and_no_values(connect: Connect) -> None:
    details = {"email": ["ada@acme.example is not valid", "invalid_email_format"]}
    body = {"code": "validation_errors", "error_details": details}
    with pytest.raises(Conflict) as caught:
        _says(connect, 422, body).get("customers")
    assert str(caught.value) == "Lago does not take email: invalid_email_format"


@pytest.mark.parametrize(
    ("answer", "message"),
    [(b"<html>", "is not JSON"), (b"[1]", "not a JSON object"), (b"null", "not a JSON object")],
)
def test_an_answer_that_is_not_lagos_is_permanent(connect: Connect, answer: bytes, message: str) -> None:
    with pytest.raises(Permanent, match=message):
        _says(connect, 200, answer).get("things")


def test_an_empty_answer_is_an_empty_object(connect: Connect) -> None:
    assert _says(connect, 200, b"").post("invoices", "1", "download") == {}


def test_pages_follow_next_page_and_not_the_count(connect: Connect) -> None:
    first = {"plans": [{"code": "a"}], "meta": {"next_page": 2, "total_count": 1}}
    second = {"plans": [{"code": "b"}], "meta": {"next_page": None, "total_count": 1}}
    server = Scripted((200, first), (200, second))
    assert [row["code"] for row in lago_client(connect(app=server)).pages("plans", "plans")] == ["a", "b"]
    assert server.asked == ["/api/v1/plans?page=1&per_page=100", "/api/v1/plans?page=2&per_page=100"]


def test_pages_that_lead_back_end(connect: Connect) -> None:
    page = {"plans": [{"code": "a"}], "meta": {"next_page": 1}}
    assert len(list(lago_client(connect(app=Scripted((200, page)))).pages("plans", "plans"))) == 1


def test_a_list_that_is_none_is_permanent_and_not_empty(connect: Connect) -> None:
    answers: list[Any] = [{}, {"meta": {}}, {"plans": [1], "meta": {}}, {"plans": [], "meta": 7}]
    for answer in answers:
        with pytest.raises(Permanent, match="plans|meta"):
            list(_says(connect, 200, answer).pages("plans", "plans"))


def test_a_list_that_says_nothing_of_pages_is_one_page(connect: Connect) -> None:
    assert list(_says(connect, 200, {"plans": [{"code": "a"}]}).pages("plans", "plans")) == [{"code": "a"}]


def test_an_id_with_dots_and_slashes_stays_one_segment(connect: Connect, base_url: str) -> None:
    client = lago_client(
        connect(app=None, api_url=base_url)
    )  # over the wire: in process a path comes unquoted
    odd = "../acct.1/x?y"
    client.post("customers", body={"customer": {"external_id": odd}})
    assert client.get("customers", odd)["customer"]["external_id"] == odd


def test_the_key_is_sent_and_shows_in_no_text(connect: Connect, sandbox: LagoSandbox) -> None:
    client = lago_client(connect())
    client.get("organizations")
    assert sandbox.requests[-1].headers["Authorization"] == "Bearer lago-sandbox-key"
    with pytest.raises(BillhookError) as caught:
        client.get("customers", "lago-sandbox-key")
    assert "lago-sandbox-key" not in f"{caught.value} {client!r}"


@pytest.mark.parametrize("kind", [FaultKind.ERROR, FaultKind.UNAVAILABLE, FaultKind.RATE_LIMITED])
def test_no_call_is_repeated(connect: Connect, sandbox: LagoSandbox, kind: FaultKind) -> None:
    sandbox.faults.add(Fault(kind))
    with pytest.raises(Temporary):
        lago_client(connect()).get("organizations")
    assert len(sandbox.requests) == 1


def test_a_file_is_asked_for_in_the_form_lago_answers_itself(connect: Connect) -> None:
    server = Scripted((200, b"%PDF"))
    url = "http://lago.sandbox/rails/active_storage/blobs/redirect/abc--1/INV%201.pdf?disposition=inline"
    assert lago_client(connect(app=server)).file(url) == b"%PDF"
    assert server.asked == ["/rails/active_storage/blobs/proxy/abc--1/INV 1.pdf?disposition=inline"]


@pytest.mark.parametrize(
    "url", ["http://elsewhere.example/f.pdf", "http://lago.sandbox:81/f.pdf", "http://x:y/f"]
)
def test_a_file_on_another_host_is_not_fetched(connect: Connect, url: str) -> None:
    server = Scripted()
    with pytest.raises(Refused, match="LAGO_API_URL"):
        lago_client(connect(app=server)).file(url)
    assert server.asked == []
