"""The ladder against Dodo's wire format: which rung is taken, what is refused first, what a lost answer leaves behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billhook.errors import OutcomeUnknown, Permanent, Refused, Temporary
from billhook.model import DeclineClass, Mandate, MandateStatus, Ref
from billhook.money import Money
from billhook.provider import CollectRequest, CollectState
from billhook.testing.connection import make_collect_request
from billhook.testing.sandbox import Fault, FaultKind
from billhook_dodo.provider import DodoPayments
from billhook_dodo.sandbox import DodoSandbox
from billhook_dodo.sandbox.cards import FAILS_LATER, GOOD

CHARGE = "/charge"


@pytest.fixture
def provider(context) -> DodoPayments:
    return DodoPayments.connect(context())


def asked(amount: int = 4900, currency: str = "EUR", **more: Any) -> CollectRequest:
    known = {name: more.pop(name) for name in ("attempt", "mandates", "present") if name in more}
    return replace(make_collect_request(amount, currency, invoice="i1", **known), **more)


def known_as(request: CollectRequest, customer_id: str) -> CollectRequest:
    """The request of a customer Dodo knows already."""
    assert request.customer is not None
    return replace(request, customer=replace(request.customer, provider_ids={"dodo": customer_id}))


def sent(sandbox: DodoSandbox, path: str) -> list[Any]:
    return [call for call in sandbox.requests if call.method == "POST" and call.path.endswith(path)]


def agree(sandbox: DodoSandbox, clock: Any, *, card: str = GOOD, currency: str = "EUR") -> Mandate:
    """A customer's mandate, as its webhook would tell it."""
    metadata = {"billhook_customer": "acme"}
    made = sandbox.authorise_mandate(
        email="acme@example.com", card=card, currency=currency, metadata=metadata
    )
    return Mandate(
        ref=Ref("dodo", made["subscription_id"]),
        status=MandateStatus.ACTIVE,
        at=clock.now(),
        provider_customer=made["customer"]["customer_id"],
        currency=currency,
    )


def on_hold(mandate: Mandate) -> Mandate:
    return replace(mandate, status=MandateStatus.ON_HOLD)


def saved_customer(provider: DodoPayments, sandbox: DodoSandbox) -> str:
    """A customer who paid a hosted page once and left the card behind."""
    before = make_collect_request(1000, "EUR", invoice="before")
    paid = sandbox.pay(provider.collect(before).session, save=True)
    return paid["customer"]["customer_id"]


# --- the hosted page -----------------------------------------------------------------------------------------------


def test_a_new_customer_gets_a_page_to_pay_at(provider, sandbox, clock):
    collected = provider.collect(asked(12000))
    assert (collected.state, collected.by) == (CollectState.OPEN, "checkout")
    assert collected.url == f"http://dodo.test/session/{collected.session}"
    assert collected.expires_at == clock.now() + timedelta(hours=24)
    assert (collected.payment, collected.note) == (None, None)
    [call] = sent(sandbox, "/checkouts")
    [item] = call.json.pop("product_cart")
    assert (item["quantity"], item["amount"]) == (1, 12000)
    assert call.headers["Idempotency-Key"] == "acme-inv-i1"
    assert call.json == {
        "billing_currency": "EUR",
        "metadata": {"billhook_key": "acme-inv-i1", "acme_invoice_id": "i1"},
        "return_url": "https://billing.example.com/pay/token",
        "feature_flags": {"allow_discount_code": False, "allow_currency_selection": False},
        "customer": {"email": "acme@example.com", "name": "Acme GmbH"},
        "billing_address": {
            "country": "DE",
            "street": "Lindenstr. 1",
            "city": "Berlin",
            "state": "Berlin",
            "zipcode": "10969",
        },
    }


def test_the_page_takes_exactly_the_invoices_amount(provider, sandbox):
    paid = sandbox.pay(provider.collect(asked(12000)).session)
    assert (paid["total_amount"], paid["currency"]) == (12000, "EUR")
    assert paid["metadata"]["billhook_key"] == "acme-inv-i1"


