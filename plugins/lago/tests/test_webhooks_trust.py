"""Which webhooks are believed, and which are known already."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from billhook.errors import PayloadInvalid, SignatureInvalid, Temporary
from billhook.hookspecs import ConnectionContext
from billhook.provider import Delivery, WebhookRequest
from billhook.signing import HmacSha256
from billhook_lago.sandbox import LagoSandbox
from billhook_lago.webhooks import LagoWebhooks, lago_webhooks

Connect = Callable[..., ConnectionContext]
Payload = Callable[[str], dict[str, Any]]

FIXTURES = Path(__file__).parent / "fixtures"
VECTORS = json.loads((FIXTURES / "signature_vectors.json").read_text())
ORGANIZATION = "1a900000-1a90-4a90-9a90-1a901a901a90"
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.fixture
def source(connect: Connect) -> LagoWebhooks:
    return lago_webhooks(connect())


# --- signatures --------------------------------------------------------------------------------------------------


class Keys:
    """A Lago that answers with the vectors' public key and an organisation, counting how often it is asked.

    With ``endpoints`` it tells the organisation only at that many webhook endpoints.
    """

    def __init__(
        self, *, organization_id: str = ORGANIZATION, up: bool = True, endpoints: int | None = None
    ) -> None:
        self.organization_id = organization_id
        self.endpoints = endpoints
        self.up = up
        self.public_key = VECTORS["json_public_key_response"]
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"].removeprefix("/api/v1")
        self.asked.append(path)
        endpoints = [{"lago_organization_id": self.organization_id}][: self.endpoints]
        answers = {
            "/webhooks/json_public_key": self.public_key,
            "/organizations": {"organization": {"lago_id": self.organization_id}},
            "/webhook_endpoints": {"webhook_endpoints": endpoints, "meta": {"next_page": None}},
        }
        known = self.endpoints is None or path != "/organizations"
        status = "503 Down" if not self.up else "200 OK" if known else "404 Not Found"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answers[path]).encode()]


def another_key() -> dict[str, Any]:
    """What the instance answers after its key was exchanged."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"webhook": {"public_key": b64encode(pem).decode()}}


def _request(vector: dict[str, Any], algorithm: str) -> WebhookRequest:
    headers = {name.lower(): value for name, value in vector[f"headers_{algorithm}"].items()}
    return WebhookRequest(headers=headers, body=vector["raw_body"].encode())


def _signed(body: bytes, *, key: str = "k-1", secret: str = "lago-sandbox-hmac-key") -> WebhookRequest:
    signature = HmacSha256([secret], encoding="base64").sign(body)
    return WebhookRequest(headers={"x-lago-signature": signature, "x-lago-unique-key": key}, body=body)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["fixture"])
def test_every_hmac_vector_is_accepted_and_any_other_byte_refused(
    connect: Connect, vector: dict[str, Any]
) -> None:
    source = lago_webhooks(connect(webhook_secret=f"older,{VECTORS['hmac_key']}"))
    request = _request(vector, "hmac")
    delivery = source.verify(request, now=NOW)
    assert delivery.key == vector["headers_hmac"]["X-Lago-Unique-Key"]
    assert delivery.type == json.loads(vector["raw_body"])["webhook_type"]
    with pytest.raises(SignatureInvalid):
        source.verify(WebhookRequest(headers=request.headers, body=request.body + b" "), now=NOW)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["fixture"])
def test_every_jwt_vector_is_accepted_and_any_other_byte_refused(
    connect: Connect, vector: dict[str, Any]
) -> None:
    source = lago_webhooks(connect(app=Keys(), webhook_algorithm="jwt", webhook_secret=""))
    request = _request(vector, "jwt")
    assert source.verify(request, now=NOW).type == json.loads(vector["raw_body"])["webhook_type"]
    with pytest.raises(SignatureInvalid):
        source.verify(WebhookRequest(headers=request.headers, body=request.body + b" "), now=NOW)


def test_the_header_cannot_choose_the_algorithm(connect: Connect) -> None:
    vector = VECTORS["vectors"][0]
    hmac = lago_webhooks(connect(webhook_secret=VECTORS["hmac_key"]))
    with pytest.raises(SignatureInvalid):
        hmac.verify(_request(vector, "jwt"), now=NOW)
    jwt = lago_webhooks(connect(app=Keys(), webhook_algorithm="jwt"))
    with pytest.raises(SignatureInvalid):
        jwt.verify(_request(vector, "hmac"), now=NOW)


def test_the_instance_key_is_fetched_once_and_the_organisation_with_it(connect: Connect) -> None:
    server = Keys()
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt"))
    assert server.asked == []
    for vector in VECTORS["vectors"]:
        source.verify(_request(vector, "jwt"), now=NOW)
    assert server.asked == ["/webhooks/json_public_key", "/organizations"]


def test_a_new_key_of_the_instance_is_learnt_and_forgeries_do_not_make_us_ask_all_the_time(
    connect: Connect,
) -> None:
    server = Keys()
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt"))
    request = _request(VECTORS["vectors"][0], "jwt")
    right = server.public_key
    server.public_key = another_key()
    with pytest.raises(SignatureInvalid):
        source.verify(request, now=NOW)
    server.public_key = right
    with pytest.raises(SignatureInvalid):
        source.verify(request, now=NOW + timedelta(minutes=4))
    assert len(server.asked) == 2
    assert source.verify(request, now=NOW + timedelta(minutes=5)).key


