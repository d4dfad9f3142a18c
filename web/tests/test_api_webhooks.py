"""Webhook endpoints through the API and the command line: what is shown, what is refused, what is noted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from billhook.http import Answer
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.cli import main
from billhook_web.doctor import receivers as doctor
from billhook_web.metrics import exposition
from billhook_web.runtime import Runtime
from billhook_web.sealing import new_key
from billhook_web.services.publishing import publish
from billhook_web.stores import audit, endpoints, webhook_log

from .conftest import START, Api, make_runtime

URL = "https://hooks.example.com/billing"


@pytest.fixture
def key() -> str:
    return new_key()


class Answering:
    """Takes webhooks, and answers each as it was told to."""

    def __init__(self) -> None:
        self.answer = Answer(status=200, headers={}, body=b"")

    def __call__(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        return self.answer


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def sealed(tmp_path: Path, empty_database: Path, key: str, answering: Answering) -> Iterator[Runtime]:
    path = shutil.copy(empty_database, tmp_path / "sealed.sqlite3")
    made = make_runtime(f"sqlite:///{path}", "", post=answering, BILLHOOK_SECRET_KEY=key)
    yield made
    made.close()


@pytest.fixture
def hooks(sealed: Runtime) -> Api:
    return Api(sealed, create_app(sealed, Wake(sealed)))


def happen(runtime: Runtime, *numbers: int, customer: str = "c1") -> None:
    for number in numbers:
        with runtime.db.begin() as tx:
            publish(
                tx, type="access.changed", customer_id=customer, data={"n": number}, now=runtime.clock.now()
            )


@pytest.fixture
def attempt(sealed: Runtime, answering: Answering) -> Callable[..., None]:
    """Lets one attempt be made, and be answered so."""

    def made(endpoint_id: int, status: int, body: bytes = b"") -> None:
        answering.answer = Answer(status=status, headers={}, body=body)
        sealed.dispatcher.work(endpoint_id)

    return made


def create(hooks: Api, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = hooks.ok("POST", "/webhook-endpoints", body={"url": URL, **more}, status=201)
    return made


def test_a_secret_is_shown_once_and_stored_sealed(hooks: Api, sealed: Runtime) -> None:
    made = create(hooks, description="the shop")
    assert made["secret"].startswith("whsec_")
    assert (made["url"], made["enabled"], made["event_types"]) == (URL, True, ["access.changed"])
    shown = hooks.get(f"/webhook-endpoints/{made['id']}")
    assert "secret" not in shown
    assert {**shown, "secret": made["secret"]} == made
    with sealed.db.read() as tx:
        stored = endpoints.get(tx, made["id"])
    assert stored is not None
    assert stored.secret is not None
    assert made["secret"] not in stored.secret
    assert made["secret"] not in repr(stored)


def test_without_a_key_for_secrets_no_endpoint_is_made(api: Api) -> None:
    problem = api.refused("POST", "/webhook-endpoints", 409, body={"url": URL})
    assert "BILLHOOK_SECRET_KEY" in problem["detail"]
    assert api.get("/webhook-endpoints")["data"] == []


def test_the_same_request_again_is_a_conflict_and_adds_nothing(hooks: Api) -> None:
    made = create(hooks)
    problem = hooks.refused("POST", "/webhook-endpoints", 409, body={"url": URL})
    assert str(made["id"]) in problem["detail"]
    assert len(hooks.get("/webhook-endpoints")["data"]) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://hooks.example.com/", "https"),
        ("https://user:pass@example.com/", "user or password"),
        ("https://127.0.0.1/", "private"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://169.254.169.254/latest/meta-data", "private"),
        ("https://0x7f000001/", "host"),
        ("https://2130706433/", "host"),
        ("https://example.com:22/", "port"),
        ("https://example.com/#part", "fragment"),
        ("https://exämple.com/", "ASCII"),
        ("https:///nowhere", "host"),
        ("ftp://example.com/", "https"),
        ("https://example.com:99999/", "port"),
        ("https://example.com/a b", "ASCII"),
        ("javascript:alert(1)", "https"),
        ("https://[::1/", "host"),
    ],
)
def test_a_url_that_must_not_be_called_is_refused_by_its_field(hooks: Api, url: str, said: str) -> None:
    problem = hooks.refused("POST", "/webhook-endpoints", 422, body={"url": url})
    (error,) = problem["errors"]
    assert error["field"] == "url"
    assert said in error["message"]
    assert hooks.get("/webhook-endpoints")["data"] == []


def test_every_wrong_field_is_named_with_what_is_allowed(hooks: Api) -> None:
    body = {"event_types": ["access.change"], "enabled": "perhaps", "descriptions": "x"}
    problem = hooks.refused("POST", "/webhook-endpoints", 422, body=body)
    errors = {error["field"]: error for error in problem["errors"]}
    assert set(errors) == {"url", "event_types.0", "enabled", "descriptions"}
    assert errors["event_types.0"]["allowed"] == ["access.changed"]
    assert "description" in errors["descriptions"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("rotate-secret", {"overlap": "soon"}, "overlap"),
        ("rotate-secret", {"overlap": "P300D"}, "overlap"),
        ("redeliver", {}, "since"),
        ("redeliver", {"since": "2026-09-01", "message_id": "msg_x"}, "since"),
        ("redeliver", {"since": "yesterday"}, "since"),
        ("redeliver", {"message_id": "a\x00b"}, "message_id"),
    ],
)
def test_what_cannot_be_asked_for_is_named(hooks: Api, path: str, body: dict[str, str], field: str) -> None:
    made = create(hooks)
    problem = hooks.refused("POST", f"/webhook-endpoints/{made['id']}/{path}", 422, body=body)
    assert [error["field"] for error in problem["errors"]] == [field]


def test_changing_disabling_and_enabling_again(hooks: Api, sealed: Runtime) -> None:
    one = f"/webhook-endpoints/{create(hooks)['id']}"
    changed = hooks.ok("PATCH", one, body={"description": "new", "event_types": ["access.changed"]})
    assert (changed["description"], changed["enabled"]) == ("new", True)
    off = hooks.ok("PATCH", one, body={"enabled": False})
    assert (off["enabled"], off["disabled_reason"]) == (False, "operator")
    happen(sealed, 1)
    assert hooks.get(one)["undelivered_count"] == 1
    assert [each["status"] for each in hooks.get(f"{one}/deliveries")["data"]] == ["held"]
    assert "disabled" in hooks.refused("POST", f"{one}/test", 409)["detail"]
    assert hooks.refused("POST", f"{one}/redeliver", 409, body={"since": "2026-09-01"})["status"] == 409
    on = hooks.ok("POST", f"{one}/enable")
    assert (on["enabled"], on["disabled_reason"], on["disabled_at"]) == (True, None, None)
    assert hooks.ok("POST", f"{one}/enable")["enabled"] is True
    assert [each["status"] for each in hooks.get(f"{one}/deliveries")["data"]] == ["pending"]


def test_the_log_has_every_attempt_and_its_answer(
    hooks: Api, sealed: Runtime, attempt: Callable[..., None]
) -> None:
    endpoint_id = create(hooks)["id"]
    happen(sealed, 1, 2)
    attempt(endpoint_id, 500, b"my database is down")
    log = hooks.get(f"/webhook-endpoints/{endpoint_id}/deliveries")["data"]
    assert [(each["status"], each["customer_id"]) for each in log] == [("waiting", "c1"), ("pending", "c1")]
    (tried,) = log[1]["attempts"]
    assert (tried["status_code"], tried["response"]) == (500, "my database is down")
    assert hooks.get(f"/webhook-endpoints/{endpoint_id}")["failure_count"] == 1
    first = hooks.get(f"/webhook-endpoints/{endpoint_id}/deliveries?limit=1")
    rest = hooks.get(f"/webhook-endpoints/{endpoint_id}/deliveries?limit=1&cursor={first['next_cursor']}")
    assert first["data"] + rest["data"] == log
    pending = hooks.get(f"/webhook-endpoints/{endpoint_id}/deliveries?status=pending&customer=c1")
    assert [each["id"] for each in pending["data"]] == [log[1]["id"]]


def test_a_test_event_and_a_message_sent_again(
    hooks: Api, sealed: Runtime, attempt: Callable[..., None]
) -> None:
    endpoint_id = create(hooks)["id"]
    one = f"/webhook-endpoints/{endpoint_id}"
    message = hooks.ok("POST", f"{one}/test", status=202)["message_id"]
    attempt(endpoint_id, 204)
    (sent,) = hooks.get(f"{one}/deliveries")["data"]
    assert (sent["message_id"], sent["type"], sent["status"]) == (message, "webhook.test", "delivered")
    again = hooks.ok("POST", f"{one}/redeliver", body={"message_id": message}, status=202)
    assert again == {"message_count": 1}
    attempt(endpoint_id, 204)
    (sent,) = hooks.get(f"{one}/deliveries")["data"]
    assert (sent["attempt_count"], sent["status"]) == (2, "delivered")
    hooks.refused("POST", f"{one}/redeliver", 404, body={"message_id": "msg_of_another"})
    assert (
        hooks.ok("POST", f"{one}/redeliver", body={"since": "2026-09-01"}, status=202)["message_count"] == 0
    )


def test_a_rotation_shows_the_new_secret_and_until_when_the_other_signs(hooks: Api) -> None:
    made = create(hooks)
    rotated = hooks.ok("POST", f"/webhook-endpoints/{made['id']}/rotate-secret", body={"overlap": "PT1H"})
    assert rotated["secret"] != made["secret"]
    until = (START + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert rotated["previous_secret_until"] == until
    at_once = hooks.ok("POST", f"/webhook-endpoints/{made['id']}/rotate-secret", body={"overlap": "PT0S"})
    assert at_once["previous_secret_until"] is None


def test_a_deleted_endpoint_is_gone_and_its_url_is_free(hooks: Api) -> None:
    one = f"/webhook-endpoints/{create(hooks)['id']}"
    assert hooks.answer("DELETE", one).status_code == 204
    for method, path in (
        ("GET", one),
        ("DELETE", one),
        ("GET", f"{one}/deliveries"),
        ("POST", f"{one}/test"),
    ):
        hooks.refused(method, path, 404)
    create(hooks)


def test_reading_and_writing_need_their_scopes(hooks: Api) -> None:
    one = f"/webhook-endpoints/{create(hooks)['id']}"
    reader = hooks.with_scopes("webhooks:read")
    assert reader.get(one)["url"] == URL
    for method, path in (("DELETE", one), ("POST", f"{one}/test"), ("POST", f"{one}/rotate-secret")):
        reader.refused(method, path, 403)
    hooks.with_scopes("customers:read").refused("GET", one, 403)


def test_every_change_is_noted_and_no_secret_with_it(
    hooks: Api, sealed: Runtime, attempt: Callable[..., None]
) -> None:
    made = create(hooks)
    one = f"/webhook-endpoints/{made['id']}"
    hooks.ok("PATCH", one, body={"enabled": False})
    hooks.ok("POST", f"{one}/enable")
    secret = hooks.ok("POST", f"{one}/rotate-secret", body={})["secret"]
    hooks.ok("POST", f"{one}/test", status=202)
    attempt(made["id"], 410)
    hooks.answer("DELETE", one)
    with sealed.db.read() as tx:
        rows = [row for row in audit.page(tx, limit=100) if row.action.startswith("webhook_endpoint.")]
    actions = [row.action.partition(".")[2] for row in reversed(rows)]
    assert actions == ["create", "disable", "enable", "rotate", "test", "disable", "delete"]
    assert rows[1].actor == "host"
    assert not any(text in repr(rows) for text in (made["secret"], secret))


def test_metrics_and_doctor_tell_of_a_disabled_endpoint(
    hooks: Api, sealed: Runtime, attempt: Callable[..., None]
) -> None:
    endpoint_id = create(hooks)["id"]
    happen(sealed, 1)
    assert [each.severity for each in doctor.all_well(sealed)] == ["ok"]
    attempt(endpoint_id, 410)
    (found,) = doctor.all_well(sealed)
    assert found.severity == "warning"
    assert "410" in found.what
    assert f"billhook endpoints enable {endpoint_id}" in found.fix
    told = exposition(sealed).decode()
    assert 'billhook_webhook_endpoints{state="disabled"} 1.0' in told
    assert 'billhook_webhook_deliveries{status="held"} 1.0' in told
    assert 'billhook_webhook_endpoints_given_up_total{reason="gone"} 1.0' in told
    assert 'billhook_webhook_attempt_seconds_count{outcome="failed"} 1.0' in told


def test_the_command_line_does_the_same(sealed: Runtime, key: str, tmp_path: Path) -> None:
    env = {
        "BILLHOOK_DATABASE_URL": sealed.db.url.render_as_string(hide_password=False),
        "BILLHOOK_SECRET_KEY": key,
        "BILLHOOK_CONNECTIONS": "",
    }

    def run(*words: str, code: int = 0) -> Any:
        result = CliRunner().invoke(main, ["endpoints", *words], env=env)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if code == 0 else result.output

    made = run("create", URL, "--event", "access.changed", "--json")
    endpoint_id = str(made["id"])
    assert made["secret"].startswith("whsec_")
    message = run("test", endpoint_id, "--json")["message_id"]
    assert [each["url"] for each in run("list", "--json")] == [URL]
    assert [each["message_id"] for each in run("deliveries", endpoint_id, "--json")] == [message]
    assert run("rotate", endpoint_id, "--json")["secret"] != made["secret"]
    assert run("enable", endpoint_id, "--json")["status"] == "enabled"
    assert run("redeliver", endpoint_id, "--message", message, "--json") == {"messages": 1}
    assert run("redeliver", endpoint_id, "--since", "2026-01-01", "--json") == {"messages": 0}
    assert "private" in run("create", "https://10.0.0.1/", code=1)
    assert "no such webhook endpoint" in run("test", "999", code=1)
    assert "either --since or --message" in run("redeliver", endpoint_id, code=2)


def test_publishing_what_nobody_knows_is_a_mistake_in_the_program(sealed: Runtime) -> None:
    with pytest.raises(ValueError, match=r"access\.exploded"), sealed.db.begin() as tx:
        publish(tx, type="access.exploded", customer_id="c1", data={}, now=START)


def test_nothing_is_kept_when_nobody_wants_to_hear(sealed: Runtime) -> None:
    happen(sealed, 1)
    with sealed.db.read() as tx:
        assert webhook_log.page(tx) == []
        assert tx.exec_driver_sql("SELECT count(*) FROM webhook_messages").scalar_one() == 0