def test_what_is_not_known_of_a_customer_is_left_out(provider, sandbox):
    request = asked()
    assert request.customer is not None
    bare = replace(request.customer, name=None, address=replace(request.customer.address, country=None))
    provider.collect(replace(request, customer=bare))
    provider.collect(replace(request, customer=replace(bare, email=None)))
    provider.collect(replace(request, customer=None))
    first, second, third = (call.json for call in sent(sandbox, "/checkouts"))
    assert first["customer"] == {"email": "acme@example.com", "name": "acme@example.com"}
    assert not {"customer", "billing_address"} & (second.keys() | third.keys())
    assert "billing_address" not in first


def test_metadata_is_cut_to_what_dodo_takes_and_our_key_stays(provider, sandbox):
    given = {f"note {number} " + "k" * 60: "v" * 600 for number in range(80)}
    provider.collect(asked(metadata=given))
    metadata = sent(sandbox, "/checkouts")[0].json["metadata"]
    assert metadata["billhook_key"] == "acme-inv-i1"
    assert len(metadata) == 50
    assert max(map(len, metadata)) == 40
    assert max(map(len, metadata.values())) == 500


# --- the mandate ---------------------------------------------------------------------------------------------------


def test_a_mandate_is_charged_without_the_customer(provider, sandbox, clock):
    mandate = agree(sandbox, clock)
    collected = provider.collect(asked(4900, mandates=(mandate,)))
    [paid] = sandbox.payments
    assert (collected.state, collected.by) == (CollectState.PROCESSING, "mandate")
    assert collected.payment == Ref("dodo", paid["payment_id"])
    assert (paid["status"], paid["total_amount"], paid["charge_type"]) == ("succeeded", 4900, "on_demand")
    [call] = sent(sandbox, CHARGE)
    assert call.headers["Idempotency-Key"] == "acme-inv-i1"
    assert call.json == {
        "product_price": 4900,
        "product_currency": "EUR",
        "product_description": "Invoice TEST-i1",
        "metadata": {"billhook_key": "acme-inv-i1", "acme_invoice_id": "i1"},
    }


def test_of_two_mandates_the_newest_that_fits_is_charged(provider, sandbox, clock):
    old = agree(sandbox, clock)
    clock.advance(timedelta(days=1))
    new, foreign = agree(sandbox, clock), agree(sandbox, clock, currency="USD")
    ended = replace(new, ref=Ref("dodo", "sub_gone"), status=MandateStatus.ENDED)
    elsewhere = replace(new, ref=Ref("dodo-two", "sub_other"), at=clock.now() + timedelta(days=1))
    provider.collect(asked(mandates=(new, old, foreign, ended, elsewhere)))
    assert [call.path for call in sent(sandbox, CHARGE)] == [f"/subscriptions/{new.ref.id}/charge"]


def test_a_mandate_in_another_currency_is_left_alone(provider, sandbox, clock):
    foreign = agree(sandbox, clock, currency="USD")
    assert provider.collect(asked(mandates=(foreign,))).by == "checkout"
    assert sent(sandbox, CHARGE) == []


def test_a_customer_who_is_present_or_a_connection_that_says_so_gets_the_page(
    context, provider, sandbox, clock
):
    mandate = agree(sandbox, clock)
    assert provider.collect(asked(mandates=(mandate,), present=True)).by == "checkout"
    hosted = DodoPayments.connect(context(charge="checkout"))
    assert hosted.collect(asked(mandates=(mandate,))).by == "checkout"
    assert sandbox.payments == []


def test_a_charge_under_way_is_waited_for(provider, sandbox, clock):
    sandbox.settings.charge_delay = timedelta(hours=1)
    mandate = agree(sandbox, clock)
    provider.collect(asked(mandates=(mandate,)))
    other = replace(asked(mandates=(mandate,)), key="acme-inv-i2")
    with pytest.raises(Temporary) as caught:
        provider.collect(other)
    assert caught.value.retry_after == timedelta(minutes=10)
    assert len(sandbox.payments) == 1


