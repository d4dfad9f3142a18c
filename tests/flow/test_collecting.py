"""The main job: an invoice of the billing engine is collected by the payment provider, and the books agree."""

from __future__ import annotations

from datetime import timedelta

from billhook.model import PaymentStatus
from tests.flow.flow import Flow

DAY = timedelta(days=1)


def an_invoice(flow: Flow, amount: int = 12000) -> dict:
    """A customer with an invoice that is due."""
    flow.api("PUT", "/customers/acct_1", name="Acme & Sons", email="billing@acme.example", currency="EUR")
    flow.settle()
    invoice = flow.lago.issue_invoice("acct_1", amount)
    flow.settle()
    return invoice


def only_checkout(flow: Flow) -> dict:
    (checkout,) = flow.dodo.checkouts
    return checkout


def test_an_invoice_is_paid_at_the_checkout_and_recorded_in_the_billing_engine(flow: Flow) -> None:
    invoice = an_invoice(flow)
    (request,) = [each for each in flow.dodo.requests if each.path == "/checkouts"]
    key = f"lago-inv-{invoice['lago_id']}"
    assert request.headers["Idempotency-Key"] == key
    assert request.json["metadata"]["lago_invoice_id"] == invoice["lago_id"]
    flow.dodo.pay(only_checkout(flow)["session_id"])
    flow.settle()
    (payment,) = flow.lago.payments
    assert (payment["amount_cents"], payment["reference"]) == (12000, flow.dodo.payments[0]["payment_id"])
    ours = flow.invoice(invoice["lago_id"])
    assert (ours.payment_status, ours.balance) == (PaymentStatus.SUCCEEDED, 0)
    assert flow.lago.invoices[0]["payment_status"] == "succeeded"
    assert flow.dead() == []


def test_a_soft_decline_is_recorded_and_tried_again_by_schedule(flow: Flow) -> None:
    invoice = an_invoice(flow)
    flow.dodo.decline(only_checkout(flow)["session_id"], code="INSUFFICIENT_FUNDS")
    flow.settle()
    assert flow.lago.invoices[0]["payment_status"] == "failed"
    assert flow.invoice(invoice["lago_id"]).payment_status is PaymentStatus.FAILED
    flow.skip(2 * DAY)
    assert len(flow.dodo.checkouts) == 1
    flow.skip(1 * DAY)
    _, second = flow.dodo.checkouts
    request = [each for each in flow.dodo.requests if each.path == "/checkouts"][-1]
    assert request.headers["Idempotency-Key"] == f"lago-inv-{invoice['lago_id']}-attempt-2"
    flow.dodo.pay(second["session_id"])
    flow.settle()
    assert flow.lago.invoices[0]["payment_status"] == "succeeded"
    assert flow.invoice(invoice["lago_id"]).balance == 0
    assert flow.dead() == []


def test_a_hard_decline_is_not_tried_again(flow: Flow) -> None:
    an_invoice(flow)
    flow.dodo.decline(only_checkout(flow)["session_id"], code="STOLEN_CARD")
    flow.settle()
    flow.skip(30 * DAY)
    assert len(flow.dodo.checkouts) == 1
    assert flow.lago.invoices[0]["payment_status"] == "failed"


def test_partial_refunds_become_one_credit_note_each(flow: Flow) -> None:
    invoice = an_invoice(flow)
    flow.dodo.pay(only_checkout(flow)["session_id"])
    flow.settle()
    payment_id = flow.dodo.payments[0]["payment_id"]
    flow.dodo.refund(payment_id, 5000)
    flow.settle()
    flow.dodo.refund(payment_id)
    flow.settle()
    notes = flow.lago.credit_notes
    assert sorted(note["refund_amount_cents"] for note in notes) == [5000, 7000]
    assert {note["refund_status"] for note in notes} == {"succeeded"}
    assert {note["lago_invoice_id"] for note in notes} == {invoice["lago_id"]}
    ours = flow.api("GET", f"/invoices/lago:{invoice['lago_id']}")
    assert [note["refund_status"] for note in ours["credit_notes"]] == ["succeeded", "succeeded"]
    assert flow.dead() == []


def test_a_refund_that_begins_in_the_billing_engine_is_made_once_and_closed(flow: Flow) -> None:
    invoice = an_invoice(flow)
    flow.dodo.pay(only_checkout(flow)["session_id"])
    flow.settle()
    fee = flow.lago.invoices[0]["fees"][0]
    note = {
        "invoice_id": invoice["lago_id"],
        "reason": "other",
        "refund_amount_cents": 3000,
        "items": [{"fee_id": fee["lago_id"], "amount_cents": 3000}],
    }
    client = flow.lago_client()
    assert client.post("credit_notes", json={"credit_note": note}).ok
    flow.settle()
    (refund,) = flow.dodo.refunds
    assert refund["amount"] == 3000
    (credit_note,) = flow.lago.credit_notes
    assert credit_note["refund_status"] == "succeeded"
    assert flow.dead() == []


def test_a_lost_dispute_opens_the_balance_again(flow: Flow) -> None:
    invoice = an_invoice(flow)
    flow.dodo.pay(only_checkout(flow)["session_id"])
    flow.settle()
    dispute = flow.dodo.dispute(flow.dodo.payments[0]["payment_id"])
    flow.settle()
    assert flow.invoice(invoice["lago_id"]).balance == 0
    flow.dodo.dispute_event(dispute["dispute_id"], "lost")
    flow.settle()
    ours = flow.invoice(invoice["lago_id"])
    assert (ours.disputed, ours.balance) == (True, 12000)


def test_a_customer_registered_while_the_billing_engine_is_down_arrives_later(flow: Flow) -> None:
    from billhook.testing.sandbox import Fault, FaultKind

    flow.lago.faults.add(Fault(kind=FaultKind.UNAVAILABLE, path="customers", times=3))
    answer = flow.api("PUT", "/customers/acct_1", name="Ada", email="ada@acme.example")
    flow.api("PUT", "/customers/acct_1", name="Ada Byrne")
    assert answer["id"] == "acct_1"
    flow.settle()
    assert flow.lago.customers == []
    for _ in range(6):
        flow.skip(timedelta(minutes=1))
    (customer,) = flow.lago.customers
    assert (customer["name"], customer["email"]) == ("Ada Byrne", "ada@acme.example")
    assert flow.api("GET", "/customers/acct_1")["sync"][0]["status"] == "synced"
    assert flow.dead() == []
