"""On-demand subscriptions: charging, going on hold, and coming back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billhook_dodo.sandbox.cards import FAILS_LATER, GOOD, NO_FUNDS


@pytest.fixture
def mandate(sandbox, mailbox):
    subscription = sandbox.authorise_mandate(email="ap@b.example", metadata={"lago_customer_id": "c1"})
    sandbox.deliver_webhooks()
    assert mailbox.types == ["subscription.active"]
    mailbox.received.clear()
    return subscription


def charge(api, mandate, price=12000, **more):
    return api.post(f"/subscriptions/{mandate['subscription_id']}/charge", {"product_price": price} | more)


def update(api, mandate, method):
    path = f"/subscriptions/{mandate['subscription_id']}/update-payment-method"
    return api.post(path, method)


def test_a_mandate_alone_moves_no_money_and_saves_a_reusable_card(api, sandbox, mandate):
    assert (mandate["on_demand"], mandate["status"]) == (True, "active")
    assert sandbox.payments == []
    methods = api.get(f"/customers/{mandate['customer']['customer_id']}/payment-methods")["items"]
    assert [entry["recurring_enabled"] for entry in methods] == [True]
    assert methods[0]["payment_method_id"] == mandate["payment_method_id"]


def test_a_charge_answers_an_id_and_the_result_comes_by_webhook(api, sandbox, mailbox, mandate):
    answer = charge(api, mandate, metadata={"lago_invoice_id": "inv-1"})
    assert set(answer) == {"payment_id"}
    sandbox.deliver_webhooks()
    (event,) = [entry.event for entry in mailbox.received]
    assert (event["type"], event["data"]["charge_type"]) == ("payment.succeeded", "on_demand")
    assert event["data"]["metadata"] == {"lago_invoice_id": "inv-1"}


def test_a_charge_without_metadata_gets_the_subscriptions(api, mandate):
    payment = api.get(f"/payments/{charge(api, mandate)['payment_id']}")
    assert payment["metadata"] == {"lago_customer_id": "c1"}


def test_only_one_charge_is_in_flight(api, sandbox, clock, mandate):
    sandbox.settings.charge_delay = timedelta(minutes=5)
    first = charge(api, mandate)["payment_id"]
    assert api.get(f"/payments/{first}")["status"] == "processing"
    charge(api, mandate)
    assert (api.status, api.code) == (409, "PREVIOUS_PAYMENT_PENDING")
    clock.advance(timedelta(minutes=5))
    sandbox.tick()
    assert api.get(f"/payments/{first}")["status"] == "succeeded"
    charge(api, mandate)
    assert api.status == 200


def test_a_failed_charge_puts_the_mandate_on_hold_until_the_dues_are_paid(api, sandbox, mailbox, mandate):
    sandbox.set_card(mandate["subscription_id"], NO_FUNDS)
    failed = charge(api, mandate, metadata={"lago_invoice_id": "inv-1"})["payment_id"]
    assert api.get(f"/payments/{failed}")["error_code"] == "INSUFFICIENT_FUNDS"
    charge(api, mandate)
    assert (api.status, api.code) == (422, "SUBSCRIPTION_INACTIVE")
    sandbox.set_card(mandate["subscription_id"], GOOD)
    existing = {"type": "existing", "payment_method_id": mandate["payment_method_id"]}
    dues = update(api, mandate, existing)["payment_id"]
    paid = api.get(f"/payments/{dues}")
    assert (paid["status"], paid["total_amount"]) == ("succeeded", 12000)
    assert dues != failed
    sandbox.deliver_webhooks()
    assert mailbox.types == [
        "payment.failed",
        "subscription.on_hold",
        "payment.succeeded",
        "subscription.active",
    ]
    assert api.get(f"/subscriptions/{mandate['subscription_id']}")["status"] == "active"


def test_a_new_card_pays_the_dues_on_a_hosted_page(api, sandbox, mandate):
    sandbox.set_card(mandate["subscription_id"], NO_FUNDS)
    charge(api, mandate)
    answer = update(api, mandate, {"type": "new", "return_url": "https://shop.example/back"})
    session_id = answer["payment_link"].rsplit("/", 1)[1]
    paid = sandbox.pay(session_id)
    assert (paid["payment_id"], paid["total_amount"]) == (answer["payment_id"], 12000)
    after = api.get(f"/subscriptions/{mandate['subscription_id']}")
    assert after["status"] == "active"
    assert after["payment_method_id"] != mandate["payment_method_id"]


def test_declined_dues_leave_the_mandate_on_hold(api, sandbox, mandate):
    sandbox.set_card(mandate["subscription_id"], NO_FUNDS)
    charge(api, mandate)
    update(api, mandate, {"type": "existing", "payment_method_id": mandate["payment_method_id"]})
    assert [payment["status"] for payment in sandbox.payments] == ["failed", "failed"]
    assert api.get(f"/subscriptions/{mandate['subscription_id']}")["status"] == "on_hold"


def test_switching_an_active_mandate_to_another_saved_card_charges_nothing(api, sandbox, mailbox, mandate):
    answer = update(api, mandate, {"type": "existing", "payment_method_id": mandate["payment_method_id"]})
    sandbox.deliver_webhooks()
    assert (answer["payment_id"], sandbox.payments) == (None, [])
    assert mailbox.types == ["subscription.update_payment_method"]


def test_updating_an_active_mandate_is_a_set_up_payment_of_nothing(api, sandbox, mandate):
    answer = update(api, mandate, {"type": "new"})
    payment = sandbox.pay(answer["payment_link"].rsplit("/", 1)[1])
    assert (payment["is_update_payment_method"], payment["total_amount"]) == (True, 0)


def test_the_off_session_failure_card_is_accepted_first_and_declined_later(api, sandbox):
    mandate = sandbox.authorise_mandate(email="late@b.example", card=FAILS_LATER)
    assert mandate["status"] == "active"
    payment = api.get(f"/payments/{charge(api, mandate)['payment_id']}")
    assert (payment["status"], payment["error_code"]) == ("failed", "GENERIC_DECLINE")


def test_a_declined_authorisation_ends_in_a_failed_subscription(api, sandbox):
    mandate = sandbox.authorise_mandate(email="bad@b.example", card=NO_FUNDS)
    assert mandate["status"] == "failed"
    charge(api, mandate)
    assert (api.status, api.code) == (422, "SUBSCRIPTION_INACTIVE")


def test_a_foreign_payment_method_cannot_be_used(api, sandbox, mandate):
    other = sandbox.authorise_mandate(email="other@b.example")
    update(api, mandate, {"type": "existing", "payment_method_id": other["payment_method_id"]})
    assert (api.status, api.code) == (404, "PAYMENT_METHOD_NOT_FOUND")


def test_on_demand_takes_recurring_products_and_no_discounts(api):
    body = {
        "product_cart": [{"product_id": api.product(), "quantity": 1}],
        "subscription_data": {"on_demand": {"mandate_only": True}},
    }
    api.post("/checkouts", body)
    assert api.code == "ONE_TIME_PRODUCTS_NOT_ALLOWED_FOR_ON_DEMAND"
    api.post("/checkouts", body | {"discount_code": "TEN"})
    assert api.code == "DISCOUNTS_NOT_ALLOWED_FOR_ON_DEMAND"


def test_an_on_demand_checkout_with_a_price_charges_it_at_once(api, sandbox, mandate):
    body = {
        "product_cart": [{"product_id": mandate["product_id"], "quantity": 1}],
        "subscription_data": {"on_demand": {"mandate_only": False, "product_price": 3300}},
    }
    payment = sandbox.pay(api.post("/checkouts", body)["session_id"])
    assert (payment["charge_type"], payment["total_amount"]) == ("new", 3300)
    assert payment["subscription_id"] in {entry["subscription_id"] for entry in sandbox.subscriptions}


def test_charging_twice_charges_twice(api, sandbox, mandate):
    for _ in range(2):
        path = f"/subscriptions/{mandate['subscription_id']}/charge"
        api.post(path, {"product_price": 100}, Idempotency_Key="lago-inv-1")
    assert [payment["total_amount"] for payment in sandbox.payments] == [100, 100]