def test_a_mandate_that_dodo_does_not_charge_any_more_gives_way_to_the_next_rung(provider, sandbox, clock):
    mandate = agree(sandbox, clock, card=FAILS_LATER)
    provider.collect(asked(mandates=(mandate,)))
    collected = provider.collect(replace(asked(mandates=(mandate,)), key="acme-inv-i2"))
    assert collected.by == "checkout"
    assert [paid["status"] for paid in sandbox.payments] == ["failed"]


# --- a mandate on hold ---------------------------------------------------------------------------------------------


def failed_once(provider: DodoPayments, sandbox: DodoSandbox, clock: Any) -> Mandate:
    """A mandate whose first charge, for this invoice, was declined; the card works again since."""
    mandate = agree(sandbox, clock, card=FAILS_LATER)
    provider.collect(asked(mandates=(mandate,)))
    clock.advance(timedelta(days=3))
    sandbox.set_card(mandate.ref.id, GOOD)
    return on_hold(mandate)


def test_the_next_try_collects_the_dues_the_way_dodo_allows(provider, sandbox, clock):
    mandate = failed_once(provider, sandbox, clock)
    collected = provider.collect(asked(attempt=2, mandates=(mandate,), since=clock.now()))
    dues = sandbox.payments[-1]
    assert (collected.state, collected.by) == (CollectState.PROCESSING, "mandate")
    assert collected.payment == Ref("dodo", dues["payment_id"])
    assert (dues["status"], dues["total_amount"]) == ("succeeded", 4900)
    assert len(sent(sandbox, CHARGE)) == 1
    assert sandbox.subscriptions[0]["status"] == "active"


def test_dues_of_another_invoice_or_amount_are_not_collected(provider, sandbox, clock):
    mandate = failed_once(provider, sandbox, clock)
    other = replace(asked(attempt=2, mandates=(mandate,)), key="k2", invoice=Ref("acme", "i2"))
    assert provider.collect(other).by == "checkout"
    assert provider.collect(asked(5000, attempt=2, mandates=(mandate,))).by == "checkout"
    assert sent(sandbox, "/update-payment-method") == []


def test_a_lost_answer_on_the_dues_is_found_although_they_carry_no_key_of_ours(provider, sandbox, clock):
    mandate = failed_once(provider, sandbox, clock)
    request = asked(attempt=2, mandates=(mandate,), since=clock.now())
    sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, path="/update-payment-method"))
    with pytest.raises(OutcomeUnknown):
        provider.collect(request)
    found = provider.find_collected(request)
    assert found is not None
    assert (found.state, found.payment) == (
        CollectState.SUCCEEDED,
        Ref("dodo", sandbox.payments[-1]["payment_id"]),
    )
    assert len(sandbox.payments) == 2


# --- the saved method ----------------------------------------------------------------------------------------------


def test_a_saved_method_is_charged_at_once(provider, sandbox):
    customer_id = saved_customer(provider, sandbox)
    collected = provider.collect(known_as(asked(), customer_id))
    paid = sandbox.payments[-1]
    assert (collected.state, collected.by) == (CollectState.PROCESSING, "saved_method")
    assert collected.payment == Ref("dodo", paid["payment_id"])
    assert (paid["status"], paid["total_amount"]) == ("succeeded", 4900)
    body = sent(sandbox, "/checkouts")[-1].json
    assert (body["confirm"], body["customer"]) == (True, {"customer_id": customer_id})
    assert body["billing_address"]["country"] == "DE"


def test_a_known_customer_without_a_saved_method_or_a_country_gets_the_page(provider, sandbox):
    paid = sandbox.pay(provider.collect(asked()).session)
    nothing_saved = known_as(asked(), paid["customer"]["customer_id"])
    assert provider.collect(nothing_saved).by == "checkout"
    no_country = known_as(asked(), saved_customer(provider, sandbox))
    assert no_country.customer is not None
    address = replace(no_country.customer.address, country="Germany")
    moved = replace(no_country, customer=replace(no_country.customer, address=address))
    assert provider.collect(moved).by == "checkout"


