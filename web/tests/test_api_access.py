"""The stored answer over HTTP: one decision per customer, its version, its tag, and what many are asked at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import Client

from billhook_web.access_front import KEY_SECONDS, AccessFront, in_front
from billhook_web.auth import create_key, revoke_key
from billhook_web.stores import accounts

from .conftest import BOOTSTRAP_KEY, START
from .test_api_billing import finalized, started, succeeded


@pytest.fixture
def owing(api):
    """A customer with an unpaid invoice and a subscription."""
    api.apply(started("row_1", "s1"), finalized("i1"))
    return api


def test_a_customer_who_registered_and_did_nothing_has_an_answer(api) -> None:
    api.ok("PUT", "/customers/acct_1", body={}, status=201)
    told = api.get("/customers/acct_1/access")
    assert (told["customer"], told["standing"], told["version"]) == ("acct_1", "clear", 0)


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/customers/nobody/access", "customer"),
        ("/customers/nobody/access/history", "customer"),
        ("/customers/nobody/access?at=2026-01-01", "customer"),
        ("/subscriptions/acme:s9/access", "subscription"),
    ],
)
def test_an_unknown_customer_and_subscription_are_404(api, path: str, missing: str) -> None:
    problem = api.refused("GET", path, 404)
    assert (problem["status"], problem["title"]) == (404, "Not Found")
    assert missing in problem["detail"]


def test_the_answer_is_the_decision_for_now_with_its_version(owing) -> None:
    told = owing.get("/customers/acct_1/access")
    assert told["unpaid"] == {"EUR": 12000}
    assert told["subscriptions"]["s1"]["access"] == "full"
    owing.runtime.clock.advance(timedelta(hours=1))
    later = owing.get("/customers/acct_1/access")
    assert (later["at"], later["version"]) == ("2026-09-01T10:00:00Z", told["version"])


def test_the_tag_stays_until_the_answer_changes_and_spares_the_body(owing) -> None:
    first = owing.answer("GET", "/customers/acct_1/access")
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, max-age=1"
    owing.runtime.clock.advance(timedelta(hours=1))
    again = owing.answer("GET", "/customers/acct_1/access", headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    owing.apply(succeeded("p1", "i1", at=START))
    changed = owing.answer("GET", "/customers/acct_1/access", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert changed.get_json()["unpaid"] == {}


# --- the same in front of Flask


@pytest.fixture
def seconds() -> list[float]:
    return [100.0]


@pytest.fixture
def front(owing, seconds) -> Client:
    return Client(in_front(owing.app, AccessFront(owing.runtime, seconds=lambda: seconds[0])))


def ask(
    front: Client, path: str = "/api/v1/customers/acct_1/access", key: str = BOOTSTRAP_KEY, **headers: str
) -> Any:
    return front.get(path, headers={"Authorization": f"Bearer {key}", **headers})


def test_in_front_of_flask_the_answer_is_the_same(owing, front) -> None:
    behind = owing.answer("GET", "/customers/acct_1/access")
    before = ask(front)
    assert before.get_json() == behind.get_json()
    for header in ("ETag", "Cache-Control", "Content-Type"):
        assert before.headers[header] == behind.headers[header]
    assert "X-Request-Id" not in before.headers, "Flask answered, not the front"
    unchanged = ask(front, **{"If-None-Match": before.headers["ETag"]})
    assert (unchanged.status_code, unchanged.data) == (304, b"")


def test_an_answer_is_given_again_for_a_second_and_no_longer(owing, front, seconds) -> None:
    first = ask(front).get_json()
    owing.apply(succeeded("p1", "i1", at=START))
    assert ask(front).get_json() == first
    assert ask(front).headers["Cache-Control"] == "private, max-age=0"
    seconds[0] += 1.0
    assert ask(front).get_json()["unpaid"] == {}


def test_an_answer_is_never_given_past_its_next_change(owing, front) -> None:
    policy = {"rules": [{"state": "late", "when": {"overdue_days": 1}, "access": "none"}]}
    owing.ok("POST", "/access/policies", body={"name": "strict", "policy": policy}, status=201)
    owing.ok("POST", "/access/policies/activate", body={"name": "strict", "scope": "default"})
    first = ask(front).get_json()
    assert first["access"] == "full"
    due = datetime.fromisoformat(first["next_change_at"])
    clock = owing.runtime.clock
    clock.advance(due - clock.now() - timedelta(milliseconds=400))
    last = ask(front)
    assert (last.get_json()["access"], last.headers["Cache-Control"]) == ("full", "private, max-age=0")
    clock.advance(timedelta(milliseconds=400))
    changed = ask(front).get_json()
    assert (changed["access"], changed["since"]) == ("none", first["next_change_at"])


def test_a_revoked_key_stops_within_two_seconds(owing, front, seconds) -> None:
    now = owing.runtime.clock.now()
    key = create_key(owing.runtime.db, name="app", scopes=["access:read"], now=now)
    assert ask(front, key=key).status_code == 200
    with owing.runtime.db.read() as tx:
        (found,) = [each for each in accounts.list_api_keys(tx) if each.name == "app"]
    revoke_key(owing.runtime.db, found.id, now=now, actor="test")
    seconds[0] += KEY_SECONDS
    assert ask(front, key=key).status_code == 401


def test_who_may_not_ask_is_refused_in_front_too(owing, front) -> None:
    ask(front)
    assert front.get("/api/v1/customers/acct_1/access").status_code == 401
    assert ask(front, key="bh_live_wrong").status_code == 401
    other = owing.with_scopes("customers:read")
    assert ask(front, key=other.key).status_code == 403


def test_what_is_not_plain_goes_on_to_the_view(owing, front) -> None:
    assert ask(front, "/api/v1/customers/nobody/access").status_code == 404
    assert ask(front, "/api/v1/customers/acct_1/access?lease=2").status_code == 422
    assert ask(front, "/api/v1/customers/acct_1/access?at=2026-09-01").get_json()["version"] is None
    owing.ok("PUT", "/customers/%C3%BC%2F1", body={}, status=201)
    assert ask(front, "/api/v1/customers/%C3%BC%2F1/access").get_json()["customer"] == "ü/1"
    owing.ok("PUT", "/customers/new", body={}, status=201)
    assert ask(front, "/api/v1/customers/new/access").get_json()["version"] == 0
