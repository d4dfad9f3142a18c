"""Adding a payment method that goes wrong, is left, comes from elsewhere, or has to be told to a billing engine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from billhook.methods import PageState
from billhook.model import PaymentStatus, Ref
from billhook.testing.sandbox import Fault, FaultKind
from billhook_web.services.wallet import Wish
from billhook_web.stores.outbox import EffectStatus
from tests.flow.adding import ASKS, GOOD, REFUSED, Customer, arranged
from tests.flow.flow import Backend, Flow


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    """The database makes no difference here: the main stories run on both."""
    return Backend("sqlite", f"sqlite:///{tmp_path / 'billhook.sqlite3'}", None)


@pytest.fixture
def payer() -> str:
    return "stripe"


@pytest.fixture
def customer(flow: Flow) -> Customer:
    return Customer(flow)


def test_a_set_up_that_the_bank_refuses_changes_nothing(flow: Flow, customer: Customer) -> None:
    invoice = customer.failed_invoice()
    before = customer.kept()
    setup = customer.send_form(form="second")
    flow.stripe.save(setup, card=REFUSED)
    flow.settle()
    assert customer.come_back(setup).settled is None
    assert customer.kept() == before
    assert [each.key for each in flow.effects("arrange_method") if setup in each.key] == []
    assert flow.invoice(invoice).payment_status is PaymentStatus.FAILED
    assert customer.paid() == []


def test_a_question_that_was_left_and_answered_later_counts_as_it_was_wished_last(
    flow: Flow, customer: Customer
) -> None:
    customer.keep(GOOD)
    setup = customer.send_form(form="second", wish=Wish(default=True))
    assert customer.send_form(form="second", wish=Wish(default=False)) == setup  # changed and sent again
    customer.confirm(setup, "pm_card_authenticationRequired")
    left = customer.come_back(setup)
    assert (left.setup.state, left.settled) == (PageState.OPEN, None)
    flow.skip(timedelta(days=1))
    assert customer.kept() == [("4242", True)]
    flow.stripe.authenticate(setup, success=True)
    flow.settle()
    assert customer.kept() == [("4242", True), ("3184", False)]
    assert arranged(flow, setup) is EffectStatus.DONE
    assert customer.noted() == 2


def test_a_question_that_was_answered_wrongly_changes_nothing_until_it_is_answered_well(
    flow: Flow, customer: Customer
) -> None:
    setup = customer.send_form()
    customer.confirm(setup, "pm_card_authenticationRequired")
    flow.stripe.authenticate(setup, success=False)
    flow.settle()
    assert (customer.kept(), customer.noted()) == ([], 0)
    flow.stripe.save(setup, card=ASKS)
    flow.settle()
    assert customer.kept() == [("3184", True)]


def test_the_method_it_replaces_goes_also_without_them(flow: Flow, customer: Customer) -> None:
    customer.keep(GOOD)
    old = flow.runtime.methods.wallet("acct_1").held[0].ref
    setup = customer.send_form(form="second", wish=Wish(default=False, replaces=old))
    flow.stripe.save(setup, card="5555555555554444")
    flow.settle()
    assert customer.kept() == [("4444", True)]
    assert flow.dead() == []


def test_a_method_that_was_added_elsewhere_is_left_as_it_is(flow: Flow, customer: Customer) -> None:
    customer.keep(GOOD)
    ref: Ref = flow.runtime.methods.wallet("acct_1").held[0].ref
    owner = str(flow.stripe.world.method(ref.id)["customer"])
    flow.stripe.add_method(owner, card="5555555555554444", metadata={"lago_customer_id": "acct_1"})
    flow.settle()
    assert customer.kept() == [("4242", True), ("4444", False)]
    (theirs,) = [each for each in flow.effects("arrange_method") if each.status is EffectStatus.SUPERSEDED]
    assert theirs.note is not None
    assert "not added on our pages" in theirs.note
    assert customer.noted() == 1


def test_a_provider_that_is_down_delays_what_was_wished(flow: Flow, customer: Customer) -> None:
    setup = customer.send_form()
    flow.stripe.save(setup)
    flow.stripe.faults.add(Fault(kind=FaultKind.UNAVAILABLE, path="/v1/setup_intents", times=1_000))
    flow.settle()
    assert customer.noted() == 0
    flow.stripe.faults.clear()
    for _ in range(3):
        flow.skip(timedelta(hours=1))
    assert customer.kept() == [("4242", True)]
    assert customer.noted() == 1
    assert flow.dead() == []


def test_a_billing_engine_that_keeps_methods_itself_hears_which_one_is_the_default(
    flow: Flow, customer: Customer
) -> None:
    setup = customer.send_form()
    ref = str(flow.stripe.save(setup)["payment_method"])
    flow.lago.keep_method("acct_1", "pm_of_before")
    flow.lago.keep_method("acct_1", ref)
    flow.settle()
    assert flow.lago.default_method("acct_1") == ref
    customer.keep("5555555555554444")  # Lago does not know it: nothing changes there
    assert flow.lago.default_method("acct_1") == ref
    (second,) = [each for each in flow.effects("choose_method") if each.note is not None]
    assert "does not keep" in str(second.note)
    flow.lago.keep_method("acct_1", str(flow.runtime.methods.wallet("acct_1").held[0].ref.id))
    flow.skip(timedelta(minutes=1))
    customer.choose_the_other()
    flow.settle()
    assert flow.lago.default_method("acct_1") == ref
    assert flow.dead() == []
