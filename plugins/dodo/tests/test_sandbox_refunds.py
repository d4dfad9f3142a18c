"""Refunds and disputes, by Dodo's rules."""

from __future__ import annotations

from datetime import timedelta

import pytest


@pytest.fixture
def payment(api, sandbox):
    return sandbox.pay(api.checkout(api.product(), metadata={"lago_invoice_id": "inv-1"})["session_id"])


def refund(api, payment, *, amount=None, **more):
    body = {"payment_id": payment["payment_id"]} | more
    if amount is not None:
        body["items"] = [{"item_id": payment["product_cart"][0]["product_id"], "amount": amount}]
    return api.post("/refunds", body)


def test_a_full_refund_carries_its_own_metadata_only(api, payment):
    answer = refund(api, payment, metadata={"credit_note": "cn-1"})
    assert (answer["amount"], answer["currency"], answer["is_partial"]) == (12000, "EUR", False)
    assert answer["metadata"] == {"credit_note": "cn-1"}
    whole = api.get(f"/payments/{payment['payment_id']}")
    assert whole["refund_status"] == "full"
    assert [entry["refund_id"] for entry in whole["refunds"]] == [answer["refund_id"]]


def test_partial_refunds_add_up_and_stop_at_the_total(api, payment):
    assert refund(api, payment, amount=5000)["is_partial"] is True
    refund(api, payment, amount=7001)
    assert (api.status, api.code) == (422, "INVALID_REFUND_AMOUNT")
    assert api.get(f"/payments/{payment['payment_id']}")["refund_status"] == "partial"
    refund(api, payment, amount=7000)
    assert api.get(f"/payments/{payment['payment_id']}")["refund_status"] == "full"
    refund(api, payment)
    assert (api.status, api.code) == (422, "PAYMENT_ALREADY_REFUNDED")


def test_amounts_without_a_currency_are_read_in_the_settlement_currency(api, sandbox):
    sandbox.settings.settlement_currency = "USD"
    payment = sandbox.pay(api.checkout(api.product(), 10000)["session_id"])
    assert (payment["settlement_amount"], payment["settlement_currency"]) == (11000, "USD")
    trapped = refund(api, payment, amount=1100)
    assert (trapped["amount"], trapped["currency"]) == (1100, "USD")
    (line,) = api.get(f"/payments/{payment['payment_id']}/line-items?currency=EUR")["items"]
    assert line["refundable_amount"] == 9000
    meant = refund(api, payment, amount=1100, currency="EUR")
    assert (meant["amount"], meant["currency"]) == (1100, "EUR")
    (line,) = api.get(f"/payments/{payment['payment_id']}/line-items")["items"]
    assert line["refundable_amount"] == 8690


def test_tax_can_come_on_top_of_the_refunded_amount(api, sandbox):
    sandbox.settings.tax_rate_percent = 20
    payment = sandbox.pay(api.checkout(api.product())["session_id"])
    item = {"item_id": payment["product_cart"][0]["product_id"], "amount": 1000, "tax_inclusive": False}
    answer = api.post("/refunds", {"payment_id": payment["payment_id"], "items": [item]})
    assert answer["amount"] == 1200


def test_refunds_end_after_thirty_days(api, payment, clock):
    clock.advance(timedelta(days=30))
    refund(api, payment, amount=100)
    assert api.status == 200
    clock.advance(timedelta(seconds=1))
    refund(api, payment, amount=100)
    assert (api.status, api.code) == (422, "REFUND_WINDOW_EXPIRED")


def test_only_one_refund_is_pending_at_a_time(api, sandbox, payment, clock, mailbox):
    sandbox.settings.refund_delay = timedelta(hours=1)
    assert refund(api, payment, amount=100)["status"] == "pending"
    refund(api, payment, amount=100)
    assert (api.status, api.code) == (409, "EXISTING_REFUND_REQUEST_PROCESSING")
    clock.advance(timedelta(hours=1))
    sandbox.tick()
    sandbox.deliver_webhooks()
    assert mailbox.types[-1] == "refund.succeeded"
    refund(api, payment, amount=100)
    assert api.status == 200


def test_a_failed_refund_takes_nothing_away(api, sandbox, payment, mailbox):
    sandbox.settings.refund_outcome = "failed"
    refund(api, payment)
    sandbox.deliver_webhooks()
    assert mailbox.types[-1] == "refund.failed"
    sandbox.settings.refund_outcome = "succeeded"
    assert refund(api, payment)["amount"] == 12000


def test_only_money_that_arrived_can_be_refunded(api, sandbox):
    failed = sandbox.decline(api.checkout(api.product())["session_id"])
    refund(api, failed)
    assert (api.status, api.code) == (422, "PAYMENT_NOT_SUCCEEDED")


def test_a_dashboard_refund_has_no_metadata(sandbox, payment):
    answer = sandbox.refund(payment["payment_id"], 2500)
    assert (answer["metadata"], answer["amount"], answer["is_partial"]) == ({}, 2500, True)


def test_disputes_are_announced_with_amounts_as_text_and_can_be_read(api, sandbox, payment, mailbox):
    opened = sandbox.dispute(payment["payment_id"])
    sandbox.dispute_event(opened["dispute_id"], "lost", rdr=True)
    sandbox.deliver_webhooks()
    assert mailbox.types[-2:] == ["dispute.opened", "dispute.lost"]
    seen = api.get(f"/disputes/{opened['dispute_id']}")
    assert (seen["amount"], seen["dispute_status"], seen["dispute_stage"]) == (
        "12000",
        "dispute_lost",
        "pre_dispute",
    )
    assert seen["is_resolved_by_rdr"] is True
    (row,) = api.get("/disputes?dispute_status=dispute_lost")["items"]
    assert row["dispute_id"] == opened["dispute_id"]
    (paid,) = api.get("/payments")["items"]
    assert paid["dispute_status"] == "dispute_lost"
