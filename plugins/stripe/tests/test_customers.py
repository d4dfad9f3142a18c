"""Never two Stripe customers for one of ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from billhook.errors import Refused, Temporary
from billhook.model import Customer
from billhook.testing.connection import MemoryState, make_customer
from billhook.testing.sandbox import Fault, FaultKind
from billhook_stripe.provider import StripePayments

ACME = make_customer("acme")


@pytest.fixture
def connect(context):
    """Connect with a memory of its own, or the one given: another process, or the same after a restart."""
    return lambda state=None: StripePayments.connect(context(state=state or MemoryState()))


def test_the_customer_carries_our_id_and_what_we_know(connect, sandbox):
    connect().provider_customer(ACME)
    (made,) = sandbox.customers
    assert made["metadata"] == {"billhook_customer": "acme"}
    assert (made["name"], made["email"], made["preferred_locales"]) == (
        "Acme GmbH",
        "acme@example.com",
        ["de"],
    )
    assert made["address"]["postal_code"] == "10969"


def test_two_processes_at_once_make_one(connect, sandbox):
    assert connect().provider_customer(ACME) == connect().provider_customer(ACME)
    assert len(sandbox.customers) == 1


def test_an_answer_that_was_lost_makes_no_second_one(connect, sandbox):
    sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST", path="/v1/customers"))
    provider = connect()
    with pytest.raises(Temporary):
        provider.provider_customer(ACME)
    provider.provider_customer(replace(ACME, name="Renamed meanwhile"))
    (made,) = sandbox.customers
    assert made["name"] == "Renamed meanwhile"


def test_days_later_a_host_without_memory_finds_it_by_search(connect, sandbox, clock):
    first = connect().provider_customer(ACME)
    clock.advance(timedelta(days=2))
    assert connect().provider_customer(ACME) == first
    assert len(sandbox.customers) == 1


def test_a_customer_that_the_billing_engine_made_is_taken(connect, sandbox, clock):
    theirs = sandbox.add_customer(metadata={"customer_id": "acme"})
    clock.advance(timedelta(minutes=2))
    assert connect().provider_customer(ACME) == theirs["id"]


def test_an_id_in_other_letters_is_another_customer(connect, sandbox, clock):
    first = connect().provider_customer(ACME)
    clock.advance(timedelta(days=2))
    assert connect().provider_customer(replace(ACME, id="ACME")) != first
    assert connect().provider_customer(ACME) == first


def test_an_id_that_could_break_a_query_is_only_an_id(connect, sandbox, clock):
    odd = Customer(id="o'hara\\' OR metadata['x']:'y")
    first = connect().provider_customer(odd)
    clock.advance(timedelta(days=2))
    assert connect().provider_customer(odd) == first
    assert len(sandbox.customers) == 1


def test_a_customer_deleted_at_stripe_is_made_anew(connect, sandbox, api):
    state = MemoryState()
    provider = connect(state)
    dead = provider.provider_customer(ACME)
    api.call("DELETE", f"/v1/customers/{dead}")
    alive = provider.provider_customer(replace(ACME, provider_ids={"stripe": dead}))
    assert alive != dead
    assert provider.provider_customer(ACME) == alive


def test_one_that_is_deleted_again_and_again_is_somebody_s_to_look_at(connect, api):
    provider = connect(MemoryState())
    for _ in range(5):
        api.call("DELETE", f"/v1/customers/{provider.provider_customer(ACME)}")
    with pytest.raises(Refused, match="deleted at Stripe"):
        provider.provider_customer(ACME)
