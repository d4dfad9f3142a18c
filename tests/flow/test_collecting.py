"""The main job: an invoice of the billing engine is collected by the payment provider, and the books agree.

The same stories for every provider: what its customers, banks and staff do goes through its part in the story.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from billhook.model import DeclineClass, PaymentStatus
from billhook.money import Money
from billhook.testing.story import StoryCheckout
from tests.flow.flow import PAYERS, Flow

DAY = timedelta(days=1)


@pytest.fixture(params=PAYERS)
def payer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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


def the_checkout(flow: Flow) -> StoryCheckout:
    (checkout,) = flow.till.checkouts()
    return checkout


def keys(flow: Flow) -> list[str | None]:
    """The idempotency keys the provider was asked with."""
    return [call.key for call in flow.till.calls()]


def paid(flow: Flow, invoice: dict) -> str:
    """Let the customer pay; return the payment's id."""
    payment = flow.till.pay(the_checkout(flow).id)
    flow.settle()
    assert flow.invoice(invoice["lago_id"]).balance == 0
    return payment


def test_an_invoice_is_paid_at_the_checkout_and_recorded_in_the_billing_engine(flow: Flow) -> None:
    invoice = an_invoice(flow)
    assert keys(flow).count(f"lago-inv-{invoice['lago_id']}") == 1
    assert the_checkout(flow).metadata["lago_invoice_id"] == invoice["lago_id"]
    paid_with = paid(flow, invoice)
    (payment,) = flow.lago.payments
    assert (payment["amount_cents"], payment["reference"]) == (12000, paid_with)
    ours = flow.invoice(invoice["lago_id"])
    assert (ours.payment_status, ours.balance) == (PaymentStatus.SUCCEEDED, 0)
    assert flow.lago.invoices[0]["payment_status"] == "succeeded"
    assert flow.dead() == []


def test_a_soft_decline_is_recorded_and_tried_again_by_schedule(flow: Flow) -> None:
    invoice = an_invoice(flow)
    flow.till.decline(the_checkout(flow).id, DeclineClass.SOFT)
    flow.settle()
    assert flow.lago.invoices[0]["payment_status"] == "failed"
    assert flow.invoice(invoice["lago_id"]).payment_status is PaymentStatus.FAILED
    flow.skip(2 * DAY)
    assert len(flow.till.checkouts()) == 1
    flow.skip(1 * DAY)
    first, second = flow.till.checkouts()
    assert f"lago-inv-{invoice['lago_id']}-attempt-2" in keys(flow)
    assert not first.usable
    flow.till.pay(second.id)
    flow.settle()
    assert flow.lago.invoices[0]["payment_status"] == "succeeded"
    assert flow.invoice(invoice["lago_id"]).balance == 0
    assert flow.dead() == []


def test_a_hard_decline_is_not_tried_again(flow: Flow) -> None:
    an_invoice(flow)
    flow.till.decline(the_checkout(flow).id, DeclineClass.HARD)
    flow.settle()
    flow.skip(30 * DAY)
    assert len(flow.till.checkouts()) == 1
    assert flow.lago.invoices[0]["payment_status"] == "failed"


def test_partial_refunds_become_one_credit_note_each(flow: Flow) -> None:
    invoice = an_invoice(flow)
    payment = paid(flow, invoice)
    flow.till.refund(payment, Money(5000, "EUR"))
    flow.settle()
    flow.till.refund(payment, None)
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
    paid(flow, invoice)
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
    (refund,) = flow.payer.refunds
    assert refund["amount"] == 3000
    (credit_note,) = flow.lago.credit_notes
    assert credit_note["refund_status"] == "succeeded"
    assert flow.dead() == []


def test_a_lost_dispute_opens_the_balance_again(flow: Flow) -> None:
    invoice = an_invoice(flow)
    dispute = flow.till.dispute(paid(flow, invoice))
    flow.settle()
    assert flow.invoice(invoice["lago_id"]).balance == 0
    flow.till.lose(dispute)
    flow.settle()
    ours = flow.invoice(invoice["lago_id"])
    assert (ours.disputed, ours.balance) == (True, 12000)


def test_a_customer_who_agreed_once_is_charged_without_being_there(flow: Flow) -> None:
    flow.api("PUT", "/customers/acct_1", name="Acme & Sons", email="billing@acme.example", currency="EUR")
    flow.settle()
    flow.till.authorise({"lago_customer_id": "acct_1"})
    flow.settle()
    invoice = flow.lago.issue_invoice("acct_1", 12000)
    flow.settle()
    assert flow.till.checkouts() == [] or not any(each.usable for each in flow.till.checkouts())
    assert [each.amount for each in flow.till.payments() if each.succeeded] == [Money(12000, "EUR")]
    assert flow.invoice(invoice["lago_id"]).balance == 0
    assert [payment["amount_cents"] for payment in flow.lago.payments] == [12000]
    assert flow.dead() == []


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
