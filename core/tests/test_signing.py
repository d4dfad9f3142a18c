"""Signatures: the published vectors, the official library as oracle, and whatever a stranger may send."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from billhook.errors import SignatureInvalid
from billhook.signing import HmacSha256, RsaJwt, StandardWebhooks

FIXTURES = Path(__file__).parent / "fixtures"
STANDARD = json.loads((FIXTURES / "standard_webhooks_vectors.json").read_text())
LAGO = json.loads((FIXTURES / "lago" / "signature_vectors.json").read_text())

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
BODY = b'{"type":"payment.succeeded"}'

instants = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=0)
)
ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
Vector = dict[str, Any]


def named(vectors: list[Vector], key: str = "name") -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector[key] for vector in vectors])


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# --- Standard Webhooks: vectors -----------------------------------------------------------------------------------


@named(STANDARD["sign"])
def test_standard_sign_vectors_come_out_as_published(vector: Vector) -> None:
    signer = StandardWebhooks([vector["secret"]])
    sent_at = at(vector["webhook_timestamp"])

    headers = signer.sign(vector["payload"].encode(), webhook_id=vector["webhook_id"], at=sent_at)

    assert headers == {
        "webhook-id": vector["webhook_id"],
        "webhook-timestamp": str(vector["webhook_timestamp"]),
        "webhook-signature": vector["expected_signature"],
    }


@named(STANDARD["verify"])
def test_standard_verify_vectors_come_out_as_expected(vector: Vector) -> None:
    verifier = StandardWebhooks([vector["secret"]])

    def verify() -> str:
        return verifier.verify(vector["payload"].encode(), vector["headers"], now=at(vector["now"]))

    if vector["expect"] == "accept":
        assert verify() == {name.lower(): value for name, value in vector["headers"].items()}["webhook-id"]
    else:
        with pytest.raises(SignatureInvalid):
            verify()


def test_the_vectors_hold_both_outcomes() -> None:
    assert {vector["expect"] for vector in STANDARD["verify"]} == {"accept", "reject"}
    assert (len(STANDARD["sign"]), len(STANDARD["verify"]), len(LAGO["vectors"])) == (10, 27, 3)


def asymmetric_headers(vector: Vector) -> dict[str, str]:
    return {
        "webhook-id": vector["webhook_id"],
        "webhook-timestamp": str(vector["webhook_timestamp"]),
        "webhook-signature": vector["expected_signature"],
    }


@named(STANDARD["sign_asymmetric"])
def test_an_ed25519_signature_is_verified_with_the_public_key(vector: Vector) -> None:
    verifier = StandardWebhooks([OTHER_SECRET, vector["public_key"]])
    now = at(vector["webhook_timestamp"])
    headers = asymmetric_headers(vector)

    assert verifier.verify(vector["payload"].encode(), headers, now=now) == vector["webhook_id"]
    with pytest.raises(SignatureInvalid):
        verifier.verify(vector["payload"].encode() + b" ", headers, now=now)
    with pytest.raises(SignatureInvalid):  # the last character differs only in bits that base64 throws away
        verifier.verify(
            vector["payload"].encode(),
            {**headers, "webhook-signature": headers["webhook-signature"].replace("Ag==", "Ah==")},
            now=now,
        )


@named(STANDARD["sign_asymmetric"])
def test_a_public_key_signs_nothing_and_a_private_key_is_refused(vector: Vector) -> None:
    with pytest.raises(ValueError, match="can only verify"):
        StandardWebhooks([vector["public_key"]]).sign(BODY, webhook_id="msg_1", at=NOW)
    with pytest.raises(ValueError, match="give the whpk_ key"):
        StandardWebhooks([vector["private_key"]])


# --- Standard Webhooks: properties --------------------------------------------------------------------------------


@given(st.binary(max_size=400), ids, instants, st.binary(min_size=16, max_size=64))
def test_what_is_signed_verifies(body: bytes, webhook_id: str, now: datetime, key: bytes) -> None:
    webhooks = StandardWebhooks(["whsec_" + base64.b64encode(key).decode()])

    assert webhooks.verify(body, webhooks.sign(body, webhook_id=webhook_id, at=now), now=now) == webhook_id


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), ids, instants)
def test_signing_agrees_with_the_official_library(body: str, webhook_id: str, now: datetime) -> None:
    official = Webhook(SECRET).sign(webhook_id, now, body)

    headers = StandardWebhooks([SECRET]).sign(body.encode(), webhook_id=webhook_id, at=now)

    assert headers["webhook-signature"] == official


def flip(data: bytes, bit: int) -> bytes:
    position, mask = (bit // 8) % len(data), 1 << (bit % 8)
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


@given(
    st.sampled_from(["body", "webhook-id", "webhook-timestamp", "webhook-signature"]),
    st.integers(min_value=0, max_value=10_000),
    st.binary(min_size=1, max_size=60),
)
def test_any_flipped_bit_is_refused(part: str, bit: int, body: bytes) -> None:
    webhooks = StandardWebhooks([SECRET], timedelta(days=365 * 400))
    headers = webhooks.sign(body, webhook_id="msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", at=NOW)
    if part == "body":
        body = flip(body, bit)
    else:
        headers[part] = flip(headers[part].encode(), bit).decode("latin-1")

    with pytest.raises(SignatureInvalid):
        webhooks.verify(body, headers, now=NOW)


anything = st.text(max_size=60)  # includes control characters, lone surrogates and every script
header_names = (
    st.sampled_from(["webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "webhook-signature"]) | anything
)


@given(
    st.dictionaries(header_names, anything | st.just("v1,AAAA v1a,!! v1a,ä ,, v2")), st.binary(max_size=50)
)
def test_garbage_headers_end_in_signature_invalid_only(headers: dict[str, str], body: bytes) -> None:
    public_key = STANDARD["sign_asymmetric"][0]["public_key"]

    with pytest.raises(SignatureInvalid):
        StandardWebhooks([SECRET, public_key]).verify(body, headers, now=NOW)


@given(anything, st.lists(anything, max_size=4))
def test_garbage_beside_good_headers_never_breaks_and_never_hides_a_good_signature(
    garbage: str, tokens: list[str]
) -> None:
    webhooks = StandardWebhooks([SECRET, STANDARD["sign_asymmetric"][0]["public_key"]])
    headers = webhooks.sign(BODY, webhook_id="msg_1", at=NOW)
    good = headers["webhook-signature"]

    assert (
        webhooks.verify(BODY, {**headers, "webhook-signature": " ".join([*tokens, good])}, now=NOW) == "msg_1"
    )
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        with pytest.raises(SignatureInvalid):
            webhooks.verify(BODY, {**headers, name: garbage}, now=NOW)


# --- Standard Webhooks: cases -------------------------------------------------------------------------------------


def test_rotation_accepts_either_secret_and_signs_with_both() -> None:
    both = StandardWebhooks([SECRET, OTHER_SECRET])

    for secret in (SECRET, OTHER_SECRET):
        alone = StandardWebhooks([secret])
        assert both.verify(BODY, alone.sign(BODY, webhook_id="msg_1", at=NOW), now=NOW) == "msg_1"
        assert alone.verify(BODY, both.sign(BODY, webhook_id="msg_1", at=NOW), now=NOW) == "msg_1"


@pytest.mark.parametrize("away", [timedelta(minutes=5, seconds=1), timedelta(minutes=-5, seconds=-1)])
def test_a_webhook_out_of_tolerance_is_refused_whatever_its_signature(away: timedelta) -> None:
    webhooks = StandardWebhooks([SECRET])
    headers = webhooks.sign(BODY, webhook_id="msg_1", at=NOW)

    with pytest.raises(SignatureInvalid, match="300 s away from now"):
        webhooks.verify(BODY, headers, now=NOW + away)
    wider = StandardWebhooks([SECRET], tolerance=timedelta(minutes=6))
    assert wider.verify(BODY, headers, now=NOW + away) == "msg_1"


@pytest.mark.parametrize(
    "seconds", ["1785585600.0", " 1785585600", "+1785585600", "01785585600", "1_785585600", "9" * 11]
)
def test_a_timestamp_is_whole_seconds_written_one_way(seconds: str) -> None:
    webhooks = StandardWebhooks([SECRET])
    headers = webhooks.sign(BODY, webhook_id="msg_1", at=NOW)

    with pytest.raises(SignatureInvalid, match="webhook-timestamp is malformed"):
        webhooks.verify(BODY, {**headers, "webhook-timestamp": seconds}, now=NOW)


def test_a_leading_zero_in_the_timestamp_is_refused_even_when_it_is_signed() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, b"msg_1.0785585600." + BODY, hashlib.sha256).digest()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": "0785585600",
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }

    with pytest.raises(SignatureInvalid, match="webhook-timestamp is malformed"):
        StandardWebhooks([SECRET]).verify(BODY, headers, now=at(785585600))


@pytest.mark.parametrize("webhook_id", ["msg\n1", "msg 1", "msg\x00", "mésg", "m" * 257])
def test_an_id_that_is_not_visible_ascii_is_refused(webhook_id: str) -> None:
    webhooks = StandardWebhooks([SECRET])
    headers = webhooks.sign(BODY, webhook_id="msg_1", at=NOW)

    with pytest.raises(SignatureInvalid, match="webhook-id is malformed"):
        webhooks.verify(BODY, {**headers, "webhook-id": webhook_id}, now=NOW)
    with pytest.raises(ValueError, match="visible ASCII"):
        webhooks.sign(BODY, webhook_id=webhook_id, at=NOW)


def test_a_header_given_twice_is_refused() -> None:
    webhooks = StandardWebhooks([SECRET])
    headers = webhooks.sign(BODY, webhook_id="msg_1", at=NOW)

    with pytest.raises(SignatureInvalid, match="missing or repeated"):
        webhooks.verify(BODY, {**headers, "Webhook-Id": "msg_2"}, now=NOW)


def test_an_instant_in_another_time_zone_signs_the_same_and_a_naive_one_is_refused() -> None:
    webhooks = StandardWebhooks([SECRET])
    tokyo = NOW.astimezone(timezone(timedelta(hours=9)))

    headers = webhooks.sign(BODY, webhook_id="msg_1", at=tokyo)

    assert headers == webhooks.sign(BODY, webhook_id="msg_1", at=NOW)
    assert webhooks.verify(BODY, headers, now=tokyo) == "msg_1"
    with pytest.raises(ValueError, match="aware"):
        webhooks.verify(BODY, headers, now=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("", "missing or empty"),
        ("whsec_", "holds 0"),
        ("whsec_c2hvcnQ=", "holds 5"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "holds 65"),
        ("whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(), "another character"),
        ("sk_live_not_a_webhook_secret_at_all", "another character"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwä", "another character"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "another character"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwM", "a part missing"),
        ("whpk_AAAA", "32 bytes"),
    ],
)
def test_an_unusable_secret_is_named_but_not_shown(secret: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        StandardWebhooks([SECRET, secret])

    assert len(secret) < 7 or secret[6:].strip() not in str(caught.value)


@pytest.mark.parametrize("secrets", [[], SECRET])
def test_secrets_are_a_list_with_something_in_it(secrets: Any) -> None:
    with pytest.raises(ValueError, match=r"list|missing"):
        StandardWebhooks(secrets)
    with pytest.raises(ValueError, match=r"list|missing"):
        HmacSha256(secrets, encoding="hex")


def test_no_repr_shows_a_secret() -> None:
    shown = repr(StandardWebhooks([SECRET])) + repr(HmacSha256([LAGO["hmac_key"]], encoding="hex"))

    assert SECRET[6:] not in shown
    assert LAGO["hmac_key"] not in shown
    assert repr(RsaJwt(LAGO["public_key_pem"], issuer="https://lago.test")) == "<RsaJwt by https://lago.test>"


# --- HMAC ---------------------------------------------------------------------------------------------------------


@named(LAGO["vectors"], key="fixture")
def test_lago_hmac_vectors_verify_over_the_raw_bytes_only(vector: Vector) -> None:
    verifier = HmacSha256([LAGO["hmac_key"]], encoding="base64")
    body, signature = vector["raw_body"].encode(), vector["headers_hmac"]["X-Lago-Signature"]

    verifier.verify(body, signature)
    assert verifier.sign(body) == signature
    with pytest.raises(SignatureInvalid):
        verifier.verify(json.dumps(json.loads(body), separators=(",", ":")).encode(), signature)


@given(st.binary(max_size=200), st.sampled_from(["base64", "hex"]), st.integers(min_value=0, max_value=600))
def test_an_hmac_verifies_and_with_any_flipped_bit_does_not(
    body: bytes, encoding: Literal["base64", "hex"], bit: int
) -> None:
    verifier = HmacSha256(["new secret", "old secret"], encoding=encoding)
    signature = HmacSha256(["old secret"], encoding=encoding).sign(body)

    verifier.verify(body, signature)
    with pytest.raises(SignatureInvalid):
        verifier.verify(body, flip(signature.encode(), bit).decode("latin-1"))
    with pytest.raises(SignatureInvalid):
        verifier.verify(body + b"\n", signature)


def test_hex_is_the_lower_case_digest() -> None:
    expected = hmac.new(b"key", BODY, hashlib.sha256).hexdigest()

    assert HmacSha256(["key"], encoding="hex").sign(BODY) == expected


@given(anything, st.binary(max_size=20))
def test_garbage_is_no_hmac(signature: str, body: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        HmacSha256(["key"], encoding="base64").verify(body, signature)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="'base64' or 'hex'"):
        HmacSha256(["key"], encoding="base32")  # type: ignore[arg-type]  # the refusal is what is tested


# --- RS256 tokens -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def pem_of(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def hs256_forgery(public_pem: str, claims: dict[str, Any]) -> str:
    """Sign with the public key as an HMAC secret, by hand: PyJWT refuses to."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = part(b'{"alg":"HS256","typ":"JWT"}') + "." + part(json.dumps(claims).encode())
    return head + "." + part(hmac.new(public_pem.encode(), head.encode(), hashlib.sha256).digest())


