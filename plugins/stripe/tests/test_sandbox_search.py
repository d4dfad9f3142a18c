"""The sandbox's search: what a query finds, what it may not ask, how far it is behind. Stripe's own SDK asks."""

from __future__ import annotations

from datetime import timedelta

import pytest
import stripe

from billhook_stripe.sandbox import API_KEY, Settings

AUTOMATIC = {"enabled": True, "allow_redirects": "never"}
DAY = timedelta(days=1)


@pytest.fixture
def client(served) -> stripe.StripeClient:
    return stripe.StripeClient(API_KEY, base_addresses={"api": served})


@pytest.fixture
def intents(client, sandbox, clock) -> dict[str, str]:
    """Three payments a day apart, by name; the last one is declined."""
    found, customer = {}, sandbox.add_customer(metadata={"ours": "acct_1"})["id"]
    for name, amount, currency, card in (
        ("small", 900, "eur", "4242424242424242"),
        ("large", 90_000, "usd", "5555555555554444"),
        ("declined", 5_000, "eur", "4000000000009995"),
    ):
        made = sandbox.charge_elsewhere(customer, amount, currency, {"invoice": name, "it's": "a"}, card=card)
        found[made["id"]] = name
        clock.advance(DAY)
    return found


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("metadata['invoice']:'large'", ["large"]),
        ('metadata["invoice"]:"large"', ["large"]),
        (r"metadata['it\'s']:'a' amount<1000", ["small"]),
        ("metadata['nothing']:'large'", []),
        ("metadata['invoice']:'lar'", []),
        ("metadata['nothing']:null", ["declined", "large", "small"]),
        ("-metadata['invoice']:null AND currency:'usd'", ["large"]),
        ("status:'succeeded'", ["large", "small"]),
        ("-status:'succeeded'", ["declined"]),
        ("status:'SUCCEEDED' and amount>=900 and amount<=900", ["small"]),
        ("amount:5000 OR currency:'usd'", ["declined", "large"]),
        ("amount>5000", ["large"]),
        ("amount>999999", []),
        ("created>{second}", ["declined", "large"]),
        ("created<{second}", ["small"]),
    ],
)
def test_a_query_finds_what_meets_it_newest_first(client, clock, intents, query, names):
    second = int((clock.now() - 2 * DAY - timedelta(hours=12)).timestamp())
    found = client.v1.payment_intents.search({"query": query.replace("{second}", str(second))})
    assert [intents[each.id] for each in found.data] == names
    assert (found.has_more, found.next_page) == (False, None)


def test_the_payments_of_a_customer_are_found(client, sandbox, intents):
    customer, other = sandbox.customers[0]["id"], sandbox.add_customer()["id"]
    assert len(client.v1.payment_intents.search({"query": f"customer:'{customer}'"}).data) == 3
    assert client.v1.payment_intents.search({"query": f"customer:'{other}'"}).data == []


@pytest.mark.parametrize(
    ("query", "amounts"),
    [
        ("payment_method_details.card.last4:'4444'", [90_000]),
        ("payment_method_details.card.brand:'mastercard' OR status:'failed'", [5_000, 90_000]),
        ("refunded:'true'", [900]),
        ("disputed:'false' AND metadata['invoice']:'declined'", [5_000]),
    ],
)
def test_charges_are_searched_by_their_card_and_what_became_of_them(client, sandbox, intents, query, amounts):
    sandbox.refund(next(ref for ref, name in intents.items() if name == "small"))
    assert [each.amount for each in client.v1.charges.search({"query": query}).data] == amounts


@pytest.mark.parametrize(
    ("query", "count"),
    [("name~'acm'", 1), ("name:'acme & sons'", 1), ("name:'acme'", 0), ("email:'ada@acme.example'", 1),
     ("-name~'acme'", 1), ("phone:null", 2)],
)  # fmt: skip
def test_customers_are_searched_by_parts_of_texts_too(client, clock, query, count):
    client.v1.customers.create({"name": "Acme & Sons", "email": "ada@acme.example"})
    client.v1.customers.create({"name": "Other"})
    clock.advance(DAY)
    assert len(client.v1.customers.search({"query": query}).data) == count


def test_pages_name_the_next_and_lists_nothing_twice(client, sandbox, clock):
    made = [sandbox.charge_elsewhere("", 900 + number, "eur", {})["id"] for number in range(5)]
    clock.advance(DAY)
    first = client.v1.payment_intents.search({"query": "amount>1", "limit": 2})
    assert (len(first.data), first.has_more) == (2, True)
    second = client.v1.payment_intents.search({"query": "amount>1", "limit": 2, "page": first.next_page})
    assert [each.id for each in (*first.data, *second.data)] == made[:0:-1]
    everything = client.v1.payment_intents.search({"query": "amount>1", "limit": 2}).auto_paging_iter()
    assert [each.id for each in everything] == made[::-1]


def test_what_was_found_is_expanded_on_request(client, intents):
    (found,) = client.v1.payment_intents.search(
        {"query": "amount:900", "expand": ["data.latest_charge"]}
    ).data
    assert found.latest_charge.paid


def test_a_young_payment_is_listed_at_once_and_found_later(client, sandbox, clock):
    sandbox.settings.search_delay = timedelta(minutes=5)
    made = sandbox.charge_elsewhere("", 900, "eur", {})["id"]
    clock.advance(timedelta(minutes=4))
    assert [each.id for each in client.v1.payment_intents.list().data] == [made]
    assert client.v1.payment_intents.search({"query": "amount:900"}).data == []
    clock.advance(timedelta(minutes=1))
    assert [each.id for each in client.v1.payment_intents.search({"query": "amount:900"}).data] == [made]
    assert Settings().search_delay == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (" ", "empty"),
        ("succeeded", "succeeded"),
        ("status:succeeded", "status:succeeded"),
        ("status:'succeeded' AND amount:1 OR amount:2", "AND and OR"),
        ("status:'succeeded' amount:1 OR amount:2", "AND and OR"),
        ("status:'succeeded' AND", "ends in"),
        ("AND status:'succeeded'", "AND status"),
        ("(status:'succeeded')", "status"),
        ("colour:'red'", "colour"),
        ("status~'succ'", "status"),
        ("status>'a'", "status"),
        ("amount:'much'", "number"),
        ("amount~'100'", "amount"),
        ("amount>null", "amount"),
        ("metadata:'x'", "metadata"),
        ("status['x']:'y'", "metadata"),
        (" ".join(["amount>1"] * 11), "10 clauses"),
        ("status:'succeeded", "status"),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_asked_is_refused_and_says_why(client, query, why):
    with pytest.raises(stripe.InvalidRequestError, match="search query") as caught:
        client.v1.payment_intents.search({"query": query})
    assert (caught.value.param, caught.value.http_status) == ("query", 400)
    assert why in str(caught.value)


def test_parts_of_two_letters_nothing_limits_and_pages_of_others_are_refused(client):
    for given, param in (
        ({"query": "name~'ac'"}, "query"),
        ({"query": ""}, "query"),
        ({"query": "name:'ac'", "limit": 101}, "limit"),
        ({"query": "name:'ac'", "page": "after_cus_never"}, "page"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            client.v1.customers.search(given)
        assert caught.value.param == param
