"""Trying policies out over HTTP: strict about what comes in, exact about what goes out, and nothing is kept."""

from __future__ import annotations

from typing import Any

import pytest

from billhook_web.api.access_documents import LARGEST_DOCUMENT
from billhook_web.services.simulating import MOST_DECISIONS, MOST_FACTS, MOST_INSTANTS

POLICY = {
    "age_from": "due_date",
    "rules": [
        {"state": "restricted", "when": {"overdue_days": 30}, "access": "none", "block_changes": True},
        {"state": "past_due", "when": {"overdue_days": 5}, "access": "full"},
    ],
}


def invoice(number: int = 2, *, amount: int = 24995, due: str = "2012-05-31", **more: Any) -> dict[str, Any]:
    return {
        "at": "2012-05-31T00:00:00Z",
        "type": "invoice.finalized",
        "invoice": f"I{number}",
        "amount": amount,
        "currency": "USD",
        "issue_date": "2012-05-31",
        "due_date": due,
        **more,
    }


def asked(**changes: Any) -> dict[str, Any]:
    body = {
        "policy": POLICY,
        "timezone": "UTC",
        "customers": [{"id": "A", "facts": [invoice()]}],
        "at": ["2012-06-08T00:00:00Z"],
    }
    return {**body, **changes}


def simulate(api, **changes: Any) -> list[dict[str, Any]]:
    return api.ok("POST", "/access/simulations", body=asked(**changes))["decisions"]


def wrong(api, **changes: Any) -> dict[str, dict[str, Any]]:
    problem = api.refused("POST", "/access/simulations", 422, body=asked(**changes))
    return {each["field"]: each for each in problem["errors"]}


def test_a_decision_is_told_with_every_key_of_the_contract(api) -> None:
    (decision,) = simulate(api)
    assert decision == {
        "customer": "A",
        "at": "2012-06-08T00:00:00Z",
        "standing": "past_due",
        "state": "past_due",
        "access": "full",
        "block_changes": False,
        "since": "2012-06-05T00:00:00Z",
        "unpaid": {"USD": 24995},
        "overdue": {"USD": 24995},
        "unpaid_invoices": 1,
        "oldest_unpaid_on": "2012-05-31",
        "reasons": [
            {
                "rule": "past_due",
                "because": "overdue_days",
                "invoice": "I2",
                "days": 8,
                "threshold": 5,
                "amount": 24995,
                "currency": "USD",
                "text": "Invoice I2 (249.95 USD) is 8 days overdue; the limit is 5.",
            }
        ],
        "next_change_at": "2012-06-30T00:00:00Z",
        "next": {"state": "restricted", "access": "none"},
        "prevented_by": ["pay invoice I2 of 249.95 USD"],
        "subscriptions": {},
    }


def test_decisions_come_customer_by_customer_in_the_order_asked(api) -> None:
    instants = ["2012-07-08T00:00:00Z", "2012-06-01T02:00:00+02:00", "2012-07-08T00:00:00Z"]
    customers = [{"id": "B", "facts": []}, {"id": "A", "facts": [invoice()]}]
    decisions = simulate(api, customers=customers, at=instants)
    told = ["2012-07-08T00:00:00Z", "2012-06-01T00:00:00Z", "2012-07-08T00:00:00Z"]
    assert [(each["customer"], each["at"]) for each in decisions] == [
        (name, at) for name in ("B", "A") for at in told
    ]
    assert [each["state"] for each in decisions[3:]] == ["restricted", decisions[0]["state"], "restricted"]


def test_a_customer_for_whom_another_of_the_call_pays_takes_its_standing(api) -> None:
    child = {"at": "2012-05-01T00:00:00Z", "type": "customer.delegated", "pays": "A"}
    customers = [{"id": "child", "facts": [child]}, {"id": "A", "facts": [invoice()]}]
    decisions = simulate(api, customers=customers, at=["2012-07-08T00:00:00Z"])
    assert [each["standing"] for each in decisions] == ["restricted", "restricted"]


def test_days_are_counted_in_the_time_zone_of_the_call_or_of_the_customer(api) -> None:
    customers = [
        {"id": "here", "facts": [invoice()]},
        {"id": "there", "timezone": "America/Los_Angeles", "facts": [invoice()]},
    ]
    at = ["2012-06-04T12:00:00Z", "2012-06-05T06:59:59Z", "2012-06-05T07:00:00Z"]
    decisions = simulate(api, timezone="Pacific/Auckland", customers=customers, at=at)
    assert [each["standing"] for each in decisions] == [
        "past_due", "past_due", "past_due", "clear", "clear", "past_due",
    ]  # fmt: skip


