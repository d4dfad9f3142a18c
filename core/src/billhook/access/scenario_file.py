"""Scenario files: a policy, customers with their facts, and the decisions expected of them.

::

    title = "Unpaid for ten days"
    timezone = "UTC"                       # of all customers; one may have its own
    customers = [{ id = "A", facts = [ { at = "2024-05-01T00:00:00Z", type = "invoice.finalized", … } ] }]
    expect = [{ at = "2024-05-11T00:00:00Z", customer = "A", standing = "late", access = "none" }]

    [[access.rules]]
    state = "late"
    when = { overdue_days = 10 }
    access = "none"

An expectation names only the keys it is about, spelt as in the decision's JSON; a customer only where there are several.
A second policy under ``then`` is compared with the first: ``compare = [{ at = "…", changes = { A = "active -> late" } }]``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from billhook.access import reader
from billhook.access.fact_json import parse_facts
from billhook.access.facts import Account, written
from billhook.access.policy_json import parse_policy
from billhook.access.problem import FactsInvalid, PolicyInvalid, Problem
from billhook.access.reader import Table
from billhook.access.rules import Policy
from billhook.errors import BillhookError


class ScenarioInvalid(BillhookError):
    """A scenario file cannot be used. ``problems`` holds every one found."""

    def __init__(self, path: Path, problems: tuple[Problem, ...]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is expected of one customer at one instant: some keys of the decision's JSON."""

    at: datetime
    customer: str
    keys: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Who changes, from which state to which, when the second policy takes the place of the first at an instant."""

    at: datetime
    changes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A story: who, under which policy, and what must come out."""

    title: str
    policy: Policy
    then: Policy | None
    customers: Mapping[str, Account]
    expectations: tuple[Expectation, ...]
    comparisons: tuple[Comparison, ...]


def load(path: Path) -> Scenario:
    """Read one scenario file; :class:`ScenarioInvalid` names every problem."""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as exc:
        raise ScenarioInvalid(path, (Problem(path="", message=f"cannot be read: {exc}"),)) from exc
    problems: list[Problem] = []
    if not isinstance(data, Mapping):
        raise ScenarioInvalid(path, (Problem(path="", message="must be an object."),))
    scenario = _scenario(Table(data, "", problems), path)
    if problems or scenario is None:
        raise ScenarioInvalid(path, tuple(problems))
    return scenario


def _scenario(table: Table, path: Path) -> Scenario | None:
    title = table.read("title", reader.text)
    zone = table.read("timezone", _zone, required=False) or ZoneInfo("UTC")
    table.read("about", reader.text, required=False)
    policy = _policy(table, "access")
    then = _policy(table, "then") if table.has("then") else None
    customers = _customers(table, zone)
    expectations = tuple(_expectations(table, customers))
    comparisons = tuple(_comparisons(table, customers))
    table.finish()
    if not table.problems and not expectations and not comparisons:
        table.problem("expect", "names no expectation; the scenario would always pass.")
    if title is None or policy is None:
        return None
    return Scenario(
        title=title,
        policy=policy,
        then=then,
        customers=customers,
        expectations=expectations,
        comparisons=comparisons,
    )


def _policy(table: Table, key: str) -> Policy | None:
    data = table.read(key, reader.mapping)
    if data is None:
        return None
    try:
        return parse_policy(data, key)
    except PolicyInvalid as exc:
        table.problems += exc.problems
        return None


def _customers(table: Table, zone: ZoneInfo) -> dict[str, Account]:
    found: dict[str, Account] = {}
    for each in _objects(table, "customers"):
        name = each.read("id", reader.text)
        own = each.read("timezone", _zone, required=False) or zone
        listed = each.read("facts", _list, required=False) or []
        each.finish()
        try:
            facts = parse_facts(listed, reader.join(each.path, "facts"))
        except FactsInvalid as exc:
            table.problems += exc.problems
            continue
        if name is not None:
            found[name] = Account(id=name, facts=facts, timezone=own)
    return found


def _expectations(table: Table, customers: Mapping[str, Account]) -> Iterator[Expectation]:
    for each in _objects(table, "expect", required=False):
        at = each.read("at", reader.instant)
        only = next(iter(customers)) if len(customers) == 1 else None
        customer = each.read("customer", reader.text, required=only is None) or only
        keys = {key: _as_json(each.value(key)) for key in _KEYS if each.has(key)}
        each.finish()
        if customer is not None and customer not in customers:
            each.problem("customer", f"{customer!r} is not a customer.", allowed=tuple(customers))
        elif not keys:
            each.problem("state", "is missing: expect at least one key of the decision.", allowed=_KEYS)
        elif at is not None and customer is not None:
            yield Expectation(at=at, customer=customer, keys=keys)


def _comparisons(table: Table, customers: Mapping[str, Account]) -> Iterator[Comparison]:
    for each in _objects(table, "compare", required=False):
        at = each.read("at", reader.instant)
        changes = each.read("changes", reader.mapping)
        each.finish()
        for name in changes or ():
            if name not in customers:
                each.problem("changes", f"{name!r} is not a customer.", allowed=tuple(customers))
        if at is not None and changes is not None:
            yield Comparison(at=at, changes=dict(changes))


def _as_json(value: Any) -> Any:
    """Return a TOML value as the decision's JSON has it; ``"never"`` stands for the null TOML lacks."""
    match value:
        case Mapping():
            return {key: _as_json(each) for key, each in value.items()}
        case list():
            return [_as_json(each) for each in value]
        case datetime() | date():
            return written(value)
        case "never":
            return None
        case _:
            return value


def _objects(table: Table, key: str, *, required: bool = True) -> Iterator[Table]:
    for index, item in enumerate(table.read(key, _list, required=required) or ()):
        path = f"{reader.join(table.path, key)}[{index}]"
        if isinstance(item, Mapping):
            yield Table(item, path, table.problems)
        else:
            table.problems.append(Problem(path=path, message="must be an object."))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("must be a list.")
    return value


def _zone(value: Any) -> ZoneInfo:
    name = reader.text(value)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as exc:
        raise ValueError(f"{name!r} is not a time zone; use an IANA name such as 'Europe/Berlin'.") from exc


_KEYS: Final = (
    "standing",
    "state",
    "access",
    "block_changes",
    "since",
    "unpaid",
    "overdue",
    "unpaid_invoices",
    "oldest_unpaid_on",
    "reasons",
    "next_change_at",
    "next",
    "prevented_by",
    "subscriptions",
)
"""What an expectation may name."""
