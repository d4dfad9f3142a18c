"""What people see: the hosted page, the redirect back, and the control panel."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import Client


@pytest.fixture
def browser(sandbox) -> Client:
    return Client(sandbox)


def open_session(api, **more):
    url = api.checkout(api.product(), **more)["checkout_url"]
    return urlsplit(url).path


def test_paying_on_the_page_sends_the_customer_back_with_the_outcome(api, browser, sandbox):
    path = open_session(api, return_url="https://shop.example/back?order=7")
    page = browser.get(path)
    assert (page.status_code, "120.00 EUR" in page.text) == (200, True)
    done = browser.post(path, data={"email": "ap@b.example", "card": "4242424242424242", "save": "1"})
    assert done.status_code == 303
    back = urlsplit(done.headers["Location"])
    (payment,) = sandbox.payments
    assert parse_qs(back.query) == {
        "order": ["7"],
        "status": ["succeeded"],
        "email": ["ap@b.example"],
        "payment_id": [payment["payment_id"]],
    }
    assert payment["payment_method_id"] is not None
    again = browser.get(path)
    assert (again.status_code, "CHECKOUT_SESSION_CONSUMED" in again.text) == (409, True)


@pytest.mark.parametrize("code", ["INSUFFICIENT_FUNDS", "STOLEN_CARD"])
def test_the_decline_buttons_decline(api, browser, sandbox, code):
    path = open_session(api, customer={"email": "ap@b.example"})
    assert f'value="{code}"' in browser.get(path).text
    done = browser.post(path, data={"code": code})
    assert (done.status_code, "failed" in done.text) == (200, True)
    assert [payment["error_code"] for payment in sandbox.payments] == [code]


def test_an_open_amount_is_typed_in_major_units(api, browser, sandbox):
    path = urlsplit(api.checkout(api.product(), None)["checkout_url"]).path
    assert 'name="amount"' in browser.get(path).text
    assert browser.post(path, data={"card": "4242424242424242", "amount": "1.234"}).status_code == 422
    browser.post(path, data={"card": "4242424242424242", "amount": "12.34"})
    assert [payment["total_amount"] for payment in sandbox.payments] == [1234]


def test_what_customers_type_is_never_markup(api, browser):
    path = open_session(api, cancel_url='https://x.example/"><script>alert(1)</script>')
    page = browser.get(path).text
    assert "<script>" not in page
    assert "&quot;&gt;&lt;script&gt;" in page


def test_unknown_sessions_and_cards_are_said_politely(api, browser, sandbox):
    assert browser.get("/session/cks_nowhere").status_code == 404
    path = open_session(api)
    assert browser.post(path, data={"card": "5555555555554444"}).status_code == 422
    assert sandbox.payments == []


def test_the_update_page_shows_the_dues(api, browser, sandbox):
    mandate = sandbox.authorise_mandate(email="ap@b.example")
    path = f"/subscriptions/{mandate['subscription_id']}"
    sandbox.set_card(mandate["subscription_id"], "4000000000009995")
    api.post(f"{path}/charge", {"product_price": 4200})
    link = api.post(f"{path}/update-payment-method", {"type": "new"})["payment_link"]
    page = urlsplit(link).path
    assert "42.00 EUR" in browser.get(page).text
    browser.post(page, data={"card": "4242424242424242"})
    assert api.get(path)["status"] == "active"


def test_the_customer_portal_lists_cards(api, browser, sandbox):
    mandate = sandbox.authorise_mandate(email="ap@b.example")
    link = api.post(f"/customers/{mandate['customer']['customer_id']}/customer-portal/session")["link"]
    assert "4242" in browser.get(urlsplit(link).path).text


def test_the_control_panel_plays_a_whole_story(api, browser, mailbox):
    def control(name, **body):
        response = browser.post(f"/_sandbox/{name}", json=body)
        assert response.status_code == 200, response.text
        return response.get_json()

    product = api.product()
    control("settings", tax_rate_percent=19, charge_delay=0)
    paid = control("pay", session_id=api.checkout(product)["session_id"])
    declined = control("decline", session_id=api.checkout(product)["session_id"], code="STOLEN_CARD")
    refund = control("refund", payment_id=paid["payment_id"], amount=100)
    dispute = control("dispute", payment_id=paid["payment_id"])
    won = control("dispute", dispute_id=dispute["dispute_id"], outcome="won")
    mandate = control("mandate", email="ap@b.example", metadata={"a": "b"})
    control("card", subscription_id=mandate["subscription_id"], card="4000000000009995")
    control("flip", payment_id=paid["payment_id"])
    control("webhooks", duplicate=1)
    assert (paid["tax"], declined["error_code"], refund["amount"]) == (1916, "STOLEN_CARD", 100)
    assert (won["dispute_status"], mandate["status"]) == ("dispute_won", "active")
    assert control("tick") == {"delivered": 7}
    assert mailbox.types[:2] == ["payment.succeeded", "payment.succeeded"]
    state = browser.get("/_sandbox/state").get_json()
    assert [payment["status"] for payment in state["payments"]] == ["failed", "failed"]
    assert len(state["webhooks"]) == 7
    page = browser.get("/_sandbox/").text
    assert paid["payment_id"] in page
    assert dispute["dispute_id"] in page


def test_faults_are_set_and_cleared_over_http(api, browser):
    browser.post("/_sandbox/faults", json={"kind": "error", "path": "/customers", "times": 2})
    api.get("/customers")
    assert api.status == 500
    browser.delete("/_sandbox/faults")
    api.get("/customers")
    assert api.status == 200


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("pay", {}, 422),
        ("pay", {"session_id": "cks_nowhere"}, 404),
        ("dispute", {}, 422),
        ("faults", {"kind": "earthquake"}, 422),
        ("faults", {"kind": "slow", "seconds": "long"}, 422),
        ("settings", {"refund_outcome": "lost"}, 422),
        ("launch", {}, 404),
    ],
)
def test_the_control_panel_is_strict(browser, name, body, status):
    response = browser.post(f"/_sandbox/{name}", json=body)
    assert (response.status_code, "code" in response.get_json()) == (status, True)
