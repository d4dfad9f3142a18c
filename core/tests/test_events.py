"""Facts: written, read, told apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billhook.events import (
    EVENT_TYPES,
    CollectionRequested,
    Event,
    InvoiceVoided,
    PaymentSucceeded,
    dated,
    fact_key,
    from_json,
    to_json,
)
from billhook.model import Ref
from billhook.money import Money
from billhook.testing.strategies import events

AT = datetime(2026, 8, 1, 9, 15, tzinfo=UTC)
INVOICE = Ref("lago", "inv_1")


def paid(**changes: object) -> PaymentSucceeded:
    fact = PaymentSucceeded(
        at=AT,
        ref=Ref("dodo", "pay_1"),
        amount=Money(4900, "EUR"),
        applied=Money(4900, "EUR"),
        metadata={"a": "1", "b": "2"},
    )
    return replace(fact, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_every_fact_is_read_as_it_was_written(kind: type[Event], data: st.DataObject) -> None:
    fact = data.draw(events(kind))
    again = from_json(to_json(fact))
    assert again == fact
    assert type(again) is kind
    assert fact_key(again) == fact_key(fact)


@given(events())
def test_writing_is_canonical(fact: Event) -> None:
    text = to_json(fact)
    assert to_json(from_json(text)) == text
    assert from_json(text.encode()) == fact


def test_every_fact_has_a_name_of_its_own() -> None:
    assert len(EVENT_TYPES) == len(get_args(Event))
    assert "payment.succeeded" in EVENT_TYPES


def test_equal_facts_have_one_key_whatever_the_order_of_their_metadata() -> None:
    assert fact_key(paid(metadata={"b": "2", "a": "1"})) == fact_key(paid())


def test_one_instant_has_one_key_in_every_time_zone() -> None:
    warsaw = AT.astimezone(timezone(timedelta(hours=2)))
    assert paid(at=warsaw) == paid()
    assert fact_key(paid(at=warsaw)) == fact_key(paid())
    assert paid(at=warsaw).at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "change",
    [
        {"at": AT + timedelta(seconds=1)},
        {"amount": Money(4901, "EUR")},
        {"ref": Ref("dodo", "pay_2")},
        {"metadata": {}},
    ],
    ids=["time", "amount", "ref", "metadata"],
)
def test_another_statement_has_another_key(change: dict[str, object]) -> None:
    assert fact_key(paid(**change)) != fact_key(paid())


def test_facts_of_two_kinds_about_one_thing_have_two_keys() -> None:
    assert fact_key(InvoiceVoided(at=AT, ref=INVOICE)) != fact_key(CollectionRequested(at=AT, ref=INVOICE))


def test_an_undated_fact_has_no_key() -> None:
    with pytest.raises(ValueError, match=r"invoice\.voided has no time"):
        fact_key(InvoiceVoided(ref=INVOICE))


def test_an_undated_fact_is_dated_when_we_heard_of_it() -> None:
    assert dated(InvoiceVoided(ref=INVOICE), heard_at=AT) == InvoiceVoided(at=AT, ref=INVOICE)


def test_a_dated_fact_keeps_its_time() -> None:
    assert dated(paid(), heard_at=AT + timedelta(days=1)) == paid()


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        InvoiceVoided(at=datetime(2026, 8, 1), ref=INVOICE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"type":"payment.invented"}',
        '{"type":"invoice.voided"}',
        '{"type":"invoice.voided","ref":"lago:inv_1"}',
    ],
)
def test_what_is_no_fact_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_json(text)


def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    text = to_json(paid()).replace("{", '{"new_field":1,', 1)
    assert from_json(text) == paid()


def test_a_value_of_a_wrong_type_is_not_written() -> None:
    with pytest.raises(ValueError, match="customer_id"):
        to_json(CollectionRequested(at=AT, ref=INVOICE, customer_id=1.5))  # type: ignore[arg-type]