def test_a_jwt_of_another_organisation_of_the_same_instance_is_refused(connect: Connect) -> None:
    server = Keys(organization_id="somebody-else")
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt"))
    with pytest.raises(SignatureInvalid, match="another Lago organisation"):
        source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW)


def test_the_configured_organisation_counts_and_is_not_fetched(connect: Connect) -> None:
    server = Keys(organization_id="somebody-else")
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt", organization_id=ORGANIZATION))
    source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW)
    assert server.asked == ["/webhooks/json_public_key"]


def test_a_lago_that_tells_its_organisation_only_at_the_endpoints_is_understood(connect: Connect) -> None:
    source = lago_webhooks(connect(app=Keys(endpoints=1), webhook_algorithm="jwt"))
    assert source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW).key
    silent = lago_webhooks(connect(app=Keys(endpoints=0), webhook_algorithm="jwt"))
    with pytest.raises(Temporary, match="ORGANIZATION_ID"):
        silent.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW)


def test_a_key_that_cannot_be_fetched_is_temporary_and_asked_for_again(connect: Connect) -> None:
    server = Keys(up=False)
    source = lago_webhooks(connect(app=server, webhook_algorithm="jwt"))
    with pytest.raises(Temporary, match="cannot be fetched"):
        source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW)
    server.up = True
    assert source.verify(_request(VECTORS["vectors"][0], "jwt"), now=NOW).key


def test_with_hmac_the_organisation_is_checked_when_configured(connect: Connect) -> None:
    body = json.dumps({"webhook_type": "plan.created", "organization_id": ORGANIZATION}).encode()
    assert lago_webhooks(connect(organization_id=ORGANIZATION)).verify(_signed(body), now=NOW).key == "k-1"
    with pytest.raises(SignatureInvalid, match="another Lago organisation"):
        lago_webhooks(connect(organization_id="ours")).verify(_signed(body), now=NOW)


def test_what_the_sandbox_signs_is_accepted_with_either_algorithm(
    connect: Connect, sandbox: LagoSandbox, receiver: Any
) -> None:
    sandbox.send("plan.created", {"code": "pro"})
    sandbox.deliver_webhooks()
    headers = {name.lower(): value for name, value in receiver.headers[0].items()}
    delivery = lago_webhooks(connect()).verify(
        WebhookRequest(headers=headers, body=receiver.bodies[0]), now=NOW
    )
    assert delivery.type == "plan.created"


@pytest.mark.parametrize("signature", [None, "", "?", "é", "eyJhbGciOiJub25lIn0.e30."])
@pytest.mark.parametrize("algorithm", ["hmac", "jwt"])
def test_no_signature_and_a_nonsense_one_are_refused(
    connect: Connect, algorithm: str, signature: str | None
) -> None:
    source = lago_webhooks(connect(app=Keys(), webhook_algorithm=algorithm))
    headers = {} if signature is None else {"x-lago-signature": signature}
    with pytest.raises(SignatureInvalid):
        source.verify(WebhookRequest(headers=headers, body=b"{}"), now=NOW)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b'{"webhook_type": 1}', b"[" * 100_000])
def test_a_broken_body_that_is_signed_is_a_delivery_that_cannot_be_read(
    source: LagoWebhooks, body: bytes
) -> None:
    delivery = source.verify(_signed(body), now=NOW)
    assert (delivery.key, delivery.type) == ("k-1", "")
    with pytest.raises(PayloadInvalid):
        source.parse(body)


# --- dedupe ------------------------------------------------------------------------------------------------------


def _delivery(
    source: LagoWebhooks, envelope: dict[str, Any], *, key: str = "k-1", at: datetime = NOW
) -> Delivery:
    return source.verify(_signed(json.dumps(envelope).encode(), key=key), now=at)


@pytest.mark.parametrize(
    "name", ["invoice.created", "customer.updated", "subscription.started", "invoice.payment_dispute_lost"]
)
def test_one_event_under_two_unique_keys_is_known_by_its_body(
    source: LagoWebhooks, payload: Payload, name: str
) -> None:
    first = _delivery(source, payload(name), key="k-1")
    second = _delivery(source, payload(name), key="k-2", at=NOW + timedelta(days=1))
    assert first.key != second.key
    assert first.content_key == second.content_key is not None


def test_two_equal_failures_count_once_in_ten_minutes(source: LagoWebhooks, payload: Payload) -> None:
    failure = payload("invoice.payment_failure")
    first = _delivery(source, failure)
    soon = _delivery(source, failure, at=NOW + timedelta(minutes=9))
    later = _delivery(source, failure, at=NOW + timedelta(minutes=10))
    assert first.content_key == soon.content_key != later.content_key


def test_an_update_of_a_subscription_is_known_by_its_unique_key_alone(
    source: LagoWebhooks, payload: Payload
) -> None:
    assert _delivery(source, payload("subscription.updated")).content_key is None


@pytest.mark.parametrize("key", ["", "x" * 201, "a b", "a\nb"])
def test_without_a_usable_unique_key_the_body_is_the_key(source: LagoWebhooks, key: str) -> None:
    delivery = source.verify(_signed(b"{}", key=key), now=NOW)
    assert len(delivery.key) == 64
