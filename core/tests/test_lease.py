"""Leases: what is signed is what is read, and nothing else is ever believed."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from billhook.client import verify_lease
from billhook.clock import VirtualClock
from billhook.errors import LeaseInvalid
from billhook.lease import (
    LEASE_TYPE,
    LONGEST,
    Lease,
    LeaseVerifier,
    Subject,
    jwks_of,
    key_id,
    keys_of,
    public_of,
    sign_lease,
)

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))
PUBLIC = public_of(SEED)
KID = key_id(PUBLIC)
LEASE = Lease(
    issuer="https://billing.test",
    kind=Subject.CUSTOMER,
    subject="cus_1",
    issued_at=NOW,
    expires_at=NOW + LONGEST,
    version=7,
    state="past_due",
    standing="past_due",
    access="full",
    block_changes=False,
    subscriptions={"acme:s1": ("active", "full")},
)
TOKEN = sign_lease(LEASE, seed=SEED)


def verifier(**options: Any) -> LeaseVerifier:
    return LeaseVerifier({KID: PUBLIC}, **options)


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(header: dict[str, Any], claims: dict[str, Any], *, seed: bytes = SEED) -> str:
    """A token by the right key, with whatever header and claims."""
    signed = f"{part(header)}.{part(claims)}"
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(signed.encode())
    return f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims() -> dict[str, Any]:
    return jwt.decode(TOKEN, options={"verify_signature": False})


HEADER = {"alg": "EdDSA", "typ": LEASE_TYPE, "kid": KID}


def test_what_was_signed_is_what_is_read() -> None:
    assert verifier(issuer="https://billing.test").verify(TOKEN, now=NOW) == LEASE


def test_a_token_is_small_and_names_its_kind_and_key() -> None:
    assert jwt.get_unverified_header(TOKEN) == HEADER
    assert len(TOKEN) < 600


def test_the_forger_of_these_tests_makes_tokens_that_are_believed_when_nothing_is_wrong() -> None:
    assert verifier().verify(forged(HEADER, claims()), now=NOW) == LEASE


@given(
    st.text(min_size=1).filter(lambda text: text.isprintable()),
    st.sampled_from(Subject),
    st.integers(0, 10**9),
)
def test_any_id_comes_back_as_it_was(subject: str, kind: Subject, version: int) -> None:
    lease = replace(LEASE, subject=subject, kind=kind, version=version, subscriptions=None)
    assert verifier().verify(sign_lease(lease, seed=SEED), now=NOW) == lease


def test_a_customer_whose_id_looks_like_a_subscription_stays_a_customer() -> None:
    lease = replace(LEASE, subject="subscription:s1")
    read = verifier().verify(sign_lease(lease, seed=SEED), now=NOW)
    assert (read.kind, read.subject) == (Subject.CUSTOMER, "subscription:s1")


@pytest.mark.parametrize(
    ("after", "leeway", "why"),
    [
        (timedelta(0), timedelta(0), None),
        (LONGEST - timedelta(microseconds=1), timedelta(0), None),
        (LONGEST, timedelta(0), "ended"),
        (LONGEST, timedelta(seconds=1), None),
        (LONGEST + timedelta(seconds=1), timedelta(seconds=1), "ended"),
        (-timedelta(microseconds=1), timedelta(0), "future"),
        (-timedelta(seconds=2), timedelta(seconds=2), None),
    ],
)
def test_a_lease_holds_from_its_begin_to_its_end(
    after: timedelta, leeway: timedelta, why: str | None
) -> None:
    believed = verifier(leeway=leeway)
    for _ in range(2):  # remembered or not
        if why is None:
            assert believed.verify(TOKEN, now=NOW + after) == LEASE
        else:
            with pytest.raises(LeaseInvalid, match=why):
                believed.verify(TOKEN, now=NOW + after)


def test_a_part_of_a_second_is_cut_from_the_end_never_added() -> None:
    end = NOW + timedelta(seconds=10, microseconds=999_999)
    token = sign_lease(replace(LEASE, expires_at=end), seed=SEED)
    assert verifier().verify(token, now=NOW).expires_at == NOW + timedelta(seconds=10)


def test_no_lease_is_signed_for_longer_than_allowed() -> None:
    with pytest.raises(ValueError, match="at most 300 s"):
        sign_lease(replace(LEASE, expires_at=NOW + LONGEST + timedelta(seconds=1)), seed=SEED)


def test_every_change_of_any_character_is_noticed() -> None:
    for at, old in enumerate(TOKEN):
        if at == len(TOKEN) - 1:
            continue  # the last character of a 64 byte signature has bits that carry nothing
        token = TOKEN[:at] + ("A" if old != "A" else "B") + TOKEN[at + 1 :]
        with pytest.raises(LeaseInvalid):
            verifier().verify(token, now=NOW)


def test_claims_of_one_lease_are_not_carried_by_the_signature_of_another() -> None:
    header, _, signature = TOKEN.split(".")
    with pytest.raises(LeaseInvalid, match="InvalidSignature"):
        verifier().verify(f"{header}.{part({**claims(), 'access': 'full', 'ver': 8})}.{signature}", now=NOW)


def test_a_key_that_is_not_ours_is_told_as_unknown() -> None:
    with pytest.raises(LeaseInvalid, match="not known here") as caught:
        verifier().verify(sign_lease(LEASE, seed=OTHER_SEED), now=NOW)
    assert caught.value.unknown_key


def test_another_key_under_the_name_of_ours_is_refused() -> None:
    with pytest.raises(LeaseInvalid, match="InvalidSignature") as caught:
        verifier().verify(forged(HEADER, claims(), seed=OTHER_SEED), now=NOW)
    assert not caught.value.unknown_key


def test_alg_none_is_refused() -> None:
    token = f"{part({**HEADER, 'alg': 'none'})}.{part(claims())}."
    with pytest.raises(LeaseInvalid):
        verifier().verify(token, now=NOW)


@pytest.mark.parametrize("alg", ["HS256", "HS512"])
def test_the_public_key_used_as_a_shared_secret_is_refused(alg: str) -> None:
    token = jwt.encode(claims(), PUBLIC * 2, algorithm=alg, headers={"typ": LEASE_TYPE, "kid": KID})
    with pytest.raises(LeaseInvalid):
        verifier().verify(token, now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "EdDSA", "kid": KID},
        {**HEADER, "typ": "JWT"},
        {**HEADER, "alg": "HS256"},
        {**HEADER, "jwk": jwks_of({KID: PUBLIC})["keys"][0]},
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "kid": [KID]},
        {"alg": "EdDSA", "typ": LEASE_TYPE},
    ],
)
def test_a_header_with_anything_else_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(LeaseInvalid):
        verifier().verify(forged(header, claims()), now=NOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", None), ("exp", "2026-09-01"), ("exp", 1e9), ("exp", True), ("exp", 10**15), ("exp", -1),
        ("nbf", None), ("iat", None), ("ver", "7"), ("ver", True), ("sub", "cus_1"), ("sub", "customer:"),
        ("sub", "invoice:1"), ("state", None), ("access", 1), ("block_changes", 0), ("iss", None),
        ("subscriptions", []), ("subscriptions", {"s": {}}), ("subscriptions", {"s": 1}),
    ],
)  # fmt: skip
def test_a_claim_that_is_missing_or_of_another_type_is_refused(name: str, value: object) -> None:
    changed = {key: each for key, each in {**claims(), name: value}.items() if each is not None}
    with pytest.raises(LeaseInvalid):
        verifier().verify(forged(HEADER, changed), now=NOW)


def test_a_later_not_before_counts() -> None:
    token = forged(HEADER, {**claims(), "nbf": int(NOW.timestamp()) + 60})
    with pytest.raises(LeaseInvalid, match="future"):
        verifier().verify(token, now=NOW)


@given(
    st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_=-]{0,20}(\.[A-Za-z0-9_=-]{0,20}){0,3}", fullmatch=True)
)
def test_whatever_a_stranger_sends_is_refused_as_a_lease_and_nothing_else(text: str) -> None:
    with pytest.raises(LeaseInvalid):
        verifier().verify(text, now=NOW)


def test_a_very_long_token_is_refused_unread() -> None:
    with pytest.raises(LeaseInvalid, match="compact"):
        verifier().verify(TOKEN + "A" * 20_000, now=NOW)


def test_another_issuer_is_refused() -> None:
    with pytest.raises(LeaseInvalid, match="issued by"):
        verifier(issuer="https://elsewhere.test").verify(TOKEN, now=NOW)


def test_keys_survive_the_way_through_a_key_set_and_foreign_ones_are_passed_over() -> None:
    other = public_of(OTHER_SEED)
    document = jwks_of({KID: PUBLIC, key_id(other): other})
    document["keys"] += [
        {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519"},
    ]
    assert keys_of(json.loads(json.dumps(document))) == {KID: PUBLIC, key_id(other): other}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": 1},
        {"keys": [1]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AAAA"}]},
    ],
)
def test_what_is_no_key_set_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match=r"key"):
        keys_of(document)


def test_with_two_keys_published_leases_of_both_are_believed() -> None:
    both = LeaseVerifier({KID: PUBLIC, key_id(public_of(OTHER_SEED)): public_of(OTHER_SEED)})
    assert both.verify(TOKEN, now=NOW) == both.verify(sign_lease(LEASE, seed=OTHER_SEED), now=NOW)


def test_what_is_remembered_is_bounded_and_right_in_many_threads() -> None:
    shared = verifier(remembered=2)
    leases = [replace(LEASE, version=version) for version in range(6)]
    tokens = {sign_lease(lease, seed=SEED): lease for lease in leases}
    wrong: list[Lease] = []

    def ask() -> None:
        for token, lease in list(tokens.items()) * 5:
            read = shared.verify(token, now=NOW)
            if read != lease:
                wrong.append(read)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(shared._known) == 2


def test_a_lease_is_verified_without_a_client() -> None:
    clock = VirtualClock(NOW)
    assert verify_lease(TOKEN, jwks_of({KID: PUBLIC}), clock=clock) == LEASE
    with pytest.raises(LeaseInvalid, match="public keys cannot be read"):
        verify_lease(TOKEN, {}, clock=clock)


def test_neither_a_lease_nor_a_verifier_shows_a_key() -> None:
    assert repr(verifier()) == "<LeaseVerifier with 1 keys>"
