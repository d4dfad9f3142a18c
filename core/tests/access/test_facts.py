"""Facts as JSON: what the contract names is read, anything else is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from billhook.access import FACT_TYPES, FactsInvalid, facts_to_json, parse_facts, type_of

AT = {"at": "2024-05-01T12:00:00Z"}
ATTEMPT = {"payment": "P", "invoice": "I", "amount": 5, "currency": "EUR"}
ISSUED = {
    "invoice": "I",
    "amount": 5,
    "currency": "EUR",
    "issue_date": "2024-05-01",
    "due_date": "2024-05-15",
}
EXAMPLES: list[dict[str, Any]] = [
    {"type": "customer.tagged", **AT, "tag": "vip"},
    {"type": "customer.untagged", **AT, "tag": "vip"},
    {"type": "customer.delegated", **AT, "pays": "B"},
    {"type": "customer.delegated", **AT, "pays": None},
    {"type": "subscription.started", **AT, "subscription": "S", "plan": "basic"},
    {
        "type": "subscription.started",
        **AT,
        "subscription": "S",
        "plan": "basic",
        "trial_ends_at": "2024-05-20T00:00:00Z",
    },
    {"type": "subscription.canceled", **AT, "subscription": "S", "mode": "paid_through"},
    {"type": "subscription.canceled", **AT, "subscription": "S", "mode": "at", "ends_at": "2024-06-01"},
    *(
        {"type": f"subscription.{kind}", **AT, "subscription": "S"}
        for kind in ("reactivated", "paused", "resumed", "ended")
    ),
    {"type": "invoice.finalized", **AT, **ISSUED},
    {
        "type": "invoice.finalized",
        **AT,
        **ISSUED,
        "subscriptions": ["S"],
        "period": {"start": "2024-05-01", "end": "2024-06-01T00:00:00Z"},
    },
    {"type": "invoice.adjusted", **AT, "invoice": "I", "amount": -5},
    {"type": "invoice.credited", **AT, "invoice": "I", "amount": 5},
    *({"type": f"invoice.{kind}", **AT, "invoice": "I"} for kind in ("voided", "written_off", "reinstated")),
    *(
        {"type": f"payment.{kind}", **AT, **ATTEMPT}
        for kind in ("pending", "requires_action", "succeeded", "failed", "canceled", "unknown")
    ),
    {"type": "payment.failed", **AT, **ATTEMPT, "decline": "R02"},
    {"type": "payment.failed", **AT, **ATTEMPT, "decline": {"code": "R02", "class": "hard"}},
    {"type": "payment.reversed", **AT, "payment": "P", "amount": 5, "cause": "late_failure"},
    {"type": "refund.succeeded", **AT, "payment": "P", "amount": 5, "credited": False},
    *({"type": f"dispute.{kind}", **AT, "payment": "P", "amount": 5} for kind in ("opened", "won", "lost")),
]


def refused(fact: Any) -> list[str]:
    with pytest.raises(FactsInvalid) as caught:
        parse_facts([EXAMPLES[0], fact])
    return [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_fact_of_the_contract_is_read_and_written_back(example: dict[str, Any]) -> None:
    (fact,) = parse_facts([example])

    assert facts_to_json([fact]) == [example]
    assert type_of(fact) == example["type"]


def test_the_examples_are_complete() -> None:
    assert {example["type"] for example in EXAMPLES} == set(FACT_TYPES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_unknown_key_is_refused(example: dict[str, Any]) -> None:
    assert refused({**example, "colour": "red"}) == ["facts[1].colour"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_missing_key_is_refused(example: dict[str, Any]) -> None:
    optional = {"trial_ends_at", "mode", "subscriptions", "period", "decline"}
    for key in example.keys() - optional:
        left = {name: value for name, value in example.items() if name != key}
        assert refused(left) == [f"facts[1].{key}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("at", "2024-05-01"),
        ("at", "2024-05-01T12:00:00"),
        ("at", 1714564800),
        ("at", "0001-01-01T00:00:00Z"),
        ("amount", 5.0),
        ("amount", True),
        ("amount", "5"),
        ("amount", 10**18 + 1),
        ("currency", "eur"),
        ("currency", "XXX"),
        ("due_date", "2024-02-30"),
        ("due_date", "20240501"),
        ("due_date", "9999-12-31"),
        ("due_date", "2024-05-01T00:00:00Z"),
        ("invoice", ""),
        ("invoice", 7),
        ("subscriptions", "S"),
        ("subscriptions", [1]),
        ("period", {"start": "2024-05-01"}),
        ("period", "May"),
        ("type", "invoice.finalised"),
        ("type", None),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(key: str, value: Any) -> None:
    assert refused({"type": "invoice.finalized", **AT, **ISSUED, key: value}) == [f"facts[1].{key}"]


@pytest.mark.parametrize(
    ("fact", "key"),
    [
        ({"type": "invoice.credited", **AT, "invoice": "I", "amount": -1}, "amount"),
        ({"type": "payment.reversed", **AT, "payment": "P", "amount": 5, "cause": "whim"}, "cause"),
        ({"type": "refund.succeeded", **AT, "payment": "P", "amount": 5, "credited": 1}, "credited"),
        ({"type": "payment.failed", **AT, **ATTEMPT, "decline": {"code": "x", "class": "odd"}}, "decline"),
        ({"type": "payment.failed", **AT, **ATTEMPT, "decline": {"kode": "x"}}, "decline"),
        ({"type": "subscription.canceled", **AT, "subscription": "S", "mode": "later"}, "mode"),
        ({"type": "subscription.canceled", **AT, "subscription": "S", "mode": "at"}, "ends_at"),
    ],
)
def test_values_of_other_facts_are_checked_too(fact: dict[str, Any], key: str) -> None:
    assert refused(fact) == [f"facts[1].{key}"]


def test_the_nearest_type_is_suggested() -> None:
    with pytest.raises(FactsInvalid, match=r"Did you mean 'invoice\.finalized'\?"):
        parse_facts([{"type": "invoice.finalised", **AT}])


@pytest.mark.parametrize("facts", ["none", {"type": "customer.tagged"}])
def test_facts_are_a_list(facts: Any) -> None:
    with pytest.raises(FactsInvalid, match=r"customers\[0\]\.facts: must be a list"):
        parse_facts(facts, "customers[0].facts")


def test_a_fact_is_an_object() -> None:
    assert refused("customer.tagged") == ["facts[1]"]


def test_an_instant_is_kept_in_utc() -> None:
    (fact,) = parse_facts([{"type": "customer.tagged", "at": "2024-05-01T14:00:00+02:00", "tag": "a"}])

    assert facts_to_json([fact])[0]["at"] == "2024-05-01T12:00:00Z"
