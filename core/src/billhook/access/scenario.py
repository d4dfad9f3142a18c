"""Runs scenario files: decides what they ask, and says where it differs from what they expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from billhook.access import reader
from billhook.access.decision import Decision
from billhook.access.evaluate import decide
from billhook.access.facts import written
from billhook.access.rules import Policy
from billhook.access.scenario_file import Comparison, Expectation, Scenario, ScenarioInvalid, load

__all__ = [
    "SHIPPED",
    "Check",
    "Report",
    "Scenario",
    "ScenarioInvalid",
    "check",
    "load",
    "run",
    "scenario_files",
]

SHIPPED: Final = Path(__file__).parent / "scenarios"
"""The scenarios that come with Billhook: the cases that must come out right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One expectation, held against what was decided. ``differences`` is empty when it came out right."""

    name: str
    differences: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it came out as expected."""
        return not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one scenario file."""

    path: Path
    title: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every expectation came out right."""
        return all(check.passed for check in self.checks)


def scenario_files(folder: Path) -> tuple[Path, ...]:
    """Return the scenario files (TOML and JSON) in a folder and the folders in it, by name."""
    return tuple(sorted(path for path in folder.rglob("*") if path.suffix in (".toml", ".json")))


def run(path: Path) -> Report:
    """Read one scenario file and check it.

    :raises ScenarioInvalid: it cannot be read, or is not a scenario.
    """
    scenario = load(path)
    return Report(path=path, title=scenario.title, checks=check(scenario))


def check(scenario: Scenario) -> tuple[Check, ...]:
    """Decide everything a scenario asks and compare."""
    expected = [_check_expectation(scenario, each) for each in scenario.expectations]
    return (*expected, *(_check_comparison(scenario, each) for each in scenario.comparisons))


def _check_expectation(scenario: Scenario, expected: Expectation) -> Check:
    decision = _decide(scenario, expected.customer, scenario.policy, expected.at)
    return Check(
        name=f"{expected.customer} at {written(expected.at)}",
        differences=tuple(_differences(expected.keys, decision.to_json(), "")),
    )


def _check_comparison(scenario: Scenario, expected: Comparison) -> Check:
    found = {}
    for name in scenario.customers:
        before = _decide(scenario, name, scenario.policy, expected.at)
        after = _decide(scenario, name, scenario.then or scenario.policy, expected.at)
        if (before.state, before.access) != (after.state, after.access):
            found[name] = f"{before.state} -> {after.state}"
    differences = () if found == expected.changes else (f"changes: {found!r}, expected {expected.changes!r}",)
    return Check(name=f"change of policy at {written(expected.at)}", differences=differences)


def _decide(scenario: Scenario, customer: str, policy: Policy, at: datetime) -> Decision:
    return decide(scenario.customers[customer], policy, at, payers=scenario.customers)


def _differences(expected: Any, found: Any, path: str) -> Iterator[str]:
    """Yield what differs. Objects may leave keys out, except amounts: a currency too many is a difference."""
    exact = path in ("unpaid", "overdue")
    if isinstance(expected, Mapping) and isinstance(found, Mapping) and not exact:
        for key, value in expected.items():
            yield from _differences(value, found.get(key), reader.join(path, key))
    elif path == "reasons" or path.endswith(".reasons"):
        yield from _reason_differences(expected, found, path)
    elif expected != found:
        yield f"{path}: {found!r}, expected {expected!r}"


def _reason_differences(expected: Any, found: Any, path: str) -> Iterator[str]:
    """Yield what differs in a list of reasons, each of which may leave keys out."""
    if not isinstance(expected, list) or len(expected) != len(found):
        yield f"{path}: {found!r}, expected {expected!r}"
        return
    for index, (wanted, reason) in enumerate(zip(expected, found, strict=True)):
        yield from _differences(wanted, reason, f"{path}[{index}]")
