"""What only happens with Stripe: banks that ask, debits that fail late, cards that are kept, another integration beside us.

The main stories, and the ones about charging once, are told with every provider: see ``PAYERS``.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from billhook.methods import PageState
from billhook.model import PaymentStatus
from billhook.money import Money
from billhook_stripe.provider import StripePayments
from billhook_web.stores import billing
from tests.flow.flow import Backend, Flow
from tests.flow.test_collecting import an_invoice

DAY = timedelta(days=1)
ASKS = "4000002760003184"
DEBIT, FAILING_DEBIT = "DE89370400440532013000", "DE62370400440532013001"


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    """The database makes no difference here: the main stories run on both."""
    return Backend("sqlite", f"sqlite:///{tmp_path / 'billhook.sqlite3'}", None)


@pytest.fixture
def payer() -> str:
    return "stripe"


@pytest.fixture
def customer(flow: Flow) -> str:
    """The Stripe customer of acct_1."""
    flow.api("PUT", "/customers/acct_1", name="Acme & Sons", email="billing@acme.example", currency="EUR")
    flow.settle()
    return str(flow.stripe.add_customer(metadata={"lago_customer_id": "acct_1"})["id"])


def keeps(flow: Flow, customer: str, card: str) -> str:
    """Let the customer keep a card or account; return it."""
    method = flow.stripe.add_method(customer, card=card, metadata={"lago_customer_id": "acct_1"})
    flow.settle()
    return str(method["id"])


def billed(flow: Flow) -> str:
    invoice = flow.lago.issue_invoice("acct_1", 12000)
    flow.settle()
    return str(invoice["lago_id"])


def provider(flow: Flow) -> StripePayments:
    found = flow.runtime.connections.provider("stripe")
    assert isinstance(found, StripePayments)
    return found


def test_a_bank_that_wants_the_customer_keeps_one_payment_that_they_finish(flow: Flow, customer: str) -> None:
    keeps(flow, customer, ASKS)
    invoice = billed(flow)
    assert flow.invoice(invoice).payment_status is PaymentStatus.REQUIRES_ACTION
    (checkout,) = flow.till.payments()
    wanted = provider(flow).page_payment(checkout.id)
    assert (wanted.state, wanted.amount) == (PageState.OPEN, Money(12000, "EUR"))
    flow.skip(30 * DAY)
    assert len(flow.stripe.intents) == 1
    flow.stripe.pay(checkout.id, card=ASKS)
    flow.settle()
    assert flow.invoice(invoice).payment_status is PaymentStatus.SUCCEEDED
    assert [payment["reference"] for payment in flow.lago.payments] == [checkout.id]
    assert flow.dead() == []


def test_a_debit_that_fails_days_later_is_tried_again_by_schedule(flow: Flow, customer: str) -> None:
    account = keeps(flow, customer, FAILING_DEBIT)
    invoice = billed(flow)
    assert flow.invoice(invoice).payment_status is PaymentStatus.PROCESSING
    flow.skip(3 * DAY)
    assert flow.invoice(invoice).payment_status is PaymentStatus.FAILED
    assert flow.lago.invoices[0]["payment_status"] == "failed"
    flow.stripe.set_card(account, DEBIT)
    flow.skip(3 * DAY)
    flow.skip(3 * DAY)
    assert flow.invoice(invoice).payment_status is PaymentStatus.SUCCEEDED
    assert [payment["amount_cents"] for payment in flow.lago.payments] == [12000]
    assert flow.dead() == []


def test_the_card_that_paid_once_pays_the_next_invoice_alone(flow: Flow, customer: str) -> None:
    first = billed(flow)
    (checkout,) = flow.till.checkouts()
    flow.till.pay(checkout.id)
    flow.settle()
    second = billed(flow)
    assert {flow.invoice(each).balance for each in (first, second)} == {0}
    assert (
        len(flow.stripe.customers) == 2
    )  # the link was made by the first payment: none was made for the second
    assert len(flow.stripe.charges) == 2
    assert flow.dead() == []


def test_a_second_card_on_the_same_page_pays_what_the_first_could_not(flow: Flow) -> None:
    invoice = an_invoice(flow)["lago_id"]
    (checkout,) = flow.till.checkouts()
    flow.stripe.pay(checkout.id, card="4000000000000002")
    flow.settle()
    assert flow.invoice(invoice).payment_status is PaymentStatus.FAILED
    flow.stripe.pay(checkout.id)
    flow.settle()
    flow.skip(30 * DAY)
    assert flow.invoice(invoice).payment_status is PaymentStatus.SUCCEEDED
    assert flow.lago.invoices[0]["payment_status"] == "succeeded"
    assert len(flow.stripe.intents) == 1
    assert flow.dead() == []


def test_what_the_billing_engine_s_own_integration_collects_is_only_watched(
    flow: Flow, customer: str
) -> None:
    keeps(flow, customer, "4242424242424242")
    flow.lago.webhooks.hold = True
    invoice = flow.lago.issue_invoice("acct_1", 12000)["lago_id"]
    theirs = flow.stripe.charge_elsewhere(customer, 12000, "eur", {"lago_invoice_id": invoice})
    flow.stripe.sender.drop = len(flow.stripe.events)
    flow.lago.webhooks.hold = False
    flow.settle()
    (collect,) = flow.effects("collect_invoice")
    with flow.runtime.db.read() as tx:
        (attempt,) = billing.attempts_of(tx, flow.invoice(invoice).ref)
    assert (attempt.by, attempt.payment.id) == ("existing", theirs["id"])
    assert [charge["amount"] for charge in flow.stripe.charges] == [12000]
    assert flow.dead() == []
    assert collect.status == "done"


def test_deliveries_that_come_twice_and_backwards_change_nothing(flow: Flow, customer: str) -> None:
    keeps(flow, customer, "4242424242424242")
    sender = flow.stripe.sender
    assert sender is not None
    sender.hold = True
    invoice = billed(flow)
    for event in flow.stripe.events[-3:]:
        flow.stripe.resend(event["id"])
    sender.reverse()
    sender.hold = False
    flow.settle()
    assert flow.invoice(invoice).payment_status is PaymentStatus.SUCCEEDED
    assert [payment["amount_cents"] for payment in flow.lago.payments] == [12000]
    assert flow.dead() == []
