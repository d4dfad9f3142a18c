"""An API key is being rotated: what is answered 401 is repeated once with the key before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from billhook.errors import OutcomeUnknown
from billhook.http import ApiClient

NEW, OLD = "new-key-0123456789", "old-key-0123456789"


class Provider:
    """Takes some keys; answers one status to those who may enter, and notes every call."""

    def __init__(self, *keys: str, status: str = "200 OK") -> None:
        self.keys = keys
        self.status = status
        self.calls: list[tuple[str, bytes, str | None]] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        key = environ["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.calls.append((key, body, environ.get("HTTP_IDEMPOTENCY_KEY")))
        start(self.status if key in self.keys else "401 Unauthorized", [("Content-Type", "application/json")])
        return [f'{{"code": "{key}"}}'.encode()]


def client(provider: Provider, told: list[str]) -> ApiClient:
    made = ApiClient(
        name="acme", base_url="http://acme.test", headers={"Authorization": f"Bearer {NEW}"}, app=provider
    )
    made.fall_back({"Authorization": f"Bearer {OLD}"}, told=lambda: told.append("older"))
    return made


def test_the_new_key_is_tried_first_and_alone_where_it_is_accepted() -> None:
    provider, told = Provider(NEW, OLD), list[str]()
    assert client(provider, told).get("things").ok
    assert [key for key, _, _ in provider.calls] == [NEW]
    assert told == []


def test_a_refused_new_key_is_followed_by_the_one_before_with_the_same_call() -> None:
    provider, told = Provider(OLD), list[str]()
    answer = client(provider, told).post("things", json={"a": 1}, idempotency_key="k1", moves_money=True)
    assert answer.ok
    assert provider.calls == [(NEW, b'{"a":1}', "k1"), (OLD, b'{"a":1}', "k1")]
    assert told == ["older"]


def test_two_refused_keys_are_a_refusal() -> None:
    provider, told = Provider(), list[str]()
    assert client(provider, told).get("things").status == 401
    assert [key for key, _, _ in provider.calls] == [NEW, OLD]
    assert told == []


def test_a_lost_answer_to_the_repetition_leaves_the_outcome_open_and_shows_no_key() -> None:
    provider, told = Provider(OLD, status="500 Oops"), list[str]()
    with pytest.raises(OutcomeUnknown) as raised:
        client(provider, told).post("things", json={}, moves_money=True)
    assert OLD not in str(raised.value)
    assert NEW not in str(raised.value)
