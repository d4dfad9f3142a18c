"""Giving money back."""

from __future__ import annotations

import pytest

from billhook.errors import Refused
from billhook.events import RefundChanged
from billhook.model import Ref
from billhook.money import Money
from billhook.provider import RefundRequest
from billhook.testing.connection import START, make_collect_request
from billhook_stripe.provider import StripePayments
from billhook_stripe.webhooks import StripeWebhooks


@pytest.fixture
def provider(context) -> StripePayments:
    return StripePayments.connect(context())


@pytest.fixture
def paid(provider, sandbox):
    """Make a payment of 49 euros with a card; return its id."""

    def pay(card: str = "4242424242424242") -> str:
        collected = provider.collect(make_collect_request(4900, "EUR", invoice="1", present=True))
        return sandbox.pay(collected.session, card=card)["id"]

    return pay


def back(payment: str, amount: int, *, key: str = "refund-1", reason: str | None = None) -> RefundRequest:
    return RefundRequest(
        key=key, payment=Ref("stripe", payment), amount=Money(amount, "EUR"), whole=amount == 4900, reason=reason,
        metadata={"billhook_credit_note": "lago:cn-1"}, since=START,
    )  # fmt: skip


def test_a_refund_carries_our_key_and_what_it_is_for(provider, sandbox, paid):
    ref = provider.refund(back(paid(), 900, reason="duplicate"))
    (refund,) = sandbox.refunds
    assert (ref.id, refund["amount"], refund["reason"]) == (refund["id"], 900, "duplicate")
    assert refund["metadata"] == {"billhook_key": "refund-1", "billhook_credit_note": "lago:cn-1"}


def test_parts_add_up_and_no_more_than_all_goes_back(provider, sandbox, paid):
    payment = paid()
    provider.refund(back(payment, 900, key="r1", reason="our own words"))
    provider.refund(back(payment, 4000, key="r2"))
    with pytest.raises(Refused, match="nothing of this payment is left"):
        provider.refund(back(payment, 100, key="r3"))
    assert [each["amount"] for each in sandbox.refunds] == [900, 4000]


def test_one_key_refunds_once(provider, sandbox, paid):
    payment = paid()
    assert provider.refund(back(payment, 900)) == provider.refund(back(payment, 900))
    assert len(sandbox.refunds) == 1


def test_nothing_is_no_refund_and_a_disputed_payment_takes_none(provider, sandbox, paid):
    payment = paid()
    with pytest.raises(Refused, match="nothing to refund"):
        provider.refund(back(payment, 0))
    sandbox.dispute(payment)
    with pytest.raises(Refused, match="taken this payment back"):
        provider.refund(back(payment, 900))


def test_a_refund_that_fails_later_is_told(provider, sandbox, paid, context):
    payment = paid("4000000000005126")
    provider.refund(back(payment, 900))
    sandbox.tick()
    source = StripeWebhooks.connect(context())
    told = [
        fact for event in sandbox.events for fact in source.told(event) if isinstance(fact, RefundChanged)
    ]
    assert [str(fact.status) for fact in told] == ["succeeded", "failed", "failed", "failed"]
    assert {fact.ref.id for fact in told} == {sandbox.refunds[0]["id"]}
