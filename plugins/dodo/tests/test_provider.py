"""Products, pages, saved methods, mandates and the look at the set-up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billhook.errors import NotFound, Refused, Temporary
from billhook.model import PaymentMethod, Ref
from billhook.provider import Finding, MandateRequest, Severity
from billhook.testing.connection import MemoryState, make_collect_request, make_customer
from billhook.testing.sandbox import Fault, FaultKind
from billhook_dodo.provider import DodoPayments
from billhook_dodo.webhooks import DodoWebhooks


def asked(amount: int = 4900, currency: str = "EUR", *, invoice: str = "i1"):
    return make_collect_request(amount, currency, invoice=invoice)


def calls(sandbox, method: str, path: str) -> int:
    return sum(call.method == method and call.path.startswith(path) for call in sandbox.requests)


def cart_product(sandbox) -> str:
    return next(c for c in reversed(sandbox.requests) if c.path == "/checkouts").json["product_cart"][0][
        "product_id"
    ]


# --- products ------------------------------------------------------------------------------------------------------


def test_a_product_is_created_once_per_currency_and_remembered(context, sandbox, api):
    state = MemoryState()
    provider = DodoPayments.connect(context(state=state))
    for number, currency in enumerate(["EUR", "EUR", "JPY", "EUR"]):
        provider.collect(asked(currency=currency, invoice=f"i{number}"))
    DodoPayments.connect(context(state=state)).collect(asked(invoice="after-a-restart"))
    assert calls(sandbox, "POST", "/products") == 2
    made = api.get(f"/products/{state.get('product/EUR/inclusive')}")
    assert (made["name"], made["tax_category"]) == ("Invoice payment (EUR)", "saas")
    price = made["price"]
    assert (price["type"], price["pay_what_you_want"], price["tax_inclusive"]) == (
        "one_time_price",
        True,
        True,
    )
    assert (price["currency"], price["price"]) == ("EUR", 50)


def test_a_product_that_is_there_is_used_and_not_created_again(context, sandbox):
    DodoPayments.connect(context()).collect(asked())
    first = cart_product(sandbox)
    DodoPayments.connect(context()).collect(asked(invoice="i2"))
    assert cart_product(sandbox) == first
    assert calls(sandbox, "POST", "/products") == 1


def test_the_other_tax_mode_has_a_product_of_its_own(context, sandbox, api):
    state = MemoryState()
    DodoPayments.connect(context(state=state)).collect(asked())
    DodoPayments.connect(context(state=state, tax_mode="exclusive", tax_category="e_book")).collect(asked())
    exclusive = api.get(f"/products/{state.get('product/EUR/exclusive')}")
    assert (exclusive["price"]["tax_inclusive"], exclusive["tax_category"]) == (False, "e_book")
    assert calls(sandbox, "POST", "/products") == 2


def test_a_configured_product_is_read_once_an_hour_and_used(context, sandbox, api, clock):
    product = api.product("EUR")
    provider = DodoPayments.connect(context(products={"EUR": product}))
    sandbox.requests.clear()
    for number in range(3):
        provider.collect(asked(invoice=f"i{number}"))
    assert cart_product(sandbox) == product
    assert calls(sandbox, "GET", "/products") == 1
    clock.advance(timedelta(hours=1))
    provider.collect(asked(invoice="later"))
    assert calls(sandbox, "GET", "/products") == 2


@pytest.mark.parametrize(
    ("price", "words"),
    [
        ({"pay_what_you_want": False}, "pay what you want"),
        ({"currency": "USD"}, "USD, not EUR"),
        ({"tax_inclusive": False}, "'tax inclusive' on"),
    ],
)
def test_a_product_that_would_charge_something_else_is_refused(context, sandbox, api, price, words: str):
    product = api.product(**{"currency": "EUR"} | price)
    provider = DodoPayments.connect(context(products={"EUR": product}))
    with pytest.raises(Refused, match=words) as caught:
        provider.collect(asked())
    assert caught.value.code == "product_setup"
    assert sandbox.checkouts == []


def test_where_dodo_knows_no_tax_the_products_tax_flag_does_not_matter(context, api):
    product = api.product("EUR", tax_inclusive=False)
    provider = DodoPayments.connect(context(products={"EUR": product}, tax_mode="byop"))
    assert provider.collect(asked()).session


def test_a_product_that_is_not_there_is_refused_by_the_checkout(context):
    with pytest.raises(Refused, match="PRODUCT_NOT_FOUND"):
        DodoPayments.connect(context(products={"EUR": "pdt_gone"})).collect(asked())


def test_a_product_that_cannot_be_read_now_is_tried_later(context, sandbox, api):
    product = api.product("EUR")
    sandbox.faults.add(Fault(kind=FaultKind.ERROR, path="/products"))
    with pytest.raises(Temporary):
        DodoPayments.connect(context(products={"EUR": product})).collect(asked())
    assert sandbox.checkouts == []


# --- pages, methods, mandates ----------------------------------------------------------------------------------------


def test_a_page_is_usable_until_it_is_paid_or_a_day_old(context, sandbox, clock):
    provider = DodoPayments.connect(context())
    paid, declined, waiting = (provider.collect(asked(invoice=f"i{n}")).session for n in range(3))
    assert provider.checkout_usable(paid) is True
    sandbox.pay(paid)
    sandbox.decline(declined)
    assert provider.checkout_usable(paid) is False
    assert provider.checkout_usable(declined) is False
    clock.advance(timedelta(hours=23, minutes=59))
    assert provider.checkout_usable(waiting) is True
    clock.advance(timedelta(minutes=1))
    assert provider.checkout_usable(waiting) is False
    assert provider.checkout_usable("cks_never_was") is False


def test_whether_a_page_is_usable_is_not_guessed_while_dodo_is_down(context, sandbox):
    sandbox.faults.add(Fault(kind=FaultKind.ERROR, path="/checkouts"))
    with pytest.raises(Temporary):
        DodoPayments.connect(context()).checkout_usable("cks_1")


def test_saved_methods_are_listed_with_the_last_used_first(context, sandbox, clock):
    provider = DodoPayments.connect(context())
    first = sandbox.pay(provider.collect(asked()).session, save=True)
    clock.advance(timedelta(days=1))
    second = sandbox.pay(provider.collect(asked(invoice="i2")).session, save=True)
    methods = provider.payment_methods(first["customer"]["customer_id"])
    assert [method.ref.id for method in methods if method.ref] == [
        second["payment_method_id"],
        first["payment_method_id"],
    ]
    assert methods[0] == PaymentMethod(
        ref=Ref("dodo", second["payment_method_id"]),
        brand="visa",
        last4="4242",
        expires="2032-06",
        reusable=True,
    )
    with pytest.raises(NotFound):
        provider.payment_methods("cus_gone")


def mandate_request() -> MandateRequest:
    return MandateRequest(
        key="mandate-acme-1",
        customer=make_customer(),
        currency="EUR",
        metadata={"billhook_customer": "acme", "billhook_key": "must-not-be-inherited"},
        return_url="https://billing.example.com/portal/",
    )


def test_a_mandate_is_agreed_to_on_a_page_and_becomes_known_by_webhook(context, sandbox, mailbox):
    provider, source = DodoPayments.connect(context()), DodoWebhooks.connect(context())
    url = provider.mandate_url(mandate_request())
    sandbox.pay(url.rsplit("/", 1)[1])
    sandbox.deliver_webhooks()
    [body] = [each.body for each in mailbox.received if each.event["type"] == "subscription.active"]
    [mandate] = source.parse(body)
    assert mandate.metadata == {"billhook_customer": "acme"}
    assert mandate.currency == "EUR"
    assert sandbox.payments == []


def test_a_second_mandate_uses_the_same_product(context, sandbox):
    provider = DodoPayments.connect(context())
    provider.mandate_url(mandate_request())
    provider.mandate_url(mandate_request())
    assert calls(sandbox, "POST", "/products") == 1


def test_a_page_for_a_mandate_whose_answer_is_lost_is_simply_asked_for_again(context, sandbox):
    sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, path="/checkouts"))
    with pytest.raises(Temporary):
        DodoPayments.connect(context()).mandate_url(mandate_request())


# --- the look at the set-up --------------------------------------------------------------------------------------------


def worst(findings: list[Finding]) -> dict[str, str]:
    return {finding.what: finding.fix for finding in findings if finding.severity is not Severity.OK}


def endpoint(api, **more) -> None:
    api.post("/webhooks", {"url": "https://billing.example.com/webhooks/dodo"} | more)


def test_a_good_set_up_has_nothing_to_mend(context, api):
    product = api.product("EUR")
    endpoint(api)
    findings = list(DodoPayments.connect(context(products={"EUR": product})).check())
    assert worst(findings) == {}
    assert len(findings) == 3


def test_everything_that_is_wrong_is_found_at_once(context, api):
    wrong = api.product("USD")
    provider = DodoPayments.connect(context(products={"EUR": wrong, "JPY": "pdt_gone"}))
    found = worst(list(provider.check()))
    assert len(found) == 3
    text = str(found)
    for words in ("USD, not EUR", "no such product in test mode", "/webhooks/dodo", "DODO_PRODUCTS"):
        assert words in text


def test_an_endpoint_that_is_off_or_filtered_is_found(context, api, sandbox):
    provider = DodoPayments.connect(context())
    endpoint(api, disabled=True)
    assert "is disabled" in str(worst(list(provider.check())))
    sandbox.hooks.endpoints.clear()
    endpoint(api, filter_types=["payment.succeeded"])
    assert "refund.succeeded" in str(worst(list(provider.check())))


def test_a_key_that_is_not_accepted_is_the_only_finding(context):
    [finding] = DodoPayments.connect(context(api_key="key_of_somebody_else")).check()
    assert finding.severity is Severity.ERROR
    assert "DODO_API_KEY" in finding.fix


def test_what_cannot_be_looked_at_is_no_finding(context, sandbox):
    sandbox.faults.add(Fault(kind=FaultKind.ERROR, path="/payments"))
    with pytest.raises(Temporary):
        DodoPayments.connect(context()).check()


def test_connecting_calls_nobody(context, sandbox):
    provider = DodoPayments.connect(context())
    assert (provider.connection, provider.info.title) == ("dodo", "Dodo Payments")
    assert sandbox.requests == []
