"""Webhooks as a receiver verifies them: typed when they are right, an error when they are not."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billhook.client import AccessChanged, Level, WebhookEvent, verify_webhook
from billhook.clock import VirtualClock
from billhook.errors import PayloadInvalid, SignatureInvalid
from billhook.signing import StandardWebhooks

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
OLD, NEW, OTHER = (f"whsec_{b64encode(bytes([n]) * 24).decode()}" for n in (1, 2, 3))
CLOCK = VirtualClock(NOW)
DECISION = {
    "customer": "c1",
    "state": "suspended",
    "standing": "suspended",
    "access": "none",
    "block_changes": True,
    "reasons": [{"text": "Invoice I2 is 30 days overdue; the limit is 30."}],
    "next_change_at": None,
    "subscriptions": {},
}
CHANGED: dict[str, Any] = {
    "type": "access.changed",
    "timestamp": "2026-09-01T11:59:58Z",
    "data": {"customer": "c1", "version": 4, "old": {**DECISION, "access": "full"}, "new": DECISION},
}


def sent(said: object, *secrets: str, at: datetime = NOW) -> tuple[dict[str, str], bytes]:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return StandardWebhooks(secrets or (OLD,)).sign(body, webhook_id="msg_7", at=at), body


def test_a_change_of_access_is_typed() -> None:
    event = verify_webhook(*sent(CHANGED), [OLD], clock=CLOCK)
    assert isinstance(event, AccessChanged)
    assert (event.id, event.type, event.customer, event.version) == ("msg_7", "access.changed", "c1", 4)
    assert event.at == NOW - timedelta(seconds=2)
    assert event.old is not None
    assert (event.old.access, event.new.access, event.new.version) == (Level.FULL, Level.NONE, 4)
    assert event.new.reasons == ("Invoice I2 is 30 days overdue; the limit is 30.",)


def test_the_first_decision_has_nothing_before_it() -> None:
    first = {**CHANGED, "data": {**CHANGED["data"], "old": None}}
    event = verify_webhook(*sent(first), [OLD], clock=CLOCK)
    assert isinstance(event, AccessChanged)
    assert event.old is None


@pytest.mark.parametrize("held", [[OLD, NEW], [NEW, OLD], [NEW]])
def test_while_a_secret_is_rotated_any_of_several_verifies(held: list[str]) -> None:
    assert verify_webhook(*sent(CHANGED, OLD, NEW), held, clock=CLOCK).id == "msg_7"


def test_another_secret_another_body_or_another_day_is_refused() -> None:
    headers, body = sent(CHANGED)
    for wrong in (
        (headers, body, [OTHER]),
        (headers, body + b" ", [OLD]),
        ({**headers, "webhook-id": "msg_8"}, body, [OLD]),
        ({}, body, [OLD]),
        (*sent(CHANGED, at=NOW - timedelta(minutes=6)), [OLD]),
    ):
        with pytest.raises(SignatureInvalid):
            verify_webhook(*wrong, clock=CLOCK)


def test_a_type_that_this_version_does_not_know_is_passed_on_as_it_is() -> None:
    event = verify_webhook(
        *sent({**CHANGED, "type": "invoice.overdue", "data": {"a": 1}}), [OLD], clock=CLOCK
    )
    assert type(event) is WebhookEvent
    assert (event.type, event.data) == ("invoice.overdue", {"a": 1})


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        {},
        {**CHANGED, "timestamp": "yesterday"},
        {**CHANGED, "timestamp": "2026-09-01T11:59:58"},
        {**CHANGED, "timestamp": 3},
        {**CHANGED, "data": []},
        {**CHANGED, "data": {}},
        {**CHANGED, "data": {**CHANGED["data"], "version": "new"}},
        {**CHANGED, "data": {**CHANGED["data"], "new": {**DECISION, "access": "half"}}},
        {**CHANGED, "data": {**CHANGED["data"], "new": None}},
        {**CHANGED, "data": {**CHANGED["data"], "old": "full"}},
        {**CHANGED, "data": {**CHANGED["data"], "new": {**DECISION, "reasons": 1}}},
        {**CHANGED, "data": {**CHANGED["data"], "new": {**DECISION, "subscriptions": {"s": 1}}}},
        {
            **CHANGED,
            "data": {**CHANGED["data"], "new": {**DECISION, "next_change_at": "2026-09-01T00:00:00"}},
        },
    ],
)
def test_what_is_signed_and_not_readable_says_so(said: object) -> None:
    with pytest.raises(PayloadInvalid, match="msg_7"):
        verify_webhook(*sent(said), [OLD], clock=CLOCK)


def test_what_is_wrong_with_a_secret_is_said_without_showing_it() -> None:
    with pytest.raises(ValueError, match="copy it again") as caught:
        verify_webhook(*sent(CHANGED), ["whsec_not base64"], clock=CLOCK)
    assert "not base64" not in str(caught.value).replace("base64 (", "")
