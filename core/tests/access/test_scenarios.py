"""The shipped scenarios come out right, and each would notice a threshold that is off by a day or a cent."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billhook.access import Policy, parse_policy, policy_to_json
from billhook.access.scenario import SHIPPED, ScenarioInvalid, check, load, run, scenario_files
from billhook.dunning import parse_duration

FILES = scenario_files(SHIPPED)
FAMILIES = {f"{number:02}" for number in range(1, 13)}

SMALL = """
title = "Late after ten days"

[access]

[[access.rules]]
state = "late"
when = { overdue_days = 10 }

[[customers]]
id = "A"
facts = [
  { at = 2024-05-01T00:00:00Z, type = "invoice.finalized", invoice = "I1", amount = 500, currency = "EUR",\
 issue_date = "2024-05-01", due_date = "2024-05-01" },
]

[[expect]]
at = 2024-05-11T00:00:00Z
"""


def moved(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """Yield the policy with one threshold moved by one, each way: a day, a cent, an invoice."""
    written = policy_to_json(policy)
    for place, step in thresholds(written):
        for by in (-1, 1):
            other = copy.deepcopy(written)
            holder: Any = other
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = step(holder[place[-1]], by)
            yield f"{'.'.join(map(str, place))} by {by}", parse_policy(other)


def thresholds(written: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items = written.items() if isinstance(written, dict) else enumerate(written)
    for key, value in items:
        here = (*place, key)
        if isinstance(value, dict | list):
            yield from thresholds(value, here)
        elif type(value) is int:
            yield here, lambda number, by: number + by
        elif key in ("counts_as_paid_for", "activation_timeout"):
            yield here, a_day_more


def a_day_more(duration: str, by: int) -> str:
    return f"P{(parse_duration(duration) + timedelta(days=by)).days}D"


def test_all_families_are_shipped() -> None:
    assert {path.name[:2] for path in FILES} == FAMILIES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_scenario_comes_out_right(path: Path) -> None:
    report = run(path)

    assert [(each.name, each.differences) for each in report.checks if not each.passed] == []
    assert len(report.checks) >= 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_scenario_fails_when_any_threshold_is_moved_by_one(path: Path) -> None:
    scenario = load(path)
    unnoticed = [
        place
        for place, policy in moved(scenario.policy)
        if all(each.passed for each in check(replace(scenario, policy=policy)))
    ]
    if scenario.then is not None:
        unnoticed += [
            f"then {place}"
            for place, policy in moved(scenario.then)
            if all(each.passed for each in check(replace(scenario, then=policy)))
        ]

    assert unnoticed == []


def write(folder: Path, text: str, name: str = "one.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_what_differs_is_named_with_what_was_expected(tmp_path: Path) -> None:
    report = run(
        write(
            tmp_path, SMALL + 'standing = "clear"\nunpaid = { EUR = 500, USD = 1 }\nreasons = [{ days = 9 }]'
        )
    )

    assert not report.passed
    assert report.checks[0].name == "A at 2024-05-11T00:00:00Z"
    assert report.checks[0].differences == (
        "standing: 'late', expected 'clear'",
        "unpaid: {'EUR': 500}, expected {'EUR': 500, 'USD': 1}",
        "reasons[0].days: 10, expected 9",
    )


def test_a_scenario_can_be_json(tmp_path: Path) -> None:
    text = """{"title": "t", "access": {}, "customers": [{"id": "A"}],
               "expect": [{"at": "2024-05-01T00:00:00Z", "standing": "clear", "next_change_at": null}]}"""

    assert run(write(tmp_path, text, "one.json")).passed


def test_a_missing_reason_is_a_difference(tmp_path: Path) -> None:
    report = run(write(tmp_path, SMALL + "reasons = []"))

    assert not report.passed


def test_every_problem_of_a_scenario_is_named(tmp_path: Path) -> None:
    text = (
        SMALL.replace("overdue_days", "overdue_dais").replace("due_date", "due_dat")
        + 'standng = "late"\ncustomer = "B"'
    )

    with pytest.raises(ScenarioInvalid) as caught:
        run(write(tmp_path, text))

    said = str(caught.value)
    assert "access.rules[0].when.overdue_dais: is not a known key. Did you mean 'overdue_days'?" in said
    assert "customers[0].facts[0].due_date: is missing." in said
    assert "expect[0].standng: is not a known key. Did you mean 'standing'?" in said


def test_a_scenario_that_expects_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioInvalid, match="would always pass"):
        run(write(tmp_path, 'title = "t"\n[access]\n[[customers]]\nid = "A"'))


@pytest.mark.parametrize("text", ["not = = toml", "title = 3"])
def test_what_is_no_scenario_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ScenarioInvalid, match=r"one\.toml"):
        run(write(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioInvalid, match="cannot be read"):
        run(tmp_path / "none.toml")
