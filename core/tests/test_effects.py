"""Effects: written, read, and told apart by their keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billhook.effects import (
    ArrangeMethod,
    ChooseMethod,
    CloseRefund,
    CollectInvoice,
    Effect,
    IssueCreditNote,
    RecordFailure,
    RecordPayment,
    RefundPayment,
    SyncCustomer,
    collection_key,
    from_json,
    to_json,
)
from billhook.model import Ref
from billhook.money import Money

AT = datetime(2026, 8, 1, 9, 15, tzinfo=UTC)
INVOICE, PAYMENT, REFUND, NOTE = (
    Ref("lago", "inv_1"),
    Ref("dodo", "pay_1"),
    Ref("dodo", "ref_1"),
    Ref("lago", "cn_1"),
)
EUR = Money(4900, "EUR")

EXAMPLES: dict[str, Effect] = {
    "collect/lago:inv_1/1": CollectInvoice(invoice=INVOICE),
    "collect/lago:inv_1/2": CollectInvoice(invoice=INVOICE, attempt=2, not_before=AT),
    "record/dodo:pay_1": RecordPayment(invoice=INVOICE, payment=PAYMENT, amount=EUR, paid_at=AT),
    "record-failure/dodo:pay_1": RecordFailure(invoice=INVOICE, payment=PAYMENT),
    "credit/dodo:ref_1": IssueCreditNote(
        invoice=INVOICE, payment=PAYMENT, refund=REFUND, amount=EUR, reason="late"
    ),
    "refund/lago:cn_1/dodo:pay_1": RefundPayment(
        invoice=INVOICE, credit_note=NOTE, payment=PAYMENT, amount=EUR
    ),
    "close/lago:cn_1/dodo:ref_1/failed": CloseRefund(
        invoice=INVOICE, credit_note=NOTE, refund=REFUND, succeeded=False
    ),
    "close/lago:cn_1/dodo:ref_1/succeeded": CloseRefund(
        invoice=INVOICE, credit_note=NOTE, refund=REFUND, succeeded=True
    ),
    "arrange/dodo/set_1": ArrangeMethod(customer_id="acme", connection="dodo", setup="set_1"),
    "choose/lago/acme/dodo:pm_1/2026-08-01T09:15:00+00:00": ChooseMethod(
        customer_id="acme", connection="lago", method=Ref("dodo", "pm_1"), chosen_at=AT
    ),
    "customer/lago/acme/3": SyncCustomer(customer_id="acme", connection="lago", version=3),
}


@pytest.mark.parametrize("effect", EXAMPLES.values(), ids=EXAMPLES)
def test_every_effect_is_read_as_it_was_written(effect: Effect) -> None:
    assert from_json(to_json(effect)) == effect
    assert type(from_json(to_json(effect).encode())) is type(effect)


@pytest.mark.parametrize(("key", "effect"), EXAMPLES.items(), ids=EXAMPLES)
def test_an_effect_is_known_by_its_key(key: str, effect: Effect) -> None:
    assert effect.key == key


@pytest.mark.parametrize("effect", EXAMPLES.values(), ids=EXAMPLES)
def test_planning_an_effect_for_later_leaves_its_key(effect: Effect) -> None:
    assert replace(effect, not_before=AT + timedelta(days=3)).key == effect.key


def test_what_the_engine_is_told_about_one_invoice_shares_a_lane() -> None:
    kinds = (RecordPayment, RecordFailure, IssueCreditNote, CloseRefund)
    assert {effect.lane for effect in EXAMPLES.values() if isinstance(effect, kinds)} == {"books/lago:inv_1"}


def test_attempts_on_one_invoice_share_a_lane() -> None:
    assert {effect.lane for effect in EXAMPLES.values() if isinstance(effect, CollectInvoice)} == {
        "collect/lago:inv_1"
    }


def test_refunds_of_one_invoice_share_a_lane() -> None:
    other_note = RefundPayment(invoice=INVOICE, credit_note=Ref("lago", "cn_2"), payment=PAYMENT, amount=EUR)
    assert other_note.lane == "refund/lago:inv_1"


def test_changes_of_one_customer_share_a_lane_and_have_keys_of_their_own() -> None:
    first, second = (
        SyncCustomer(customer_id="acme", connection="lago", version=version) for version in (1, 2)
    )
    assert first.lane == second.lane == "customer/lago/acme"
    assert first.key != second.key


@pytest.mark.parametrize(
    ("connection", "attempt", "key"),
    [
        ("lago", 1, "lago-inv-5f1e"),
        ("lago", 2, "lago-inv-5f1e-attempt-2"),
        ("lago-eu", 1, "lago-eu-inv-5f1e"),
        ("lago-eu", 12, "lago-eu-inv-5f1e-attempt-12"),
    ],
)
def test_the_key_of_an_attempt_names_invoice_and_number(connection: str, attempt: int, key: str) -> None:
    assert collection_key(Ref(connection, "5f1e"), attempt) == key


def test_what_is_no_effect_is_refused() -> None:
    with pytest.raises(ValueError):
        from_json('{"kind":"burn_money"}')