def test_a_customer_dodo_has_forgotten_is_refused_in_words(provider, sandbox):
    with pytest.raises(Refused, match="CUSTOMER_NOT_FOUND"):
        provider.collect(known_as(asked(), "cus_gone"))
    assert sandbox.payments == []


# --- what is refused before any call -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (0, "EUR", "amount"),
        (-100, "EUR", "amount"),
        (49, "EUR", "amount_below_minimum"),
        (29, "GBP", "amount_below_minimum"),
        (49, "JPY", "amount_below_minimum"),
        (17499, "HUF", "amount_below_minimum"),
        (0, "USD", "amount"),
        (2_147_483_648, "EUR", "amount_too_large"),
    ],
)
def test_an_amount_dodo_does_not_charge_is_refused_without_asking(
    provider, sandbox, amount: int, currency: str, code: str
):
    with pytest.raises(Refused) as caught:
        provider.collect(asked(amount, currency))
    assert caught.value.code == code
    assert str(Money(amount, currency)) in str(caught.value)
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("amount", "currency"), [(50, "EUR"), (50, "JPY"), (1, "USD"), (2_147_483_647, "EUR")]
)
def test_the_smallest_and_the_largest_amount_reach_dodo(provider, sandbox, amount: int, currency: str):
    sandbox.faults.add(Fault(kind=FaultKind.UNAVAILABLE, path="/checkouts"))
    with pytest.raises(OutcomeUnknown):
        provider.collect(asked(amount, currency))
    assert sent(sandbox, "/checkouts")[0].json["product_cart"][0]["amount"] == amount


def test_tax_upon_tax_is_refused_with_the_ways_out(context, sandbox):
    provider = DodoPayments.connect(context(tax_mode="exclusive"))
    with pytest.raises(Refused, match="DODO_TAX_MODE=byop") as caught:
        provider.collect(asked(12000, taxes=2000))
    assert caught.value.code == "double_tax"
    assert "20.00 EUR" in str(caught.value)
    assert sandbox.requests == []


def test_tax_within_tax_is_collected_and_told(provider, caplog):
    collected = provider.collect(asked(12000, taxes=2000))
    assert collected.state is CollectState.OPEN
    assert collected.note is not None
    assert "20.00 EUR of tax" in collected.note
    assert "DODO_TAX_MODE=byop" in collected.note
    assert "dodo.double_tax" in caplog.text


def test_tax_is_right_where_dodo_knows_none(context):
    collected = DodoPayments.connect(context(tax_mode="byop")).collect(asked(12000, taxes=2000))
    assert (collected.state, collected.note) == (CollectState.OPEN, None)


def test_in_exclusive_mode_dodo_adds_its_tax(context, sandbox):
    sandbox.settings.tax_rate_percent = 19
    collected = DodoPayments.connect(context(tax_mode="exclusive")).collect(asked(12000))
    paid = sandbox.pay(collected.session)
    assert (paid["total_amount"], paid["tax"]) == (14280, 2280)


# --- lost answers, and looking -----------------------------------------------------------------------------------


def test_a_lost_answer_after_the_charge_is_looked_up_and_never_repeated(provider, sandbox, clock):
    request = asked(mandates=(agree(sandbox, clock),))
    sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, path=CHARGE))
    with pytest.raises(OutcomeUnknown):
        provider.collect(request)
    found = provider.find_collected(request)
    [paid] = sandbox.payments
    assert found is not None
    assert (found.state, found.by) == (CollectState.SUCCEEDED, "mandate")
    assert found.payment == Ref("dodo", paid["payment_id"])
    assert len(sent(sandbox, CHARGE)) == 1


