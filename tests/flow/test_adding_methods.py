"""A customer adds a payment method and never comes back, comes back late, or just then: what they wished is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from billhook_web.stores.outbox import EffectStatus
from tests.flow.adding import ASKS, GOOD, Customer, arranged, assert_paid_once
from tests.flow.flow import PATIENCE_SECONDS, Flow


@pytest.fixture
def payer() -> str:
    return "stripe"


@pytest.fixture
def customer(flow: Flow) -> Customer:
    return Customer(flow)


def test_a_card_of_somebody_who_never_comes_back_is_the_default_and_pays_what_failed(
    flow: Flow, customer: Customer
) -> None:
    invoice = customer.failed_invoice()
    setup = customer.send_form(form="second")
    flow.stripe.save(setup, card=ASKS)
    flow.stripe.set_card(str(flow.stripe.world.setups[setup]["payment_method"]), GOOD)
    assert_paid_once(flow, customer, invoice)
    assert customer.kept()[0] == ("3184", True)
    assert arranged(flow, setup) is EffectStatus.DONE
    assert customer.noted() == 2


def test_who_comes_back_late_sees_what_was_done_and_changes_nothing(flow: Flow, customer: Customer) -> None:
    invoice = customer.failed_invoice()
    setup = customer.send_form(form="second")
    flow.stripe.save(setup)
    assert_paid_once(flow, customer, invoice)
    before = customer.choose_the_other()
    flow.skip(timedelta(hours=3))
    settled = customer.come_back(setup).settled
    assert settled is not None
    assert (settled.default, settled.invoices) == (True, (f"lago:{invoice}",))
    assert customer.kept() == before
    assert_paid_once(flow, customer, invoice)
    assert customer.noted() == 2


def test_who_comes_back_first_is_served_and_the_webhook_finds_it_done(flow: Flow, customer: Customer) -> None:
    invoice = customer.failed_invoice()
    setup = customer.send_form(form="second")
    assert flow.stripe.sender is not None
    flow.stripe.sender.hold = True
    flow.stripe.save(setup)
    assert customer.come_back(setup).settled is not None
    flow.settle()
    assert customer.paid() == [12000]
    before = customer.choose_the_other()
    flow.stripe.sender.hold = False
    assert_paid_once(flow, customer, invoice)
    assert arranged(flow, setup) is EffectStatus.SUPERSEDED
    assert customer.kept() == before
    assert customer.noted() == 2


def test_the_page_and_the_webhook_at_once_do_it_once(flow: Flow, customer: Customer) -> None:
    invoice = customer.failed_invoice()
    setup = customer.send_form(form="second")
    flow.stripe.save(setup)
    together = threading.Barrier(4)

    def both(do: Callable[[], object]) -> object:
        together.wait(PATIENCE_SECONDS)
        return do()

    with ThreadPoolExecutor(4) as pool:
        back = [pool.submit(both, lambda: customer.come_back(setup).settled) for _ in range(3)]
        told = pool.submit(both, flow.stripe.deliver_webhooks)
        seen = [each.result(PATIENCE_SECONDS) for each in back]
        told.result(PATIENCE_SECONDS)
    assert_paid_once(flow, customer, invoice)
    assert seen[0] is not None
    assert seen == [seen[0]] * 3
    assert customer.kept()[0] == ("4242", True)
    assert customer.noted() == 2
