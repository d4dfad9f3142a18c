"""Test clocks of the sandbox, as Stripe's own SDK sees them: a customer's own time, advanced on request."""

from __future__ import annotations

from datetime import timedelta

import pytest
import stripe

from billhook_stripe.sandbox import API_KEY
from billhook_stripe.sandbox.api_customers import CUSTOMER

AUTOMATIC = {"enabled": True, "allow_redirects": "never"}
DEBIT, FAILING_DEBIT = "DE89370400440532013000", "DE62370400440532013001"
DAY = 86_400


@pytest.fixture
def client(served) -> stripe.StripeClient:
    return stripe.StripeClient(API_KEY, base_addresses={"api": served})


@pytest.fixture
def clocks(client):
    return client.v1.test_helpers.test_clocks


@pytest.fixture
def start(clock) -> int:
    """A year after the sandbox's own time, in seconds since 1970."""
    return int((clock.now() + timedelta(days=365)).timestamp())


@pytest.fixture
def on_a_clock(client, clocks, start):
    """A test clock and the customer on it."""
    made = clocks.create({"frozen_time": start, "name": "a year ahead"})
    return made, client.v1.customers.create({"email": "ada@acme.example", "test_clock": made.id})


def told(sandbox, mailbox) -> list[str]:
    sandbox.deliver_webhooks()
    names = [each.removeprefix("test_helpers.test_clock.") for each in mailbox.types]
    mailbox.received.clear()
    return names


def debited(client, sandbox, customer: str, account: str = DEBIT) -> stripe.PaymentIntent:
    method = sandbox.add_method(customer, card=account)["id"]
    return client.v1.payment_intents.create(
        {"amount": 4900, "currency": "eur", "customer": customer, "payment_method": method, "confirm": True,
         "off_session": True, "automatic_payment_methods": AUTOMATIC}
    )  # fmt: skip


def test_a_clock_stands_where_it_was_put_and_is_ready(clocks, start):
    made = clocks.create({"frozen_time": start, "name": "a year ahead"})
    assert (made.status, made.frozen_time, made.name, made.object) == (
        "ready", start, "a year ahead", "test_helpers.test_clock",
    )  # fmt: skip
    assert made.deletes_after > made.created
    assert clocks.retrieve(made.id).to_dict() == made.to_dict()
    assert [each.id for each in clocks.list().data] == [made.id]
    assert set(made.to_dict()) <= set(stripe.test_helpers.TestClock.__annotations__)


def test_advancing_takes_until_the_next_tick_and_is_told(clocks, sandbox, mailbox, start):
    made = clocks.create({"frozen_time": start})
    going = clocks.advance(made.id, {"frozen_time": start + DAY})
    assert (going.status, going.frozen_time) == ("advancing", start)
    assert going.status_details.advancing.target_frozen_time == start + DAY
    with pytest.raises(stripe.InvalidRequestError, match="already"):
        clocks.advance(made.id, {"frozen_time": start + 2 * DAY})
    sandbox.tick()
    there = clocks.retrieve(made.id)
    assert (there.status, there.frozen_time) == ("ready", start + DAY)
    assert "advancing" not in there.status_details
    assert told(sandbox, mailbox) == ["created", "advancing", "ready"]


def test_a_customer_on_a_clock_lives_in_its_time(client, sandbox, on_a_clock, start):
    _, customer = on_a_clock
    assert customer.created == start
    intent = debited(client, sandbox, customer.id)
    assert (intent.created, intent.status) == (start, "processing")
    assert sandbox.charges[0]["created"] == start


@pytest.mark.parametrize(("account", "ends"), [(DEBIT, "succeeded"), (FAILING_DEBIT, "payment_failed")])
def test_a_debit_is_answered_when_the_clock_passes_that_day(
    client, clocks, sandbox, mailbox, on_a_clock, start, account, ends
):
    clock, customer = on_a_clock
    debited(client, sandbox, customer.id, account)
    clocks.advance(clock.id, {"frozen_time": start + 2 * DAY})
    assert sandbox.tick() == 0
    told(sandbox, mailbox)
    clocks.advance(clock.id, {"frozen_time": start + 4 * DAY})
    assert sandbox.tick() == 1
    names = told(sandbox, mailbox)
    assert (names[0], names[-1]) == ("advancing", "ready")
    assert f"payment_intent.{ends}" in names


def test_the_others_time_goes_on_by_itself(client, clocks, sandbox, clock, on_a_clock, start):
    frozen, customer = on_a_clock
    theirs = debited(client, sandbox, sandbox.add_customer()["id"])
    ours = debited(client, sandbox, customer.id)
    clocks.advance(frozen.id, {"frozen_time": start + 30 * DAY})
    sandbox.tick()
    statuses = {each["id"]: each["status"] for each in sandbox.intents}
    assert (statuses[ours.id], statuses[theirs.id]) == ("succeeded", "processing")
    later = debited(client, sandbox, customer.id)
    clock.advance(timedelta(days=4))
    sandbox.tick()
    statuses = {each["id"]: each["status"] for each in sandbox.intents}
    assert (statuses[later.id], statuses[theirs.id]) == ("processing", "succeeded")


def test_who_is_on_a_clock_is_listed_with_it_and_found_by_search(client, sandbox, on_a_clock):
    clock, customer = on_a_clock
    other = sandbox.add_customer()["id"]
    assert [each.id for each in client.v1.customers.list().data] == [other]
    assert [each.id for each in client.v1.customers.list({"test_clock": clock.id}).data] == [customer.id]
    found = client.v1.customers.search({"query": "email:'ada@acme.example'"}).data
    assert [each.id for each in found] == [customer.id]
    shown = client.v1.customers.retrieve(customer.id, {"expand": ["test_clock"]})
    assert shown.test_clock.name == "a year ahead"


def test_a_customer_is_put_on_a_clock_once(client, clocks, sandbox, start):
    customer = sandbox.add_customer()["id"]
    made = clocks.create({"frozen_time": start, "customer": customer})
    assert client.v1.customers.retrieve(customer).test_clock == made.id
    with pytest.raises(stripe.InvalidRequestError, match="keeps it"):
        clocks.create({"frozen_time": start, "customer": customer})
    assert len(clocks.list().data) == 1


def test_a_clock_takes_its_customers_along_when_it_is_deleted(client, clocks, sandbox, mailbox, on_a_clock):
    clock, customer = on_a_clock
    other = sandbox.add_customer()["id"]
    assert clocks.delete(clock.id).deleted
    assert client.v1.customers.retrieve(customer.id).deleted
    assert [each.id for each in client.v1.customers.list().data] == [other]
    assert told(sandbox, mailbox)[-2:] == ["customer.deleted", "deleted"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        clocks.retrieve(clock.id)
    assert (caught.value.code, caught.value.http_status) == ("resource_missing", 404)


def test_a_clock_goes_neither_back_nor_too_far(clocks, start):
    made = clocks.create({"frozen_time": start})
    for wrong in (start, start - 1, start + 731 * DAY):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            clocks.advance(made.id, {"frozen_time": wrong})
        assert caught.value.param == "frozen_time"
    assert clocks.advance(made.id, {"frozen_time": start + 730 * DAY}).status == "advancing"


def test_a_customer_is_not_put_on_a_clock_that_is_not_there(client):
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.customers.create({"test_clock": "clock_never"})
    assert (caught.value.code, caught.value.param) == ("resource_missing", "test_clock")
    assert "test_clock" not in CUSTOMER  # an update cannot move a customer to another clock