def test_a_lost_answer_after_a_confirmed_checkout_is_found_too(provider, sandbox):
    request = known_as(asked(), saved_customer(provider, sandbox))
    sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, path="/checkouts"))
    with pytest.raises(OutcomeUnknown):
        provider.collect(request)
    found = provider.find_collected(request)
    assert found is not None
    assert found.payment == Ref("dodo", sandbox.payments[-1]["payment_id"])
    assert len(sandbox.payments) == 2


def test_a_page_nobody_paid_is_not_found_and_one_that_was_paid_is(provider, sandbox):
    request = asked()
    session = provider.collect(request).session
    assert provider.find_collected(request) is None
    sandbox.pay(session)
    found = provider.find_collected(request)
    assert found is not None
    assert (found.state, found.by, found.session) == (CollectState.SUCCEEDED, "checkout", session)


def test_a_declined_charge_is_found_with_its_reason(provider, sandbox, clock):
    request = asked(mandates=(agree(sandbox, clock, card=FAILS_LATER),))
    provider.collect(request)
    found = provider.find_collected(request)
    assert found is not None
    assert found.state is CollectState.DECLINED
    assert found.decline is not None
    assert (found.decline.code, found.decline.kind) == ("GENERIC_DECLINE", DeclineClass.SOFT)


def test_of_several_payments_with_one_key_the_one_that_succeeded_counts(provider, sandbox, clock):
    request = asked()
    first, second = provider.collect(request).session, provider.collect(request).session
    paid = sandbox.pay(first)
    clock.advance(timedelta(minutes=5))
    sandbox.decline(second)
    found = provider.find_collected(request)
    assert found is not None
    assert found.payment == Ref("dodo", paid["payment_id"])


def test_a_charge_under_way_is_found_as_such_beyond_the_first_page(provider, sandbox, clock):
    sandbox.settings.charge_delay = timedelta(hours=1)
    mandate = agree(sandbox, clock)
    request = asked(mandates=(mandate,))
    provider.collect(request)
    sandbox.settings.charge_delay = timedelta(0)
    for number in range(105):
        crowd = replace(make_collect_request(100, "EUR", invoice=f"crowd-{number}"), customer=None)
        sandbox.pay(provider.collect(crowd).session)
    found = provider.find_collected(replace(request, customer=None))
    assert found is not None
    assert found.state is CollectState.PROCESSING


def test_payments_from_before_the_first_try_are_not_listed(provider, sandbox, clock):
    request = asked(since=clock.now())
    sandbox.pay(provider.collect(request).session)
    clock.advance(timedelta(hours=1))
    assert provider.find_collected(replace(request, since=clock.now())) is None
    assert provider.find_collected(replace(request, since=clock.now() - timedelta(minutes=50))) is not None


@pytest.mark.parametrize("path", [CHARGE, "/checkouts"])
def test_too_many_calls_are_put_off_and_nothing_was_done(provider, sandbox, clock, path: str):
    mandates = (agree(sandbox, clock),) if path == CHARGE else ()
    sandbox.faults.add(Fault(kind=FaultKind.RATE_LIMITED, path=path, seconds=30))
    with pytest.raises(Temporary) as caught:
        provider.collect(asked(mandates=mandates))
    assert caught.value.retry_after == timedelta(seconds=30)
    assert sandbox.payments == []
    assert len(sent(sandbox, path)) == 1


@pytest.mark.parametrize("kind", [FaultKind.ERROR, FaultKind.UNAVAILABLE])
def test_an_error_without_a_word_when_to_come_back_leaves_the_outcome_open(provider, sandbox, clock, kind):
    request = asked(mandates=(agree(sandbox, clock),))
    sandbox.faults.add(Fault(kind=kind, path=CHARGE))
    with pytest.raises(OutcomeUnknown):
        provider.collect(request)
    assert provider.find_collected(request) is None
    assert provider.collect(request).state is CollectState.PROCESSING
    assert len(sandbox.payments) == 1


def test_a_wrong_key_stops_and_names_the_variable(context):
    provider = DodoPayments.connect(context(api_key="key_of_somebody_else"))
    with pytest.raises(Permanent, match="DODO_API_KEY"):
        provider.collect(asked())
