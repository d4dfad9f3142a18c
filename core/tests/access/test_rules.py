"""The policy document: canonical, checked whole, with warnings for what is allowed and looks like a slip."""

from __future__ import annotations

from typing import Any

import pytest

from billhook.access import PolicyInvalid, Problem, parse_policy, policy_to_json


def problems(data: Any) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(data)
    return [str(problem) for problem in caught.value.problems]


def rule(access: str = "none", **when: Any) -> dict[str, Any]:
    return {"state": "bad", "when": when, "access": access}


def warnings(*rules: dict[str, Any]) -> list[str]:
    return [str(each) for each in parse_policy({"rules": list(rules)}).warnings]


def test_an_empty_policy_has_the_documented_defaults() -> None:
    assert policy_to_json(parse_policy({})) == {
        "age_from": "due_date",
        "activate_on": "subscription_started",
        "on_cancel": "paid_through",
        "rollup": "worst",
        "prepaid_survives": False,
        "dispute_opened": "ignore",
        "dispute_lost": "unpaid",
        "rules": [],
    }


@pytest.mark.parametrize("span", ["P7D", "PT36H", "P1DT12H30M5S", "PT0S", "P2W"])
def test_durations_survive_the_canonical_form(span: str) -> None:
    policy = parse_policy({"debit_in_flight": {"counts_as_paid_for": span}, "activation_timeout": span})

    assert parse_policy(policy_to_json(policy)) == policy


def test_every_problem_is_named_at_once_with_its_place_and_what_is_allowed() -> None:
    found = problems(
        {
            "age_form": "due_date",
            "rollup": "wurst",
            "activation_timeout": "a week",
            "rules": [
                {"state": "a", "when": {"overdue_days": -1, "unpaid_balance": {"eur": 5, "USD": 0}}},
                {"state": "b", "when": {}, "axcess": "none"},
                {"when": {"last_failure": []}, "cancel": "soon"},
                "no rule",
            ],
        }
    )

    assert found == [
        "rules[0].when.overdue_days: must be a whole number from 0 to 36500, not -1.",
        "rules[0].when.unpaid_balance.eur: 'eur' is not a currency code; use an ISO 4217 code in upper case,"
        " such as 'EUR'",
        "rules[0].when.unpaid_balance.USD: must be a whole number from 1 to 1000000000000000000, not 0.",
        "rules[1].when: names no condition; a rule without one would match always. Allowed: overdue_days,"
        " unpaid_days, overdue_balance, unpaid_balance, unpaid_invoices, payment_failed_days, last_failure,"
        " dispute, has_tag, lacks_tag.",
        "rules[1].axcess: is not a known key. Did you mean 'access'? Allowed: state, when, access, block_changes,"
        " cancel.",
        "rules[2].state: is missing.",
        "rules[2].when.last_failure: must name at least one decline code or class (hard, soft, authentication).",
        "rules[2].cancel: 'soon' is not one of its values. Allowed: none, immediate, end_of_term.",
        "rules[3]: must be an object.",
        "activation_timeout: 'a week' is not a duration such as P3D, P2W, PT12H or P1DT6H30M, of a year at most",
        "rollup: 'wurst' is not one of its values. Did you mean 'worst'? Allowed: worst, per_subscription.",
        "age_form: is not a known key. Did you mean 'age_from'? Allowed: rules, age_from, activate_on,"
        " activation_timeout, debit_in_flight, on_cancel, rollup, prepaid_survives, dispute_opened, dispute_lost.",
    ]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ([], "policy"),
        ({"rules": {}}, "rules"),
        ({"rules": [rule()] * 101}, "rules"),
        ({"rules": [{"state": "a"}]}, "rules[0].when"),
        ({"rules": [{"state": "a", "when": {"overdue_days": None}}]}, "rules[0].when"),
        ({"rules": [rule(overdue_days=True)]}, "rules[0].when.overdue_days"),
        ({"rules": [rule(overdue_days=5.0)]}, "rules[0].when.overdue_days"),
        ({"rules": [rule(overdue_balance={})]}, "rules[0].when.overdue_balance"),
        ({"rules": [rule(overdue_balance=5)]}, "rules[0].when.overdue_balance"),
        ({"rules": [rule(has_tag="")]}, "rules[0].when.has_tag"),
        ({"rules": [rule(dispute="won")]}, "rules[0].when.dispute"),
        ({"rules": [rule(last_failure="hard")]}, "rules[0].when.last_failure"),
        ({"rules": [{**rule(overdue_days=1), "state": "clear"}]}, "rules[0].state"),
        ({"debit_in_flight": {}}, "debit_in_flight.counts_as_paid_for"),
        ({"debit_in_flight": {"counts_as_paid_for": 7}}, "debit_in_flight.counts_as_paid_for"),
        ({"prepaid_survives": "yes"}, "prepaid_survives"),
        ({"age_from": None}, "age_from"),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(data: Any, path: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(data)

    assert [problem.path for problem in caught.value.problems] == [path]


def test_places_are_told_from_where_the_policy_stands() -> None:
    with pytest.raises(PolicyInvalid, match=r"^policy\.rules\[0\]\.when\.overdue_days"):
        parse_policy({"rules": [rule(overdue_days="5")]}, "policy")


def test_a_rule_that_can_never_match_is_a_warning() -> None:
    found = warnings(rule(overdue_days=5), rule(overdue_days=7, unpaid_invoices=2), rule(unpaid_invoices=2))

    assert found == ["rules[1]: can never match: whenever it would, rules[0] matches first."]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"overdue_balance": {"EUR": 5, "USD": 5}}, {"overdue_balance": {"EUR": 6}}),
        ({"last_failure": ["hard", "soft"]}, {"last_failure": ["soft"]}),
        ({"has_tag": "a"}, {"has_tag": "a", "unpaid_days": 3}),
        ({"dispute": "lost"}, {"dispute": "lost"}),
    ],
)
def test_what_shadows_a_rule_is_seen_in_every_condition(
    earlier: dict[str, Any], later: dict[str, Any]
) -> None:
    assert len(warnings(rule(**earlier), rule(**later))) == 1
    assert warnings(rule(**earlier), rule(overdue_days=1, lacks_tag="b")) == []


def test_an_order_that_looks_wrong_and_a_name_that_misleads_are_warnings() -> None:
    misleading = {"state": "paused", "when": {"unpaid_days": 1}, "access": "none"}
    impossible = {"state": "c", "when": {"has_tag": "a", "lacks_tag": "a"}, "access": "none"}

    assert warnings(rule("limited", overdue_days=9), misleading, impossible) == [
        "rules[1]: gives less access than a rule before it; write the most severe first.",
        "rules[1].state: 'paused' is also a state of a subscription.",
        "rules[2]: can never match: it asks for a tag and for its absence.",
        "rules[2]: gives less access than a rule before it; write the most severe first.",
    ]


def test_an_exemption_can_be_written_as_the_first_rule() -> None:
    exempt = {"state": "clear", "when": {"has_tag": "vip"}}

    assert warnings(exempt, rule(overdue_days=1)) == []


def test_a_problem_can_be_sent_as_json() -> None:
    problem = Problem(path="rules[0]", message="no.", allowed=("a",), did_you_mean="a")

    assert problem.to_json() == {"path": "rules[0]", "message": "no.", "allowed": ["a"], "did_you_mean": "a"}
