"""Giving money back: whole, in part, by the lines, and once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billhook.errors import NotFound, OutcomeUnknown, Refused, Temporary
from billhook.model import Ref
from billhook.money import Money
from billhook.provider import RefundRequest
from billhook.testing.connection import make_collect_request
from billhook.testing.sandbox import Fault, FaultKind
from billhook_dodo.provider import DodoPayments


@pytest.fixture
def provider(context) -> DodoPayments:
    return DodoPayments.connect(context())


@pytest.fixture
def paid(provider, sandbox) -> dict[str, Any]:
    """A payment of 120 EUR."""
    return sandbox.pay(provider.collect(make_collect_request(12000, "EUR", invoice="i1")).session)


def asked(paid: dict[str, Any], minor: int, *, whole: bool = False, currency: str = "EUR", **more: Any):
    return replace(
        RefundRequest(
            key="refund-1",
            payment=Ref("dodo", paid["payment_id"]),
            amount=Money(minor, currency),
            whole=whole,
            reason="broken on arrival",
            metadata={"billhook_credit_note": "lago:cn_1"},
            since=NOW,
        ),
        **more,
    )


NOW = make_collect_request(1, "EUR", invoice="x").since


def body(sandbox) -> dict[str, Any]:
    return next(call.json for call in reversed(sandbox.requests) if call.path == "/refunds" and call.json)


def test_a_whole_refund_names_the_payment_and_carries_our_key(provider, sandbox, paid):
    ref = provider.refund(asked(paid, 12000, whole=True))
    [refund] = sandbox.refunds
    assert ref == Ref("dodo", refund["refund_id"])
    assert (refund["amount"], refund["is_partial"]) == (12000, False)
    assert body(sandbox) == {
        "payment_id": paid["payment_id"],
        "reason": "broken on arrival (billhook:refund-1)",
    }
    assert sandbox.requests[-1].headers["Idempotency-Key"] == "refund-1"


def test_a_part_is_taken_from_the_payments_line(provider, sandbox, paid):
    provider.refund(asked(paid, 5000))
    provider.refund(asked(paid, 7000, key="refund-2", reason=None))
    assert [(entry["amount"], entry["is_partial"]) for entry in sandbox.refunds] == [
        (5000, True),
        (7000, True),
    ]
    sent = body(sandbox)
    product = paid["product_cart"][0]["product_id"]
    assert sent["items"] == [{"item_id": product, "amount": 7000, "tax_inclusive": True}]
    assert sent["reason"] == "Refund (billhook:refund-2)"
    assert "currency" not in sent


def test_a_part_is_meant_in_the_currency_the_customer_paid_in(provider, sandbox):
    sandbox.settings.settlement_currency = "USD"
    paid = sandbox.pay(provider.collect(make_collect_request(12000, "EUR", invoice="i2")).session)
    provider.refund(asked(paid, 5000))
    assert body(sandbox)["currency"] == "EUR"
    assert (sandbox.refunds[0]["amount"], sandbox.refunds[0]["currency"]) == (5000, "EUR")


def test_more_than_is_left_is_refused_before_it_is_asked_for(provider, sandbox, paid):
    provider.refund(asked(paid, 5000))
    with pytest.raises(Refused, match=r"Only 70\.00 EUR .* not 70\.01 EUR"):
        provider.refund(asked(paid, 7001, key="refund-2"))
    with pytest.raises(Refused, match="nothing to refund"):
        provider.refund(asked(paid, 0, key="refund-3"))
    assert len(sandbox.refunds) == 1


def test_dodos_rules_are_told_in_words(provider, sandbox, paid, clock):
    clock.advance(timedelta(days=31))
    with pytest.raises(Refused, match="30 days") as caught:
        provider.refund(asked(paid, 12000, whole=True))
    assert caught.value.code == "REFUND_WINDOW_EXPIRED"
    with pytest.raises(NotFound):
        provider.refund(asked({"payment_id": "pay_gone"}, 12000, whole=True))


def test_a_refund_under_way_is_waited_for(provider, sandbox, paid):
    sandbox.settings.refund_delay = timedelta(hours=1)
    provider.refund(asked(paid, 5000))
    with pytest.raises(Temporary) as caught:
        provider.refund(asked(paid, 5000, key="refund-2"))
    assert caught.value.retry_after == timedelta(minutes=10)
    assert len(sandbox.refunds) == 1


def test_a_lost_answer_is_looked_up_and_the_money_given_back_once(provider, sandbox, paid):
    request = asked(paid, 5000)
    assert provider.find_refund(request) is None
    sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST", path="/refunds"))
    with pytest.raises(OutcomeUnknown):
        provider.refund(request)
    assert provider.find_refund(request) == Ref("dodo", sandbox.refunds[0]["refund_id"])
    assert provider.find_refund(replace(request, key="refund-2")) is None
    assert len(sandbox.refunds) == 1


def test_a_list_that_leaves_the_reason_out_is_followed_to_the_refund(context, sandbox, paid):
    """Should a list not show reasons, each refund of the payment is read by itself."""
    provider = DodoPayments.connect(context(app=_without_reasons_in_lists(sandbox)))
    ref = provider.refund(asked(paid, 12000, whole=True))
    assert provider.find_refund(asked(paid, 12000, whole=True)) == ref
    assert sandbox.requests[-1].path == f"/refunds/{ref.id}"


def _without_reasons_in_lists(sandbox):
    import json

    from werkzeug.test import Client
    from werkzeug.wrappers import Request, Response

    def app(environ, start_response):
        request = Request(environ)
        answer = Client(sandbox).open(
            request.full_path,
            method=request.method,
            data=request.get_data(),
            headers=dict(request.headers),
        )
        shown = answer.get_json()
        for row in shown.get("items", ()):
            row.pop("reason", None)
        return Response(json.dumps(shown), status=answer.status_code)(environ, start_response)

    return app