def test_every_problem_of_policy_facts_and_instants_is_named_at_once(api) -> None:
    facts = [
        invoice(),
        {**invoice(), "due_date": "2012-02-30", "amount_": 1},
        {"type": "invoice.finalised"},
        5,
    ]
    rule = {"state": "x", "when": {"overdue_day": 5}, "access": "ful"}
    found = wrong(
        api,
        policy={"rules": [rule], "age_form": "due_date"},
        timezone="Mars/Olympus",
        customers=[{"id": "A", "facts": facts}, {"id": "A", "facts": [], "zone": "UTC"}, {"facts": {}}, "B"],
        at=["2012-06-08", "2012-06-08T00:00:00Z", None],
        dry_run=True,
    )
    assert set(found) == {
        "policy.rules[0].when.overdue_day", "policy.rules[0].access", "policy.age_form", "timezone",
        "customers[0].facts[1].due_date", "customers[0].facts[1].amount_", "customers[0].facts[2].type",
        "customers[0].facts[3]", "customers[1].id", "customers[1].zone", "customers[2].id", "customers[2].facts",
        "customers[3]", "at[0]", "at[2]", "dry_run",
    }  # fmt: skip
    assert found["policy.rules[0].when.overdue_day"]["did_you_mean"] == "overdue_days"
    assert found["policy.rules[0].access"]["allowed"] == ["full", "limited", "none"]
    assert found["customers[0].facts[1].amount_"]["did_you_mean"] == "amount"
    assert found["customers[0].facts[2].type"]["did_you_mean"] == "invoice.finalized"
    assert "invoice.finalized" in found["customers[0].facts[2].type"]["allowed"]
    assert found["dry_run"]["allowed"] == ["policy", "timezone", "customers", "at"]


@pytest.mark.parametrize("missing", ["policy", "customers", "at"])
def test_what_is_missing_is_named(api, missing: str) -> None:
    body = asked()
    del body[missing]
    problem = api.refused("POST", "/access/simulations", 422, body=body)
    assert [(each["field"], each["message"]) for each in problem["errors"]] == [(missing, "is missing.")]


@pytest.mark.parametrize("amount", [249.95, 24995.0, "24995", True, None, 10**30])
def test_an_amount_is_whole_minor_units_and_nothing_else(api, amount: object) -> None:
    assert set(wrong(api, customers=[{"id": "A", "facts": [invoice(amount=amount)]}])) == {  # type: ignore[arg-type]
        "customers[0].facts[0].amount"
    }


def test_a_rule_that_can_never_match_and_a_currency_nobody_is_billed_in_are_warned_of(api) -> None:
    rules = [
        {"state": "late", "when": {"overdue_days": 5}},
        {"state": "later", "when": {"overdue_days": 6}},
        {"state": "poor", "when": {"unpaid_balance": {"EUR": 100, "USD": 100}}},
    ]
    told = api.ok("POST", "/access/simulations", body=asked(policy={"rules": rules}))
    assert [each["field"] for each in told["warnings"]] == [
        "policy.rules[1]",
        "policy.rules[2].when.unpaid_balance.EUR",
    ]
    assert told["decisions"][0]["standing"] == "late"


def test_as_many_facts_and_instants_as_the_contract_allows_are_taken(api) -> None:
    tagged = {"at": "2012-05-01T00:00:00Z", "type": "customer.tagged", "tag": "x" * 200}
    decisions = simulate(api, customers=[{"id": "A", "facts": [tagged] * MOST_FACTS}])
    assert len(decisions) == 1
    instants = [f"2012-06-08T00:{minute // 60:02}:{minute % 60:02}Z" for minute in range(MOST_INSTANTS)]
    assert len(simulate(api, at=instants)) == MOST_INSTANTS


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"customers": [{"id": "A", "facts": [{}] * 9_999}, {"id": "B", "facts": [{}] * 2}]}, MOST_FACTS),
        ({"at": ["2012-06-08T00:00:00Z"] * 1_001}, MOST_INSTANTS),
        (
            {
                "customers": [{"id": f"c{number}", "facts": []} for number in range(51)],
                "at": ["2012-06-08T00:00:00Z"] * 1_000,
            },
            MOST_DECISIONS,
        ),
    ],
)
def test_more_than_the_limit_is_413_with_the_limit(api, changes: dict[str, Any], limit: int) -> None:
    problem = api.refused("POST", "/access/simulations", 413, body=asked(**changes))
    assert problem["limit"] == limit
    assert f"{limit:,}" in problem["detail"]


def test_a_body_without_a_policy_object_or_of_half_characters_is_refused(api) -> None:
    assert api.refused("POST", "/access/simulations", 422, body=[])["errors"][0]["field"] == ""
    sent = {"data": b'{"policy": {"\\ud800": 1}, "at": ["\\u0000"]}', "content_type": "application/json"}
    problem = api.refused("POST", "/access/simulations", 422, **sent)
    assert {each["field"] for each in problem["errors"]} == {"policy", "at[0]"}
    api.refused("POST", "/access/simulations", 415, data=b"a=1", content_type="text/plain")


def test_a_simulation_needs_the_scope_and_keeps_nothing(api) -> None:
    api.with_scopes("access:read").ok("POST", "/access/simulations", body=asked())
    api.with_scopes("billing:read").refused("POST", "/access/simulations", 403, body=asked())
    assert api.get("/customers")["data"] == []


def test_a_body_of_too_many_bytes_is_413_with_the_limit(api) -> None:
    padded = asked(timezone="x" * LARGEST_DOCUMENT)
    assert api.refused("POST", "/access/simulations", 413, body=padded)["limit"] == LARGEST_DOCUMENT
