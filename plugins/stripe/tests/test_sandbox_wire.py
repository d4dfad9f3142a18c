"""The sandbox's manners: keys, forms, idempotency, faults, cards, and what a browser may do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billhook.errors import ConfigInvalid
from billhook.testing.sandbox import Fault, FaultKind
from billhook_stripe.sandbox import PUBLISHABLE_KEY, create_sandbox
from billhook_stripe.sandbox.cards import TEST_CARDS, TOKENS

PAY = {
    "amount": "4900",
    "currency": "eur",
    "payment_method": "pm_card_visa",
    "confirm": "true",
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"nosuch": "1"}, "parameter_unknown"),
        ({"automatic_payment_methods[nosuch]": "1"}, "parameter_unknown"),
        ({"amount": "4.9"}, "parameter_invalid_integer"),
        ({"confirm": "yes"}, None),
        ({"metadata": "text"}, None),
        ({"amount[x]": "1"}, None),
        ({"setup_future_usage": "never"}, None),
        ({"a[b": "1"}, "parameter_unknown"),
        ({"payment_method_types[]": "card"}, "payment_method_types_no_longer_supported"),
        ({"currency": "usd", "payment_method": "pm_never"}, "resource_missing"),
        ({"customer": "cus_never"}, "resource_missing"),
    ],
)
def test_a_form_that_stripe_would_refuse_is_refused(api, sandbox, form, code):
    api.post("/v1/payment_intents", PAY | form)
    assert (api.status, api.code) == (400, code)
    assert sandbox.charges == []


def test_a_key_is_remembered_for_a_day_with_declines_and_not_with_refusals(api, sandbox, clock):
    declined = PAY | {"payment_method": "pm_card_chargeDeclined"}
    first = api.post("/v1/payment_intents", declined, Idempotency_Key="k1")
    assert api.status == 402
    assert api.post("/v1/payment_intents", declined, Idempotency_Key="k1") == first
    assert api.headers["Idempotent-Replayed"] == "true"
    assert len(sandbox.charges) == 1
    api.post("/v1/payment_intents", PAY | {"amount": "1"}, Idempotency_Key="k2")
    api.post("/v1/payment_intents", PAY, Idempotency_Key="k2")
    assert api.status == 200
    clock.advance(timedelta(hours=25))
    api.post("/v1/payment_intents", declined, Idempotency_Key="k1")
    assert len(sandbox.charges) == 3


@pytest.mark.parametrize(
    ("kind", "status", "charged"),
    [(FaultKind.ERROR, 500, 0), (FaultKind.UNAVAILABLE, 503, 0), (FaultKind.RATE_LIMITED, 429, 0),
     (FaultKind.LOST_ANSWER, 504, 1), (FaultKind.SLOW, 200, 1)],
)  # fmt: skip
def test_faults_are_played_once(api, sandbox, kind, status, charged):
    sandbox.faults.add(Fault(kind=kind, method="POST", path="/payment_intents"))
    api.post("/v1/payment_intents", PAY)
    assert (api.status, len(sandbox.charges)) == (status, charged)
    api.post("/v1/payment_intents", PAY)
    assert api.status == 200


@pytest.mark.parametrize("name", sorted(TOKENS))
def test_every_test_name_behaves_as_its_card_says(api, name):
    card = TOKENS[name]
    answer = api.post("/v1/payment_intents", PAY | {"payment_method": name})
    if card.secure != "never":
        assert answer["status"] == "requires_action"
    elif card.declines_charge():
        assert (api.status, api.code) == (402, card.declines_charge().code)
    else:
        assert answer["status"] == "succeeded"


def test_only_test_cards_are_taken(api):
    for number, code in (("4000056655665555", "incorrect_number"), ("4111111111111111", "card_declined")):
        form = {"type": "card", "card[number]": number, "card[exp_month]": "1", "card[exp_year]": "2030"}
        api.post("/v1/payment_methods", form)
        assert (api.status, api.code) == (402, code)
    api.post("/v1/payment_methods", {"type": "sepa_debit", "sepa_debit[iban]": "DE00"})
    assert api.code == "invalid_bank_account_iban"
    assert all(len(number) >= 15 for number in TEST_CARDS)


@pytest.mark.parametrize(
    ("month", "year", "code"),
    [
        ("13", "2030", "invalid_expiry_month"),
        ("8", "2025", "invalid_expiry_year"),
        ("8", "2026", "invalid_expiry_month"),
    ],
)
def test_a_card_that_is_over_is_refused(api, month, year, code):
    form = {
        "type": "card",
        "card[number]": "4242424242424242",
        "card[exp_month]": month,
        "card[exp_year]": year,
    }
    api.post("/v1/payment_methods", form)
    assert (api.status, api.code) == (402, code)


def test_a_browser_reaches_what_its_secret_opens_and_nothing_else(api, sandbox):
    intent = api.post("/v1/payment_intents", {"amount": "4900", "currency": "eur", "metadata[a]": "b"})
    path = f"/v1/payment_intents/{intent['id']}"
    seen = api.call("GET", path, {"client_secret": intent["client_secret"]}, key=PUBLISHABLE_KEY)
    assert seen["amount"] == 4900
    assert "metadata" not in seen
    for method, where, form in (
        ("GET", path, {}),
        ("GET", path, {"client_secret": "pi_secret_guessed"}),
        ("GET", "/v1/customers", {}),
        ("POST", f"{path}/cancel", {}),
        ("POST", f"{path}/confirm", {"payment_method": "pm_card_visa"}),
    ):
        api.call(method, where, form, key=PUBLISHABLE_KEY)
        assert api.status in (400, 403), where
    assert sandbox.charges == []


def test_a_detached_method_is_gone_for_good_and_no_default_any_more(api, sandbox):
    customer = sandbox.add_customer()["id"]
    method = sandbox.add_method(customer, default=True)["id"]
    api.post(f"/v1/payment_methods/{method}/detach")
    assert api.get(f"/v1/customers/{customer}")["invoice_settings"]["default_payment_method"] is None
    api.post(f"/v1/payment_methods/{method}/attach", {"customer": customer})
    assert api.status == 400


def test_a_default_must_be_the_customer_s_own(api, sandbox):
    customer, other = sandbox.add_customer()["id"], sandbox.add_customer()["id"]
    method = sandbox.add_method(other)["id"]
    api.post(f"/v1/customers/{customer}", {"invoice_settings[default_payment_method]": method})
    assert api.status == 400
    api.post("/v1/payment_intents", PAY | {"customer": customer, "payment_method": method})
    assert api.status == 400


def test_a_card_that_was_set_up_is_charged_later_without_a_question(api, sandbox):
    customer = sandbox.add_customer()["id"]
    method = sandbox.add_method(customer, card="4000002500003155")["id"]
    paid = api.post(
        "/v1/payment_intents", PAY | {"customer": customer, "payment_method": method, "off_session": "true"}
    )
    assert paid["status"] == "succeeded"


def test_a_server_that_confirms_must_say_where_a_redirect_leads_back_to(api):
    form = {name: value for name, value in PAY.items() if "allow_redirects" not in name}
    api.post("/v1/payment_intents", form)
    assert api.status == 400
    assert api.post("/v1/payment_intents", form | {"return_url": "https://x.test"})["status"] == "succeeded"


def test_settings_are_checked_all_at_once(clock):
    with pytest.raises(ConfigInvalid) as caught:
        create_sandbox(clock=clock, webhook_url=None, settings={"moon": "1", "debit_delay_seconds": "soon"})
    assert len(caught.value.problems) == 2


def test_the_panel_does_what_python_can(api, sandbox):
    import json

    from werkzeug.test import Client

    client = Client(sandbox)
    intent = api.post("/v1/payment_intents", {"amount": "4900", "currency": "eur"})["id"]

    def control(name: str, **body: object) -> dict:
        answer = client.post(f"/_sandbox/{name}", data=json.dumps(body))
        return answer.get_json() | {"http": answer.status_code}

    assert control("pay", intent=intent)["status"] == "succeeded"
    assert control("refund", intent=intent, amount=900)["amount"] == 900
    assert control("settings", debit_delay=5)["debit_delay"] == 5
    assert control("webhooks", hold=True)["hold"] is True
    assert control("tick")["http"] == 200
    assert control("faults", kind="error", path="customers")["http"] == 200
    for name, body in (("moon", {}), ("pay", {"intent": 1}), ("pay", {"card": "x"}), ("faults", {"kind": "x"}),
                       ("pay", {"intent": intent, "card": "1"})):  # fmt: skip
        assert control(name, **body)["http"] in (400, 404), name
    assert intent in client.get("/_sandbox/").get_data(as_text=True)
    assert client.get("/_sandbox/state").get_json()["payment_intents"][0]["id"] == intent


def test_the_bank_s_page_leads_back_to_the_shop(api, sandbox):
    from werkzeug.test import Client

    client = Client(sandbox)
    form = PAY | {
        "payment_method": "pm_card_authenticationRequired",
        "return_url": "https://shop.test/back?a=1",
    }
    intent = api.post("/v1/payment_intents", form)
    url = intent["next_action"]["redirect_to_url"]["url"]
    assert "Is it you?" in client.get(url).get_data(as_text=True)
    back = client.post(url, data={"answer": "complete"})
    assert back.status_code == 303
    assert back.headers["Location"].startswith("https://shop.test/back?a=1&payment_intent=pi_")
    assert "redirect_status=succeeded" in back.headers["Location"]
    assert "Nothing to confirm" in client.get(url).get_data(as_text=True)
    assert client.get("/js/moon.js").status_code == 404
