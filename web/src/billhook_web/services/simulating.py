"""What a policy would decide about facts somebody made up: nothing is stored, and nothing stored is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from billhook.access import (
    AccessFact,
    Account,
    Decision,
    FactsInvalid,
    Policy,
    PolicyInvalid,
    Problem,
    decide_many,
    parse_facts,
    parse_policy,
    reader,
)
from billhook.access.facts import Delegated, Finalized
from billhook.access.reader import Table
from billhook.errors import BillhookError

MOST_FACTS: Final = 10_000
"""Facts in one simulation, of all its customers together."""

MOST_INSTANTS: Final = 1_000
"""Instants asked in one simulation."""

MOST_DECISIONS: Final = 50_000
"""Decisions one simulation may answer: customers times instants."""


class TooMuch(BillhookError):
    """More is asked at once than is answered. ``limit`` is how much would be; ``of`` says of what."""

    def __init__(self, *, limit: int, of: str, asked: int) -> None:
        self.limit = limit
        self.of = of
        super().__init__(
            f"At most {limit:,} {of} are taken in one call; these are {asked:,}. Make several calls."
        )


class SimulationInvalid(BillhookError):
    """A simulation cannot be run. ``problems`` holds every one, not the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A policy, the customers it is tried on, and the instants that are asked."""

    policy: Policy
    customers: tuple[Account, ...]
    at: tuple[datetime, ...]
    warnings: tuple[Problem, ...] = ()

    def decisions(self) -> Iterator[Decision]:
        """Yield the decisions: customer by customer, each at every instant in the order asked."""
        payers = {account.id: account for account in self.customers}
        for account in self.customers:
            yield from decide_many(account, self.policy, self.at, payers=payers)


def read_simulation(data: Mapping[str, Any]) -> Simulation:
    """Read ``{policy, timezone?, customers, at}``.

    :raises SimulationInvalid: with every problem of policy, facts and instants at once, each with its place.
    :raises TooMuch: it is over a limit.
    """
    _check_size(data)
    table = Table(data, "", [])
    policy = read_policy(table, "policy")
    zone = table.read("timezone", read_zone, required=False) or ZoneInfo("UTC")
    customers = tuple(_customers(table, zone))
    at = read_instants(table, "at")
    table.finish()
    if table.problems or policy is None:
        raise SimulationInvalid(table.problems)
    warnings = (
        *policy.warnings,
        *unseen_currencies(policy, currencies_of(customers)),
        *_strangers(customers),
    )
    return Simulation(policy=policy, customers=customers, at=at, warnings=warnings)


def read_policy(table: Table, key: str, *, required: bool = True) -> Policy | None:
    """Read a policy inside a document; None: it is absent or wrong, and then its problems are in ``table``."""
    data = table.read(key, reader.mapping, required=required)
    if data is None:
        return None
    try:
        return parse_policy(data, reader.join(table.path, key))
    except PolicyInvalid as exc:
        table.problems += exc.problems
        return None


def read_facts(table: Table, key: str) -> tuple[AccessFact, ...]:
    """Read a list of facts inside a document; what is wrong with them is in ``table`` then."""
    listed = table.read(key, _list)
    try:
        return parse_facts(listed or (), reader.join(table.path, key))
    except FactsInvalid as exc:
        table.problems += exc.problems
        return ()


def read_instants(table: Table, key: str) -> tuple[datetime, ...]:
    """Read a list of instants inside a document; what is wrong with them is in ``table`` then."""
    found = []
    for index, item in enumerate(table.read(key, _list) or ()):
        try:
            found.append(reader.instant(item))
        except ValueError as exc:
            table.problems.append(Problem(path=f"{reader.join(table.path, key)}[{index}]", message=str(exc)))
    return tuple(found)


def read_zone(value: Any) -> ZoneInfo:
    """Return a time zone; ValueError when there is none of that name."""
    name = reader.text(value)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as exc:
        raise ValueError(f"{name!r} is not a time zone; use an IANA name such as 'Europe/Berlin'.") from exc


def unseen_currencies(policy: Policy, seen: Iterable[str], path: str = "policy") -> tuple[Problem, ...]:
    """Return a warning for each limit in a currency in which nothing was ever invoiced: it cannot be reached."""
    known = tuple(sorted(set(seen)))
    return tuple(
        Problem(
            path=f"{reader.join(path, 'rules')}[{index}].when.{name}.{code}",
            message="no invoice is in this currency, so the limit is never reached.",
            allowed=known,
        )
        for index, rule in enumerate(policy.rules)
        for name in ("overdue_balance", "unpaid_balance")
        for code, _ in getattr(rule.when, name) or ()
        if code not in known
    )


def currencies_of(accounts: Iterable[Account]) -> set[str]:
    """Return the currencies that were invoiced in."""
    return {fact.currency for account in accounts for fact in account.facts if isinstance(fact, Finalized)}


def _strangers(accounts: tuple[Account, ...]) -> Iterator[Problem]:
    """Warn of who is to pay and is not in the call: the customer is judged by their own debts then."""
    known = {account.id for account in accounts}
    for index, account in enumerate(accounts):
        for place, fact in enumerate(account.facts):
            if isinstance(fact, Delegated) and fact.pays is not None and fact.pays not in known:
                yield Problem(
                    path=f"customers[{index}].facts[{place}].pays",
                    message=f"{fact.pays!r} is no customer of this call, so this one is judged by its own debts.",
                    allowed=tuple(sorted(known)[:20]),
                )


def _check_size(data: Mapping[str, Any]) -> None:
    customers, at = _length(data.get("customers")), _length(data.get("at"))
    listed = data.get("customers") if customers else []
    facts = sum(_length(each.get("facts")) for each in listed or () if isinstance(each, Mapping))
    for asked, limit, of in (
        (facts, MOST_FACTS, "facts"),
        (at, MOST_INSTANTS, "instants"),
        (customers, MOST_FACTS, "customers"),
        (customers * at, MOST_DECISIONS, "decisions (customers times instants)"),
    ):
        if asked > limit:
            raise TooMuch(limit=limit, of=of, asked=asked)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _customers(table: Table, zone: ZoneInfo) -> Iterator[Account]:
    found: Counter[str] = Counter()
    for index, item in enumerate(table.read("customers", _list) or ()):
        path = f"{reader.join(table.path, 'customers')}[{index}]"
        if not isinstance(item, Mapping):
            table.problems.append(Problem(path=path, message="must be an object."))
            continue
        each = Table(item, path, table.problems)
        name = each.read("id", reader.text)
        own = each.read("timezone", read_zone, required=False) or zone
        facts = read_facts(each, "facts")
        each.finish()
        if name is not None:
            found[name] += 1
            if found[name] > 1:
                each.problem("id", f"{name!r} is the id of another customer of this call.")
            yield Account(id=name, facts=facts, timezone=own)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("must be a list.")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Facts that are not there yet, the instants that are asked, and another policy; None: that which counts."""

    facts: tuple[AccessFact, ...]
    at: tuple[datetime, ...]
    policy: Policy | None
    warnings: tuple[Problem, ...] = ()


def read_what_if(data: Mapping[str, Any]) -> WhatIf:
    """Read ``{facts, policy?, at}``; raises as :func:`read_simulation`."""
    for key, limit, of in (("facts", MOST_FACTS, "facts"), ("at", MOST_INSTANTS, "instants")):
        if _length(data.get(key)) > limit:
            raise TooMuch(limit=limit, of=of, asked=_length(data.get(key)))
    table = Table(data, "", [])
    facts = read_facts(table, "facts")
    policy = read_policy(table, "policy", required=False)
    at = read_instants(table, "at")
    table.finish()
    if table.problems:
        raise SimulationInvalid(table.problems)
    return WhatIf(facts=facts, at=at, policy=policy, warnings=policy.warnings if policy else ())
