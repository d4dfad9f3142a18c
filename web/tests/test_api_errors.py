"""Under /api every error is a problem; elsewhere pages stay pages."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from billhook.errors import (
    BillhookError,
    Conflict,
    NotFound,
    OutcomeUnknown,
    Permanent,
    Refused,
    Temporary,
    Unsupported,
)
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.services.breaker import FIRST_PAUSE, TOLERATED

from .conftest import BOOTSTRAP_KEY, ENGINE_SECRET, make_runtime


def test_an_unknown_route_of_the_api_is_a_problem(api) -> None:
    answer = api.client.get("/api/v1/nothing")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answer.get_json(force=True)["request_id"] == answer.headers["X-Request-Id"]


def test_an_unknown_page_stays_a_page(api) -> None:
    answer = api.client.get("/nothing")
    assert answer.status_code == 404
    assert answer.content_type.startswith("text/html")
    assert answer.headers["X-Request-Id"]


def test_no_answer_of_the_api_may_be_kept_by_a_cache(api) -> None:
    assert api.answer("GET", "/customers").headers["Cache-Control"] == "no-store"
    assert api.answer("GET", "/customers/nobody").headers["Cache-Control"] == "no-store"


def test_a_wrong_method_says_which_are_allowed(api) -> None:
    answer = api.client.delete("/api/v1/customers")
    assert (answer.status_code, answer.content_type) == (405, "application/problem+json")
    assert {"GET", "HEAD", "OPTIONS"} == set(answer.headers["Allow"].split(", "))
    assert api.client.get("/webhooks/acme").headers["Allow"]


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (NotFound("no such plan"), 404, {"title": "Not Found"}),
        (Conflict("it is ended", code="ended", field="plan"), 409, {"field": "plan", "code": "ended"}),
        (Unsupported("needs a licence"), 409, {"title": "Not supported"}),
        (Refused("not today", code="closed"), 409, {"title": "Refused", "code": "closed"}),
        (
            Refused("no such plan", field="plan"),
            422,
            {"errors": [{"field": "plan", "message": "no such plan"}]},
        ),
        (Temporary("it is down"), 503, {"title": "Try again"}),
        (OutcomeUnknown("no answer"), 504, {"title": "Outcome unknown"}),
        (Permanent("the key is wrong"), 502, {"title": "Provider failed"}),
    ],
)
def test_how_a_call_of_a_provider_ended_is_told(api, engine, raised, status, said) -> None:
    engine.refusal = raised
    problem = api.refused("GET", "/plans?connection=acme", status)
    assert said.items() <= problem.items()


def test_a_provider_that_says_when_to_come_back_is_passed_on(api, engine) -> None:
    engine.refusal = Temporary("slow down", retry_after=timedelta(seconds=42))
    assert api.answer("GET", "/plans").headers["Retry-After"] == "42"
    engine.refusal = Temporary("slow down")
    assert int(api.answer("GET", "/plans").headers["Retry-After"]) > 0


def test_a_provider_that_is_down_is_left_alone_and_the_caller_told_at_once(api, engine) -> None:
    for _ in range(TOLERATED):
        engine.refusal = Temporary("connection refused")
        api.refused("GET", "/plans", 503)
    asked = len(engine.asked)
    answer = api.answer("GET", "/plans")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert 0 < int(answer.headers["Retry-After"]) <= FIRST_PAUSE.total_seconds()
    assert len(engine.asked) == asked
    assert api.get("/invoices")["data"] == [], "what needs no provider is answered as ever"


def test_an_unknown_outcome_says_how_to_go_on(api, engine) -> None:
    engine.refusal = OutcomeUnknown("no answer")
    assert "read the thing again" in api.refused("GET", "/plans", 504)["detail"]


def test_what_a_provider_said_is_redacted(api, engine) -> None:
    engine.refusal = Permanent(f"key {ENGINE_SECRET} is wrong")
    assert ENGINE_SECRET not in str(api.refused("GET", "/plans", 502))


def test_an_error_nobody_foresaw_is_500_without_details_and_with_a_place_in_the_log(api, engine) -> None:
    engine.refusal = RuntimeError("customer ada@acme.example broke it")
    with structlog.testing.capture_logs() as logs:
        problem = api.refused("GET", "/plans", 500)
    assert "ada@" not in str(problem)
    (line,) = [each for each in logs if each["event"] == "request.failed"]
    assert line["error"] == "RuntimeError"
    assert any("_note" in where for where in line["where"])
    assert "ada@" not in str(logs)


def test_an_error_of_the_tree_without_a_meaning_of_its_own_is_500(api, engine) -> None:
    engine.refusal = BillhookError("odd")
    assert "odd" not in str(api.refused("GET", "/plans", 500))


def test_a_database_that_does_not_answer_is_503_with_retry_after(tmp_path: Path) -> None:
    runtime = make_runtime(f"sqlite:///{tmp_path / 'missing' / 'b.sqlite3'}", "acme")
    client = create_app(runtime, Wake(runtime)).test_client()
    answer = client.get("/api/v1/customers", headers={"Authorization": f"Bearer {BOOTSTRAP_KEY}"})
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    runtime.close()


@pytest.mark.parametrize(
    ("sent", "kept"), [("proxy-0001", True), ("x y", False), ("a" * 65, False), ("", False)]
)
def test_a_sensible_request_id_is_kept_and_any_other_replaced(api, sent: str, kept: bool) -> None:
    answer = api.client.get("/api/v1/customers", headers={"X-Request-Id": sent})
    assert (answer.headers["X-Request-Id"] == sent) is kept
    assert answer.headers["X-Request-Id"]
    assert "request_id" not in structlog.contextvars.get_contextvars()


def test_the_server_around_us_may_have_named_the_request(api) -> None:
    with structlog.contextvars.bound_contextvars(request_id="outer"):
        answer = api.client.get("/api/v1/nothing")
    assert answer.get_json(force=True)["request_id"] == "outer"
    assert "X-Request-Id" not in answer.headers, "whoever named it sends it"


def test_the_log_of_a_request_has_its_route_and_no_id_of_a_person(api) -> None:
    with structlog.testing.capture_logs() as logs:
        api.ok("PUT", "/customers/ada@acme.example", body={"name": "Ada"}, status=201)
    (line,) = [each for each in logs if each["event"] == "api.answered"]
    assert (line["method"], line["status"]) == ("PUT", 201)
    assert "ada" not in str(logs).lower()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("since=yesterday", "since"),
        ("since=2026-09-01T09:00:00", "since"),
        ("until=0001-01-01T00:00:00%2B14:00", "until"),
        ("until=2026-13-01", "until"),
        ("cursor=nonsense", "cursor"),
        ("cursor=bnVsbA", "cursor"),
        ("cursor=%00", "cursor"),
        ("colour=red", "colour"),
        ("customer=a%00", "customer"),
    ],
)
@pytest.mark.parametrize("path", ["/invoices", "/payments", "/effects"])
def test_a_query_that_cannot_be_used_names_its_field(api, path: str, query: str, field: str) -> None:
    assert [each["field"] for each in api.refused("GET", f"{path}?{query}", 422)["errors"]] == [field]


def test_several_wrong_fields_of_a_query_are_all_named(api) -> None:
    problem = api.refused("GET", "/invoices?limit=0&status=open&statuses=x", 422)
    assert {each["field"] for each in problem["errors"]} == {"limit", "status", "statuses"}
    (status,) = [each for each in problem["errors"] if each["field"] == "status"]
    assert "succeeded" in status["allowed"]


def test_a_cursor_of_another_kind_of_list_is_refused(api) -> None:
    for number in range(2):
        api.ok("PUT", f"/customers/{number}", body={}, status=201)
    by_time = api.get("/customers?limit=1")["next_cursor"]
    by_number = api.get("/effects?limit=1")["next_cursor"]
    api.refused("GET", f"/effects?cursor={by_time}", 422)
    api.refused("GET", f"/customers?cursor={by_number}", 422)
    assert [each["id"] for each in api.get(f"/customers?cursor={by_time}")["data"]] == ["0"]