@named(LAGO["vectors"], key="fixture")
def test_lago_jwt_vectors_verify_and_only_for_their_own_body(vector: Vector) -> None:
    token, body = vector["headers_jwt"]["X-Lago-Signature"], vector["raw_body"].encode()
    issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
    verifier = RsaJwt(LAGO["public_key_pem"], issuer=issuer)

    verifier.verify(body, token)
    RsaJwt(LAGO["public_key_pem"], issuer=None).verify(body, token)
    with pytest.raises(SignatureInvalid, match="another body"):
        verifier.verify(body.replace(b"\\u0026", b"&") + b" ", token)
    with pytest.raises(SignatureInvalid, match="Issuer"):
        RsaJwt(LAGO["public_key_pem"], issuer="https://elsewhere.test").verify(body, token)


Forge = Callable[[RSAPrivateKey, dict[str, Any]], str]


@pytest.mark.parametrize(
    "forge",
    [
        lambda key, claims: hs256_forgery(pem_of(key), claims),
        lambda key, claims: jwt.encode(claims, "", algorithm="none"),
        lambda key, claims: jwt.encode(claims, generate_private_key(65537, 2048), algorithm="RS256"),
        lambda key, claims: jwt.encode(claims, key, algorithm="RS512"),
        lambda key, claims: jwt.encode(claims, key, algorithm="PS256"),
        lambda key, claims: jwt.encode(claims, ec_key(SECP256R1()), algorithm="ES256"),
        lambda key, claims: jwt.encode({"iss": claims["iss"]}, key, algorithm="RS256"),
        lambda key, claims: jwt.encode({"data": claims["data"]}, key, algorithm="RS256"),
        lambda key, claims: jwt.encode({**claims, "data": {"a": 1}}, key, algorithm="RS256"),
        lambda key, claims: jwt.encode(claims, key, algorithm="RS256")[:-4],
        lambda key, claims: jwt.encode(claims, key, algorithm="RS256").rpartition(".")[0] + ".",
    ],
    ids=[
        "hs256-with-public-key", "none", "foreign-key", "rs512", "ps256", "es256",
        "no-data", "no-issuer", "data-not-text", "cut", "signature-left-out",
    ],
)  # fmt: skip
def test_a_forged_token_is_refused(private_key: RSAPrivateKey, forge: Forge) -> None:
    verifier = RsaJwt(pem_of(private_key), issuer="https://lago.test")
    claims = {"data": BODY.decode(), "iss": "https://lago.test"}
    verifier.verify(BODY, jwt.encode(claims, private_key, algorithm="RS256"))

    with pytest.raises(SignatureInvalid):
        verifier.verify(BODY, forge(private_key, claims))


