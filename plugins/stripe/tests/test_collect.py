"""Collecting an invoice: which rung is taken, what is asked for, and that it is asked for once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from billhook.errors import NotFound, OutcomeUnknown, Refused, Temporary
from billhook.methods import PageState
from billhook.model import DeclineClass, Mandate, MandateStatus, Ref
from billhook.provider import CollectRequest, CollectState
from billhook.testing.connection import MemoryState, make_collect_request
from billhook.testing.sandbox import Fault, FaultKind
from billhook_stripe.provider import StripePayments

OPEN, PROCESSING = CollectState.OPEN, CollectState.PROCESSING
DECLINED, SUCCEEDED = CollectState.DECLINED, CollectState.SUCCEEDED
SECURE = "4000002760003184"
DEBIT, FAILING_DEBIT = "DE89370400440532013000", "DE62370400440532013001"


@pytest.fixture
def provider(context) -> StripePayments:
    return StripePayments.connect(context())


@pytest.fixture
def customer(sandbox) -> str:
    return sandbox.add_customer()["id"]


@pytest.fixture
def ask(clock, customer) -> Callable[..., CollectRequest]:
    """Make a request for the linked customer; keywords as :func:`make_collect_request`."""

    def make(amount: int = 12000, currency: str = "EUR", *, invoice: str = "inv-1", **more) -> CollectRequest:
        request = make_collect_request(amount, currency, invoice=invoice, connection="lago", **more)
        linked = replace(request.customer, provider_ids={"stripe": customer})
        named = {**request.metadata, "billhook_invoice": f"lago:{invoice}"}
        return replace(request, customer=linked, since=clock.now(), metadata=named)

    return make


# --- rungs -------------------------------------------------------------------------------------------------------


def test_the_default_method_is_charged_without_the_customer(provider, sandbox, customer, ask):
    sandbox.add_method(customer, card="5555555555554444", default=True)
    sandbox.add_method(customer)
    collected = provider.collect(ask())
    assert (collected.state, collected.by) == (SUCCEEDED, "saved_method")
    (intent,) = sandbox.intents
    assert (intent["amount"], intent["currency"], intent["customer"]) == (12000, "eur", customer)
    assert intent["metadata"]["billhook_key"] == "lago-inv-inv-1"
    assert intent["description"] == "Invoice TEST-inv-1"
    (charge,) = sandbox.charges
    assert charge["payment_method_details"]["card"]["brand"] == "mastercard"


def test_without_a_default_the_newest_method_is_charged(provider, sandbox, customer, ask):
    sandbox.add_method(customer)
    sandbox.add_method(customer, card="378282246310005")
    provider.collect(ask())
    assert sandbox.charges[0]["payment_method_details"]["card"]["brand"] == "amex"


def test_without_a_method_the_customer_pays_on_our_own_page_and_it_is_kept(provider, sandbox, customer, ask):
    request = ask()
    collected = provider.collect(request)
    assert (collected.state, collected.by, collected.url) == (OPEN, "page", request.return_url)
    assert collected.payment is None
    sandbox.pay(collected.session)
    assert provider.find_collected(request).state is SUCCEEDED
    assert [each.method.last4 for each in provider.saved_methods(customer)] == ["4242"]


def test_nothing_is_kept_when_the_connection_says_so(context, sandbox, customer, ask):
    provider = StripePayments.connect(context(save_methods=False))
    sandbox.pay(provider.collect(ask()).session)
    assert provider.saved_methods(customer) == []


@pytest.mark.parametrize("why", ["present", "setting"])
def test_a_saved_method_is_left_alone_while_the_customer_chooses(context, sandbox, customer, ask, why):
    sandbox.add_method(customer)
    provider = StripePayments.connect(context(charge="page" if why == "setting" else "auto"))
    assert provider.collect(ask(present=why == "present")).state is OPEN
    assert sandbox.charges == []


def test_an_invoice_of_nobody_can_be_paid_on_the_page(provider, ask):
    assert provider.collect(replace(ask(), customer=None)).state is OPEN


def test_what_the_page_needs_is_told_and_not_shown(provider, sandbox, ask):
    collected = provider.collect(ask())
    wanted = provider.page_payment(collected.session)
    assert (wanted.state, wanted.amount.minor) == (PageState.OPEN, 12000)
    assert wanted.client_secret.startswith(f"{collected.session}_secret_")
    assert wanted.client_secret not in repr(wanted)
    sandbox.pay(collected.session, card="4000000000000002")
    declined = provider.page_payment(collected.session)
    assert (declined.state, declined.decline.message) == (PageState.OPEN, "Your card was declined.")
    sandbox.pay(collected.session)
    paid = provider.page_payment(collected.session)
    assert (paid.state, paid.client_secret) == (PageState.SUCCEEDED, None)
    with pytest.raises(NotFound):
        provider.page_payment("pi_never_was")


# --- the bank says no, or asks -----------------------------------------------------------------------------------


def test_a_decline_is_a_value_and_names_the_payment(provider, sandbox, customer, ask):
    method = sandbox.add_method(customer)
    sandbox.set_card(method["id"], "4000000000009995")
    collected = provider.collect(ask())
    assert collected.state is DECLINED
    assert (collected.decline.code, collected.decline.kind) == ("insufficient_funds", DeclineClass.SOFT)
    assert collected.payment == Ref("stripe", sandbox.intents[0]["id"])


def test_a_bank_that_wants_the_customer_keeps_the_same_intent_open(provider, sandbox, customer, ask):
    method = sandbox.add_method(customer, card=SECURE)
    request = ask()
    collected = provider.collect(request)
    assert (collected.state, collected.url) == (OPEN, request.return_url)
    (intent,) = sandbox.intents
    assert (collected.session, intent["payment_method"]) == (intent["id"], None)
    assert provider.checkout_usable(collected.session)
    assert provider.page_payment(collected.session).method == Ref("stripe", method["id"])
    sandbox.pay(collected.session, card=SECURE)
    assert provider.find_collected(request).state is SUCCEEDED
    assert [each["status"] for each in sandbox.intents] == ["succeeded"]


def test_a_debit_is_processing_until_the_bank_has_answered(provider, sandbox, clock, customer, ask):
    sandbox.add_method(customer, card=FAILING_DEBIT)
    request = ask()
    assert provider.collect(request).state is PROCESSING
    sandbox.tick()
    assert provider.find_collected(request).state is PROCESSING
    clock.advance(timedelta(days=3))
    sandbox.tick()
    late = provider.find_collected(request)
    assert (late.state, late.decline.code) == (DECLINED, "insufficient_funds")


# --- networks' limits --------------------------------------------------------------------------------------------


def test_a_card_declined_too_often_rests_until_some_are_older(context, sandbox, clock, customer, ask):
    provider = StripePayments.connect(context(reattempt_limit=2, reattempt_days=14))
    method = sandbox.add_method(customer)
    sandbox.set_card(method["id"], "4000000000009995")
    first, second, third = (provider.collect(ask(invoice=f"inv-{number}")) for number in range(3))
    assert (first.state, second.state, third.state) == (DECLINED, DECLINED, OPEN)
    assert "declined 2 times in 14 days" in third.note
    clock.advance(timedelta(days=15))
    assert provider.collect(ask(invoice="inv-9")).state is DECLINED


def test_a_card_the_bank_forbids_is_not_tried_again_until_it_is_renewed(provider, sandbox, customer, ask):
    method = sandbox.add_method(customer)
    sandbox.set_card(method["id"], "4000000000000069")
    assert provider.collect(ask(invoice="inv-1")).state is DECLINED
    resting = provider.collect(ask(invoice="inv-2"))
    assert (resting.state, "not to try it again" in resting.note) == (OPEN, True)
    sandbox.set_card(method["id"], "4242424242424242")
    sandbox.update_card(method["id"], year=2034, month=1)
    assert provider.collect(ask(invoice="inv-3")).state is SUCCEEDED


def test_another_saved_card_is_taken_where_the_default_must_rest(provider, sandbox, customer, ask):
    method = sandbox.add_method(customer, default=True)
    sandbox.set_card(method["id"], "4000000000009979")
    sandbox.add_method(customer, card="5555555555554444")
    provider.collect(ask(invoice="inv-1"))
    assert provider.collect(ask(invoice="inv-2")).state is SUCCEEDED


# --- once --------------------------------------------------------------------------------------------------------


def test_the_same_key_charges_once_however_often_it_is_used(provider, sandbox, customer, ask):
    sandbox.add_method(customer)
    answers = {provider.collect(ask()).payment for _ in range(3)}
    assert len(answers) == 1
    assert len(sandbox.charges) == 1


def test_fifty_at_once_with_one_key_charge_once(context, sandbox, customer, ask):
    sandbox.add_method(customer)
    providers = [StripePayments.connect(context()) for _ in range(5)]
    request = ask()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda at: providers[at % 5].collect(request).payment, range(50)))
    assert len(set(answers)) == 1
    assert len(sandbox.charges) == 1


def test_an_answer_lost_after_success_is_found_and_not_charged_again(provider, sandbox, customer, ask):
    sandbox.add_method(customer)
    sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST", path="/payment_intents"))
    with pytest.raises(OutcomeUnknown):
        provider.collect(ask())
    assert provider.find_collected(ask()).state is SUCCEEDED
    assert provider.collect(ask()).state is SUCCEEDED
    assert len(sandbox.charges) == 1


def test_a_key_that_stripe_has_forgotten_still_charges_once(provider, sandbox, clock, customer, ask):
    sandbox.add_method(customer)
    request = ask()
    provider.collect(request)
    clock.advance(timedelta(days=3))
    assert provider.collect(request).state is SUCCEEDED
    assert len(sandbox.charges) == 1


@pytest.mark.parametrize("card", ["4242424242424242", DEBIT], ids=["succeeded", "processing"])
def test_what_another_integration_collects_is_only_watched(provider, sandbox, customer, ask, card):
    sandbox.add_method(customer)
    theirs = sandbox.charge_elsewhere(customer, 12000, "eur", {"lago_invoice_id": "inv-1"}, card=card)
    collected = provider.collect(ask())
    assert (collected.by, collected.payment) == ("existing", Ref("stripe", theirs["id"]))
    assert "another integration" in collected.note
    assert len(sandbox.charges) == 1


def test_what_another_integration_left_open_is_not_touched(provider, sandbox, customer, ask):
    theirs = sandbox.charge_elsewhere(customer, 12000, "eur", {"lago_invoice_id": "inv-1"}, card=SECURE)
    assert provider.collect(ask()).state is OPEN
    assert next(each for each in sandbox.intents if each["id"] == theirs["id"])["status"] != "canceled"


def test_the_next_attempt_calls_off_what_the_one_before_left_open(provider, sandbox, ask):
    first = provider.collect(ask())
    sandbox.pay(first.session, card="4000000000009995")
    second = provider.collect(ask(attempt=2))
    assert not provider.checkout_usable(first.session)
    assert provider.checkout_usable(second.session)
    assert [each["status"] for each in sandbox.intents] == ["canceled", "requires_payment_method"]


@pytest.mark.parametrize("paid", [False, True], ids=["left open", "paid"])
@pytest.mark.parametrize("how", ["a mandate became known", "the link was changed"])
def test_an_attempt_with_another_stripe_customer_sees_what_the_one_before_it_did(
    provider, sandbox, clock, ask, paid, how
):
    linked = ask()
    ours = replace(linked.customer, provider_ids={}) if how == "a mandate became known" else linked.customer
    first = provider.collect(replace(linked, customer=ours))
    if paid:
        sandbox.pay(first.session)
    other = sandbox.add_customer()["id"]
    card = Ref("stripe", sandbox.add_method(other)["id"])
    mandate = Mandate(ref=card, status=MandateStatus.ACTIVE, at=clock.now(), provider_customer=other)
    if how == "the link was changed":
        ours = replace(ours, provider_ids={"stripe": other})
        clock.advance(timedelta(days=3))  # a search is behind; a change within the minute is not seen
    second = provider.collect(replace(ask(attempt=2, mandates=(mandate,)), customer=ours))
    assert second.by == ("existing" if paid else "saved_method")
    assert not provider.checkout_usable(first.session)
    assert len(sandbox.charges) == 1


def test_a_link_to_a_customer_of_another_account_is_passed_over(provider, sandbox, ask):
    request = ask()
    strange = replace(request.customer, provider_ids={"stripe": "cus_of_another_account"})
    request = replace(request, customer=strange)
    assert provider.find_collected(request) is None
    collected = provider.collect(request)
    assert collected.state is OPEN
    assert provider.find_collected(request).session == collected.session


def test_an_attempt_that_comes_after_the_money_is_no_second_charge(provider, sandbox, customer, ask):
    first = provider.collect(ask())
    sandbox.pay(first.session)
    second = provider.collect(ask(attempt=2))
    assert (second.state, second.by, second.payment.id) == (SUCCEEDED, "existing", first.session)
    assert len(sandbox.charges) == 1


@pytest.mark.parametrize("back", ["refund", "dispute"])
def test_money_that_went_back_may_be_collected_again(provider, sandbox, customer, ask, back):
    first = provider.collect(ask())
    sandbox.pay(first.session)
    getattr(sandbox, back)(first.session)
    second = provider.collect(ask(attempt=2))
    assert second.by == "saved_method"
    assert second.payment.id != first.session


def test_a_customer_who_pays_this_moment_is_waited_for(context, provider, sandbox, ask):
    first = provider.collect(ask())

    def app(environ, start_response):
        if environ["PATH_INFO"].endswith("/cancel"):
            sandbox.pay(first.session)
        return sandbox(environ, start_response)

    with pytest.raises(Temporary, match="being paid just now"):
        StripePayments.connect(context(app=app)).collect(ask(attempt=2))
    assert len(sandbox.charges) == 1


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "word"), [(0, "nothing to collect"), (100_000_000, "split"), (49, "next invoice")]
)
def test_an_amount_that_stripe_does_not_charge_is_refused_with_a_way_out(provider, ask, amount, word):
    with pytest.raises(Refused, match=word):
        provider.collect(ask(amount))


def test_a_lookup_finds_an_intent_whose_customer_was_not_known_to_the_host(context, sandbox, clock):
    request = replace(make_collect_request(12000, "EUR", invoice="inv-1"), since=clock.now())
    StripePayments.connect(context()).collect(request)
    stranger = StripePayments.connect(context(state=MemoryState()))
    assert stranger.find_collected(request).state is OPEN
