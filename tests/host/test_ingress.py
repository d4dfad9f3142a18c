"""Ingress when the database is away: the sender is told to try again, never that all is well."""

from __future__ import annotations

import time

from billhook.signing import HmacSha256
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.runtime import build_runtime
from billhook_web.settings import read_configuration

SECRET = "lago-hmac-0123456789"
BODY = b'{"webhook_type":"customer.created","object_type":"customer","customer":{}}'


def test_a_database_out_of_reach_is_503_and_try_again() -> None:
    env = {
        "BILLHOOK_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "BILLHOOK_CONNECTIONS": "lago",
        "LAGO_API_URL": "http://lago.test",
        "LAGO_API_KEY": "key",
        "LAGO_WEBHOOK_SECRET": SECRET,
    }
    runtime = build_runtime(read_configuration(env))
    client = create_app(runtime, Wake(runtime)).test_client()
    headers = {
        "X-Lago-Signature": HmacSha256([SECRET], encoding="base64").sign(BODY),
        "X-Lago-Unique-Key": "k1",
    }
    began = time.monotonic()
    answer = client.post("/webhooks/lago", data=BODY, headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert time.monotonic() - began < 30  # well before the sender gives up waiting
    assert client.post("/webhooks/lago", data=BODY, headers={"X-Lago-Signature": "bm8="}).status_code == 401
    runtime.close()
