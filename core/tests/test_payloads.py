"""Reading a provider's JSON: what is taken, what is refused, and that a refusal names the key and never the value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billhook.errors import PayloadInvalid
from billhook.payloads import (
    LARGEST,
    Json,
    flag,
    maybe_instant,
    maybe_record,
    maybe_text,
    parsed,
    record,
    records,
    text,
    whole,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def listed(data: Json, key: str) -> list[Json]:
    return list(records(data, key))


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadInvalid, match="JSON"):
        parsed(body)


def test_a_body_is_read_whole() -> None:
    assert parsed('{"a": {"b": "ü"}, "c": [1]}'.encode()) == {"a": {"b": "ü"}, "c": [1]}


@pytest.mark.parametrize(
    ("read", "data", "value"),
    [
        (text, {"k": "x"}, "x"),
        (maybe_text, {"k": "x"}, "x"),
        (maybe_text, {"k": ""}, None),
        (maybe_text, {"k": None}, None),
        (maybe_text, {}, None),
        (record, {"k": {}}, {}),
        (maybe_record, {"k": {"a": 1}}, {"a": 1}),
        (maybe_record, {}, {}),
        (listed, {"k": [{"a": 1}, {}]}, [{"a": 1}, {}]),
        (listed, {"k": None}, []),
        (whole, {"k": 0}, 0),
        (whole, {"k": LARGEST}, LARGEST),
        (flag, {"k": True}, True),
        (flag, {"k": None}, False),
        (flag, {}, False),
        (maybe_instant, {"k": "2026-03-01T10:00:00Z"}, datetime(2026, 3, 1, 10, tzinfo=UTC)),
        (maybe_instant, {"k": "2026-03-01T10:00:00+02:00"}, datetime(2026, 3, 1, 8, tzinfo=UTC)),
        (maybe_instant, {"k": ""}, None),
    ],
)
def test_what_is_there_is_read(read: Callable[[Json, str], object], data: Json, value: object) -> None:
    assert read(data, "k") == value


@pytest.mark.parametrize(
    ("read", "wrong", "told"),
    [
        (text, None, "k: expected text, got nothing"),
        (text, "", "k: expected text, got empty text"),
        (text, 7, "k: expected text, got another number"),
        (maybe_text, ["secret"], "k: expected text, got a list"),
        (record, "secret", "k: expected an object, got text"),
        (maybe_record, True, "k: expected an object, got a boolean"),
        (listed, {"a": 1}, "k: expected a list, got an object"),
        (listed, ["secret"], "k: expected objects in the list, got text"),
        (whole, -1, "k: expected a whole number, got another number"),
        (whole, LARGEST + 1, "k: expected a whole number, got another number"),
        (whole, 1.0, "k: expected a whole number, got another number"),
        (whole, True, "k: expected a whole number, got a boolean"),
        (whole, "12", "k: expected a whole number, got text"),
        (lambda data, key: whole(data, key, of="minor units"), None,
         "k: expected a whole number of minor units, got nothing"),
        (lambda data, key: whole(data, key, least=-5, most=5), 6, "k: expected a whole number, got another number"),
        (flag, 0, "k: expected true or false, got another number"),
        (maybe_instant, "yesterday", "k: expected an ISO 8601 time"),
        (maybe_instant, "2026-03-01T10:00:00", "k: the time has no zone"),
        (maybe_instant, "2026-03-01", "k: the time has no zone"),
        (maybe_instant, "0001-01-01T00:00:00+14:00", "k: expected an ISO 8601 time"),
        (maybe_instant, 1_700_000_000, "k: expected text, got another number"),
    ],
)  # fmt: skip
def test_what_is_of_another_type_is_refused_by_its_key_and_type(
    read: Callable[[Json, str], object], wrong: object, told: str
) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        read({"k": wrong}, "k")
    assert str(caught.value) == told


def refusal(read: Callable[[Json, str], object], data: Json) -> str | None:
    try:
        read(data, "k")
    except PayloadInvalid as exc:
        return str(exc)
    return None


@given(value=JSON)
def test_whatever_comes_is_read_or_refused_and_never_shown(value: Any) -> None:
    for read in (text, maybe_text, record, maybe_record, listed, whole, flag, maybe_instant):
        told = refusal(read, {"k": value})
        assert told is None or told.startswith("k: ")
        assert told is None or not (isinstance(value, str) and len(value) > 12 and value in told)