@given(anything | st.lists(anything, min_size=3, max_size=3).map(".".join), st.binary(max_size=20))
def test_garbage_is_no_token(token: str, body: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        RsaJwt(LAGO["public_key_pem"], issuer=None).verify(body, token)


@pytest.mark.parametrize(
    "header", [b"[" * 100_000, b"[]", b'{"alg":["RS256"]}', b'{"alg":"RS256","crit":["x"]}', b"\xff"]
)
def test_a_hostile_token_header_is_refused(header: bytes) -> None:
    token = base64.urlsafe_b64encode(header).rstrip(b"=").decode() + ".e30.AAAA"

    with pytest.raises(SignatureInvalid):
        RsaJwt(LAGO["public_key_pem"], issuer=None).verify(b"{}", token)


def test_a_token_that_is_no_text_is_refused() -> None:
    with pytest.raises(SignatureInvalid, match="not a JWT"):
        RsaJwt(LAGO["public_key_pem"], issuer=None).verify(BODY, "\ud800.e30.AAAA")


def test_only_an_rsa_public_key_of_enough_bits_is_taken() -> None:
    with pytest.raises(ValueError, match="BEGIN PUBLIC KEY"):
        RsaJwt("not a key", issuer=None)
    with pytest.raises(ValueError, match="RSA key"):
        RsaJwt(pem_of(ec_key(SECP256R1())), issuer=None)
    with pytest.raises(ValueError, match="2048 bits"):
        RsaJwt(pem_of(generate_private_key(65537, 1024)), issuer=None)
