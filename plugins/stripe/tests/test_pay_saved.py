"""Paying an open attempt with a method the customer keeps: one PaymentIntent, one charge, whoever asks and how often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from billhook.errors import NotFound, OutcomeUnknown, Refused, Temporary
from billhook.methods import PagePayment, PageState, SupportsSavedPayment
from billhook.model import DeclineClass, Ref
from billhook.provider import CollectState
from billhook.testing.connection import make_collect_request
from billhook.testing.sandbox import Fault, FaultKind
from billhook_stripe.provider import StripePayments

SECURE = "4000002760003184"
DEBIT = "DE89370400440532013000"
CONFIRM = "/confirm"


@dataclass(frozen=True)
class Till:
    """An open attempt of EUR 120.00, its customer, and whoever pays it."""

    provider: StripePayments
    sandbox: Any
    customer: str
    session: str

    def keep(self, card: str = "4242424242424242") -> Ref:
        return Ref("stripe", self.sandbox.add_method(self.customer, card=card)["id"])

    def pay(self, method: Ref, *, key: str = "click-1") -> PagePayment:
        return self.provider.pay_saved(self.session, method, key=key)

    def taken(self) -> list[int]:
        return [each["amount"] for each in self.sandbox.charges if each["status"] == "succeeded"]


@pytest.fixture
def till(context, sandbox, clock) -> Till:
    customer = sandbox.add_customer()["id"]
    provider = StripePayments.connect(context())
    request = make_collect_request(12000, "EUR", invoice="inv-1", connection="lago", present=True)
    linked = replace(request.customer, provider_ids={"stripe": customer})
    session = provider.collect(replace(request, customer=linked, since=clock.now())).session
    assert session is not None
    return Till(provider, sandbox, customer, session)


def test_a_saved_card_pays_the_attempt_that_is_open(till):
    assert isinstance(till.provider, SupportsSavedPayment)
    paid = till.pay(till.keep())
    assert (paid.state, paid.session, paid.client_secret) == (PageState.SUCCEEDED, till.session, None)
    assert till.taken() == [12000]
    assert [each["status"] for each in till.sandbox.intents] == ["succeeded"]


def test_what_is_paid_is_answered_as_it_stands(till):
    first, second = till.keep(), till.keep("5555555555554444")
    till.pay(first)
    assert [till.pay(second, key=key).state for key in ("click-1", "click-2")] == [PageState.SUCCEEDED] * 2
    assert till.taken() == [12000]


def test_fifty_clicks_at_once_with_one_key_or_with_many_take_the_money_once(till):
    methods = [till.keep(), till.keep("5555555555554444")]

    def click(number: int) -> str:
        try:
            return till.pay(methods[number % 2], key=f"click-{number % 10}-{number % 2}").state
        except Temporary:
            return "busy"

    with ThreadPoolExecutor(50) as pool:
        said = list(pool.map(click, range(50)))
    assert PageState.SUCCEEDED in said
    assert set(said) <= {PageState.SUCCEEDED, "busy"}
    assert till.taken() == [12000]


def test_a_decline_says_why_and_another_card_pays(till):
    poor = till.keep()
    till.sandbox.set_card(poor.id, "4000000000009995")
    said = till.pay(poor)
    assert (said.state, said.waits) == (PageState.OPEN, False)
    assert said.decline is not None
    assert (said.decline.code, said.decline.kind) == ("insufficient_funds", DeclineClass.SOFT)
    assert till.pay(till.keep("5555555555554444"), key="click-2").state is PageState.SUCCEEDED
    assert till.taken() == [12000]


def test_the_bank_may_ask_the_customer_and_is_answered_on_the_page(till):
    said = till.pay(till.keep(SECURE))
    assert (said.state, said.waits) == (PageState.OPEN, True)
    assert said.client_secret is not None
    till.sandbox.authenticate(till.session, success=True)
    assert till.provider.page_payment(till.session).state is PageState.SUCCEEDED
    assert till.taken() == [12000]


def test_a_question_that_is_left_open_does_not_keep_another_card_from_paying(till):
    till.pay(till.keep(SECURE))
    assert till.pay(till.keep(), key="click-2").state is PageState.SUCCEEDED
    assert till.taken() == [12000]


def test_an_account_is_debited_under_its_mandate(till):
    assert till.pay(till.keep(DEBIT)).state is PageState.PROCESSING
    (intent,) = till.sandbox.intents
    assert intent["status"] == "processing"


def test_a_method_of_somebody_else_is_not_there(till):
    foreign = till.sandbox.add_method(till.sandbox.add_customer()["id"])
    gone = till.keep()
    till.provider.remove_method(till.customer, gone)
    for ref in (Ref("stripe", foreign["id"]), gone, Ref("stripe", "pm_never_was")):
        with pytest.raises(NotFound):
            till.pay(ref)
    assert till.sandbox.charges == []


def test_a_session_that_never_was_is_told(till):
    with pytest.raises(NotFound):
        till.provider.pay_saved("pi_never_was", till.keep(), key="click-1")


def test_an_answer_that_is_lost_leaves_the_outcome_open_and_the_money_is_taken_once(till):
    card = till.keep()
    till.sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST", path=CONFIRM))
    with pytest.raises(OutcomeUnknown):
        till.pay(card)
    assert till.pay(card).state is PageState.SUCCEEDED
    assert till.taken() == [12000]


def test_an_attempt_that_was_called_off_takes_nothing(till, clock):
    card = till.keep()
    request = make_collect_request(12000, "EUR", invoice="inv-1", connection="lago", attempt=2)
    linked = replace(request.customer, provider_ids={"stripe": till.customer})
    assert (
        till.provider.collect(replace(request, customer=linked, since=clock.now())).state
        is CollectState.SUCCEEDED
    )
    assert till.pay(card).state is PageState.CANCELED
    assert till.taken() == [12000]


def test_a_card_that_cannot_pay_in_this_currency_is_refused(till, context, clock):
    debit = till.keep(DEBIT)
    request = make_collect_request(12000, "USD", invoice="inv-2", connection="lago", present=True)
    linked = replace(request.customer, provider_ids={"stripe": till.customer})
    session = till.provider.collect(replace(request, customer=linked, since=clock.now())).session
    with pytest.raises(Refused):
        till.provider.pay_saved(session, debit, key="click-1")
    assert till.sandbox.charges == []
