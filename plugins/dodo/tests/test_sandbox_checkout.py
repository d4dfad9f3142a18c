"""Checkout sessions: pricing rules, single use, expiry, and charging a saved method at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billhook_dodo.sandbox import ApiError

ADDRESS = {"country": "DE", "city": "Berlin", "street": "Musterstr. 1", "zipcode": "10115", "state": "Berlin"}


def test_paying_a_session_charges_exactly_the_amount_and_carries_the_metadata(api, sandbox):
    session = api.checkout(api.product(), 12000, metadata={"lago_invoice_id": "inv-1"})
    payment = sandbox.pay(session["session_id"])
    assert payment["status"] == "succeeded"
    assert (payment["total_amount"], payment["currency"]) == (12000, "EUR")
    assert payment["metadata"] == {"lago_invoice_id": "inv-1"}
    assert payment["checkout_session_id"] == session["session_id"]
    status = api.get(f"/checkouts/{session['session_id']}")
    assert (status["payment_id"], status["payment_status"]) == (payment["payment_id"], "succeeded")


def test_a_session_says_nothing_about_payment_before_the_customer_acts(api):
    session = api.checkout(api.product())
    status = api.get(f"/checkouts/{session['session_id']}")
    assert (status["payment_id"], status["payment_status"]) == (None, None)


def test_an_amount_on_a_fixed_price_product_is_silently_ignored(api, sandbox):
    product = api.product(least=2900, pay_what_you_want=False)
    session = api.checkout(product, 12000)
    assert api.status == 200
    assert sandbox.pay(session["session_id"])["total_amount"] == 2900


def test_an_omitted_amount_is_typed_by_the_customer(api, sandbox):
    session = api.checkout(api.product(), None)
    assert sandbox.pay(session["session_id"], amount=777)["total_amount"] == 777


@pytest.mark.parametrize(
    ("currency", "least", "amount", "code"),
    [
        ("EUR", 1000, 999, "REQUEST_AMOUNT_BELOW_MINIMUM"),
        ("EUR", 0, 49, "TOTAL_PAYMENT_AMOUNT_BELOW_MINIMUM_AMOUNT"),
        ("GBP", 0, 29, "TOTAL_PAYMENT_AMOUNT_BELOW_MINIMUM_AMOUNT"),
        ("JPY", 0, 49, "TOTAL_PAYMENT_AMOUNT_BELOW_MINIMUM_AMOUNT"),
        ("HUF", 0, 17499, "TOTAL_PAYMENT_AMOUNT_BELOW_MINIMUM_AMOUNT"),
    ],
)
def test_amounts_below_a_minimum_are_refused(api, currency, least, amount, code):
    product = api.product(currency, least=least)
    api.checkout(product, amount)
    assert (api.status, api.code) == (422, code)
    api.checkout(product, amount + 1)
    assert api.status == 200


def test_a_cart_needs_products_that_exist(api):
    api.checkout("pdt_nowhere")
    assert (api.status, api.code) == (404, "PRODUCT_NOT_FOUND")
    api.post("/checkouts", {"product_cart": []})
    assert (api.status, api.code) == (422, "PRODUCT_CART_EMTPY")


def test_tax_is_carved_out_or_added_on_top_by_the_product(api, sandbox):
    sandbox.settings.tax_rate_percent = 19
    inclusive = sandbox.pay(api.checkout(api.product())["session_id"])
    exclusive = sandbox.pay(api.checkout(api.product(tax_inclusive=False))["session_id"])
    assert (inclusive["total_amount"], inclusive["tax"]) == (12000, 1916)
    assert (exclusive["total_amount"], exclusive["tax"]) == (14280, 2280)


def test_the_preview_tells_the_total_that_is_then_charged(api, sandbox):
    sandbox.settings.tax_rate_percent = 19
    product = api.product(tax_inclusive=False)
    cart = {"product_cart": [{"product_id": product, "quantity": 1, "amount": 10000}]}
    preview = api.post("/checkouts/preview", cart)
    assert preview["current_breakup"] == {
        "discount": 0,
        "subtotal": 10000,
        "tax": 1900,
        "total_amount": 11900,
    }
    assert sandbox.checkouts == []
    assert sandbox.pay(api.checkout(product, 10000)["session_id"])["total_amount"] == 11900


def test_billing_currency_counts_only_with_adaptive_currency_on(api, sandbox):
    product = api.product()
    off = sandbox.pay(api.checkout(product, billing_currency="PLN")["session_id"])
    sandbox.settings.adaptive_currency = True
    on = sandbox.pay(api.checkout(product, billing_currency="PLN")["session_id"])
    assert (off["currency"], off["total_amount"]) == ("EUR", 12000)
    # 120.00 EUR at 4.3 is 516.00 PLN, and Dodo's 3 percent come on top.
    assert (on["currency"], on["total_amount"]) == ("PLN", 53148)
    assert (on["settlement_currency"], on["settlement_amount"]) == ("EUR", 12000)


@pytest.mark.parametrize("good", [True, False])
def test_a_session_is_used_up_by_its_first_attempt_good_or_bad(api, sandbox, good):
    session_id = api.checkout(api.product())["session_id"]
    first = sandbox.pay(session_id) if good else sandbox.decline(session_id, code="STOLEN_CARD")
    assert first["error_code"] == (None if good else "STOLEN_CARD")
    with pytest.raises(ApiError) as caught:
        sandbox.pay(session_id)
    assert (caught.value.status, caught.value.code) == (409, "CHECKOUT_SESSION_CONSUMED")
    assert len(sandbox.payments) == 1


@pytest.mark.parametrize(
    ("card", "code"),
    [("4000000000000002", "GENERIC_DECLINE"), ("4000 0000 0000 9995", "INSUFFICIENT_FUNDS")],
)
def test_test_cards_are_declined_as_dodo_documents(api, sandbox, card, code):
    payment = sandbox.pay(api.checkout(api.product())["session_id"], card=card)
    assert (payment["status"], payment["error_code"]) == ("failed", code)
    assert payment["card_last_four"] == card[-4:]


@pytest.mark.parametrize(("confirm", "minutes"), [(False, 24 * 60), (True, 15)])
def test_sessions_expire(api, sandbox, clock, confirm, minutes):
    more = (
        {"confirm": True, "customer": {"email": "a@b.example"}, "billing_address": ADDRESS} if confirm else {}
    )
    ids = [api.checkout(api.product(), **more)["session_id"] for _ in range(2)]
    clock.advance(timedelta(minutes=minutes) - timedelta(seconds=1))
    assert sandbox.pay(ids[0])["status"] == "succeeded"
    clock.advance(timedelta(seconds=1))
    with pytest.raises(ApiError) as caught:
        sandbox.pay(ids[1])
    assert caught.value.status == 410


def test_a_saved_method_is_charged_at_once_and_there_is_no_page(api, sandbox):
    product = api.product()
    first = sandbox.pay(api.checkout(product, customer={"email": "ap@b.example"})["session_id"], save=True)
    customer = first["customer"]["customer_id"]
    (method,) = api.get(f"/customers/{customer}/payment-methods")["items"]
    answer = api.checkout(
        product,
        4500,
        customer={"customer_id": customer},
        confirm=True,
        payment_method_id=method["payment_method_id"],
        billing_address=ADDRESS,
    )
    assert answer["checkout_url"] is None
    charged = api.get(f"/payments/{answer['payment_id']}")
    assert (charged["status"], charged["total_amount"]) == ("succeeded", 4500)
    assert charged["payment_method_id"] == method["payment_method_id"]


def test_a_saved_method_needs_confirm_and_belongs_to_its_customer(api, sandbox):
    product = api.product()
    paid = sandbox.pay(api.checkout(product, customer={"email": "one@b.example"})["session_id"], save=True)
    owner, method = paid["customer"]["customer_id"], paid["payment_method_id"]
    other = api.post("/customers", {"email": "two@b.example", "name": "Two"})["customer_id"]
    api.checkout(product, customer={"customer_id": owner}, payment_method_id=method)
    assert api.status == 422
    foreign = {"customer": {"customer_id": other}, "confirm": True, "billing_address": ADDRESS}
    api.checkout(product, payment_method_id=method, **foreign)
    assert (api.status, api.code) == (404, "PAYMENT_METHOD_NOT_FOUND")
    assert len(sandbox.payments) == 1


def test_confirm_without_a_method_reserves_the_payment_the_page_then_settles(api, sandbox):
    answer = api.checkout(
        api.product(), customer={"email": "a@b.example"}, confirm=True, billing_address=ADDRESS
    )
    assert answer["client_secret"]
    assert answer["checkout_url"]
    assert api.get(f"/payments/{answer['payment_id']}")["status"] == "requires_payment_method"
    assert sandbox.pay(answer["session_id"])["payment_id"] == answer["payment_id"]


def test_confirm_needs_an_amount(api):
    api.checkout(
        api.product(), None, customer={"email": "a@b.example"}, confirm=True, billing_address=ADDRESS
    )
    assert (api.status, api.code) == (422, "PAY_AS_YOU_WANT_AMOUNT_REQUIRED")


def test_customers_are_matched_by_email_unless_told_otherwise(api, sandbox):
    known = api.post("/customers", {"email": "a@b.example", "name": "Known"})["customer_id"]
    product, who = api.product(), {"email": "a@b.example", "name": "Else"}
    matched = sandbox.pay(api.checkout(product, customer=who)["session_id"])
    flags = {"always_create_new_customer": True}
    fresh = sandbox.pay(api.checkout(product, customer=who, feature_flags=flags)["session_id"])
    assert matched["customer"]["customer_id"] == known
    assert fresh["customer"]["customer_id"] != known
    api.checkout(product, customer={"customer_id": "cus_nobody"})
    assert (api.status, api.code) == (404, "CUSTOMER_NOT_FOUND")


def test_an_idempotency_key_does_not_stop_a_second_charge(api, sandbox):
    paid = sandbox.pay(
        api.checkout(api.product(), customer={"email": "a@b.example"})["session_id"], save=True
    )
    body = {
        "product_cart": [{"product_id": api.product(), "quantity": 1, "amount": 900}],
        "customer": {"customer_id": paid["customer"]["customer_id"]},
        "confirm": True,
        "payment_method_id": paid["payment_method_id"],
        "billing_address": ADDRESS,
    }
    for _ in range(2):
        api.post("/checkouts", body, Idempotency_Key="lago-inv-1")
    assert [payment["total_amount"] for payment in sandbox.payments] == [12000, 900, 900]
    assert [entry.headers.get("Idempotency-Key") for entry in sandbox.requests[-2:]] == ["lago-inv-1"] * 2
