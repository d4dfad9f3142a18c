"""The access policy as data: read from TOML or JSON, checked whole, written back in one canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Literal, cast, get_args

from billhook.access import reader
from billhook.access.problem import PolicyInvalid, Problem
from billhook.access.reader import Table, join
from billhook.model import DeclineClass

CLEAR: Final = "clear"
"""The standing of a customer no rule matches."""

LONGEST_DAYS: Final = 36_500
MOST_RULES: Final = 100

AgeFrom = Literal["due_date", "issue_date"]
ActivateOn = Literal["subscription_started", "payment_confirmed"]
OnCancel = Literal["paid_through", "immediate"]
Rollup = Literal["worst", "per_subscription"]
DisputeEffect = Literal["ignore", "unpaid"]
DisputeStage = Literal["opened", "lost"]
CancelEffect = Literal["none", "immediate", "end_of_term"]


class Access(StrEnum):
    """How much of the product may be used."""

    FULL = "full"
    LIMITED = "limited"
    NONE = "none"

    @property
    def rank(self) -> int:
        """Return 0 for none, 1 for limited, 2 for full."""
        return _RANKS[self]


_RANKS: Final = {Access.NONE: 0, Access.LIMITED: 1, Access.FULL: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The conditions of a rule, all "equals or exceeds" and ANDed. None: not asked.

    Days are whole days in the account's time zone; amounts are minor units by currency.
    """

    overdue_days: int | None = None
    unpaid_days: int | None = None
    overdue_balance: tuple[tuple[str, int], ...] | None = None
    unpaid_balance: tuple[tuple[str, int], ...] | None = None
    unpaid_invoices: int | None = None
    payment_failed_days: int | None = None
    last_failure: tuple[str, ...] | None = None
    dispute: DisputeStage | None = None
    has_tag: str | None = None
    lacks_tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Gives the standing ``state`` when all its conditions hold. ``cancel`` is what happens to subscriptions then."""

    state: str
    when: When
    access: Access = Access.FULL
    block_changes: bool = False
    cancel: CancelEffect = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a customer's facts mean for access. Rules are read in order, most severe first; the first match counts.

    ``activation_timeout`` None: a pending subscription waits for ever. ``debit_counts_as_paid_for`` None: a debit
    in flight counts as unpaid. ``warnings`` are about how it was written and take no part in equality.
    """

    rules: tuple[Rule, ...] = ()
    age_from: AgeFrom = "due_date"
    activate_on: ActivateOn = "subscription_started"
    activation_timeout: timedelta | None = None
    debit_counts_as_paid_for: timedelta | None = None
    on_cancel: OnCancel = "paid_through"
    rollup: Rollup = "worst"
    prepaid_survives: bool = False
    dispute_opened: DisputeEffect = "ignore"
    dispute_lost: DisputeEffect = "unpaid"
    warnings: tuple[Problem, ...] = field(default=(), compare=False)


def parse_policy(data: Mapping[str, Any], path: str = "") -> Policy:
    """Read the ``[access]`` table.

    :param path: where it stands in its document; problems name their place from there.
    :raises PolicyInvalid: with every problem at once.
    """
    problems: list[Problem] = []
    if not isinstance(data, Mapping):
        raise PolicyInvalid([Problem(path=path or "policy", message="must be an object.")])
    table = Table(data, path, problems)
    rules = _rules(table)
    policy = Policy(
        rules=rules,
        age_from=cast(AgeFrom, table.choice("age_from", get_args(AgeFrom), "due_date")),
        activate_on=cast(
            ActivateOn, table.choice("activate_on", get_args(ActivateOn), "subscription_started")
        ),
        activation_timeout=table.read("activation_timeout", reader.duration, required=False),
        debit_counts_as_paid_for=_debit(table),
        on_cancel=cast(OnCancel, table.choice("on_cancel", get_args(OnCancel), "paid_through")),
        rollup=cast(Rollup, table.choice("rollup", get_args(Rollup), "worst")),
        prepaid_survives=table.read("prepaid_survives", reader.flag, required=False) or False,
        dispute_opened=cast(DisputeEffect, table.choice("dispute_opened", get_args(DisputeEffect), "ignore")),
        dispute_lost=cast(DisputeEffect, table.choice("dispute_lost", get_args(DisputeEffect), "unpaid")),
        warnings=tuple(_warnings(rules, join(path, "rules"))),
    )
    table.finish()
    if problems:
        raise PolicyInvalid(problems)
    return policy


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """Return the canonical JSON: every setting written out, keys in a fixed order."""
    written: dict[str, Any] = {"age_from": policy.age_from, "activate_on": policy.activate_on}
    if policy.activation_timeout is not None:
        written["activation_timeout"] = _iso(policy.activation_timeout)
    if policy.debit_counts_as_paid_for is not None:
        written["debit_in_flight"] = {"counts_as_paid_for": _iso(policy.debit_counts_as_paid_for)}
    written |= {
        "on_cancel": policy.on_cancel,
        "rollup": policy.rollup,
        "prepaid_survives": policy.prepaid_survives,
        "dispute_opened": policy.dispute_opened,
        "dispute_lost": policy.dispute_lost,
        "rules": [_rule_json(rule) for rule in policy.rules],
    }
    return written


def conditions(when: When) -> dict[str, Any]:
    """Return the conditions that are asked, by name, as JSON values."""
    asked = {name: getattr(when, name) for name in CONDITIONS if getattr(when, name) is not None}
    return {name: _condition_json(name, value) for name, value in asked.items()}


CONDITIONS: Final = (
    "overdue_days",
    "unpaid_days",
    "overdue_balance",
    "unpaid_balance",
    "unpaid_invoices",
    "payment_failed_days",
    "last_failure",
    "dispute",
    "has_tag",
    "lacks_tag",
)
"""The names of all conditions, in the order in which they are explained."""


def _condition_json(name: str, value: Any) -> Any:
    if name.endswith("_balance"):
        return dict(value)
    return list(value) if name == "last_failure" else value


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {
        "state": rule.state,
        "when": conditions(rule.when),
        "access": rule.access.value,
        "block_changes": rule.block_changes,
        "cancel": rule.cancel,
    }


def _rules(table: Table) -> tuple[Rule, ...]:
    if not table.has("rules"):
        return ()
    listed = table.read("rules", _list)
    if listed is None:
        return ()
    path = join(table.path, "rules")
    return tuple(_rule(item, f"{path}[{index}]", table.problems) for index, item in enumerate(listed))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) > MOST_RULES:
        raise ValueError(f"must be a list of at most {MOST_RULES} rules.")
    return list(value)


def _rule(item: Any, path: str, problems: list[Problem]) -> Rule:
    if not isinstance(item, Mapping):
        problems.append(Problem(path=path, message="must be an object."))
        return Rule(state=CLEAR, when=When())
    table = Table(item, path, problems)
    rule = Rule(
        state=table.read("state", reader.text) or CLEAR,
        when=_when(table),
        access=Access(table.choice("access", tuple(Access), Access.FULL)),
        block_changes=table.read("block_changes", reader.flag, required=False) or False,
        cancel=cast(CancelEffect, table.choice("cancel", get_args(CancelEffect), "none")),
    )
    if rule.state == CLEAR and (
        rule.access is not Access.FULL or rule.block_changes or rule.cancel != "none"
    ):
        table.problem("state", "'clear' means nothing is wrong: such a rule cannot take anything away.")
    table.finish()
    return rule


def _when(rule: Table) -> When:
    data = rule.read("when", reader.mapping)
    if data is None:
        return When()
    path = join(rule.path, "when")
    if not data:
        rule.problem("when", "names no condition; a rule without one would match always.", allowed=CONDITIONS)
    table = Table(data, path, rule.problems)
    days = reader.whole(0, LONGEST_DAYS)
    when = When(
        overdue_days=table.read("overdue_days", days, required=False),
        unpaid_days=table.read("unpaid_days", days, required=False),
        overdue_balance=_balance(table, "overdue_balance"),
        unpaid_balance=_balance(table, "unpaid_balance"),
        unpaid_invoices=table.read("unpaid_invoices", reader.whole(1, 1_000_000), required=False),
        payment_failed_days=table.read("payment_failed_days", days, required=False),
        last_failure=table.read("last_failure", _failures, required=False),
        dispute=_stage(table),
        has_tag=table.read("has_tag", reader.text, required=False),
        lacks_tag=table.read("lacks_tag", reader.text, required=False),
    )
    table.finish()
    if data and all(value is None for value in data.values()):
        rule.problem("when", "names no condition; a rule without one would match always.", allowed=CONDITIONS)
    return when


def _stage(table: Table) -> DisputeStage | None:
    if not table.has("dispute"):
        return None
    return cast(DisputeStage, table.choice("dispute", get_args(DisputeStage), "lost"))


def _failures(value: Any) -> tuple[str, ...]:
    listed = reader.texts(value)
    if not listed:
        raise ValueError("must name at least one decline code or class (hard, soft, authentication).")
    return tuple(dict.fromkeys(listed))


def _balance(table: Table, key: str) -> tuple[tuple[str, int], ...] | None:
    data = table.read(key, reader.mapping, required=False)
    if data is None:
        return None
    if not data:
        table.problem(key, "names no currency; write for instance {EUR = 10000}.")
    inner = Table(data, join(table.path, key), table.problems)
    limit = reader.whole(1, reader.LARGEST_AMOUNT)
    found: dict[str, int] = {}
    for code in data:
        value = inner.read(str(code), limit)
        try:
            reader.currency(code)
        except ValueError as exc:
            inner.problem(str(code), str(exc))
            continue
        if value is not None:
            found[code] = value
    return tuple(sorted(found.items()))


def _debit(table: Table) -> timedelta | None:
    data = table.read("debit_in_flight", reader.mapping, required=False)
    if data is None:
        return None
    inner = Table(data, join(table.path, "debit_in_flight"), table.problems)
    counts = inner.read("counts_as_paid_for", reader.duration)
    inner.finish()
    return counts


def _iso(span: timedelta) -> str:
    """Return the shortest ISO 8601 duration :func:`billhook.dunning.parse_duration` reads back."""
    hours, rest = divmod(span.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    clock = "".join(
        f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if number
    )
    days = f"{span.days}D" if span.days else ""
    return f"P{days}T{clock}" if clock else f"P{days or '0D'}"


_LIFECYCLE: Final = frozenset({"pending", "expired", "trialing", "active", "paused", "canceling", "ended"})
_CLASSES: Final = frozenset(DeclineClass)


def _warnings(rules: tuple[Rule, ...], path: str) -> list[Problem]:
    """Return what is allowed and still looks like a slip: a rule that can never match, or is out of order."""
    found = []
    for index, rule in enumerate(rules):
        where = f"{path}[{index}]"
        earlier = next((k for k in range(index) if _implies(rule.when, rules[k].when)), None)
        if earlier is not None:
            found.append(
                Problem(
                    path=where,
                    message=f"can never match: whenever it would, {path}[{earlier}] matches first.",
                )
            )
        elif _contradicts(rule.when):
            found.append(
                Problem(path=where, message="can never match: it asks for a tag and for its absence.")
            )
        if any(rule.access.rank < before.access.rank for before in rules[:index] if before.state != CLEAR):
            found.append(
                Problem(
                    path=where,
                    message="gives less access than a rule before it; write the most severe first.",
                )
            )
        if rule.state in _LIFECYCLE:
            found.append(
                Problem(path=f"{where}.state", message=f"{rule.state!r} is also a state of a subscription.")
            )
    return found


def _contradicts(when: When) -> bool:
    return when.has_tag is not None and when.has_tag == when.lacks_tag


def _implies(narrow: When, wide: When) -> bool:
    """Whether everything that satisfies ``narrow`` satisfies ``wide``."""
    return all(_condition_implies(name, narrow, getattr(wide, name)) for name in CONDITIONS)


def _condition_implies(name: str, narrow: When, limit: Any) -> bool:
    if limit is None:
        return True
    value = getattr(narrow, name)
    if value is None:
        return False
    match name:
        case "overdue_balance" | "unpaid_balance":
            limits = dict(limit)
            return all(code in limits and reached >= limits[code] for code, reached in value)
        case "last_failure":
            return set(value) <= set(limit)
        case "dispute" | "has_tag" | "lacks_tag":
            return bool(value == limit)
        case _:
            return bool(value >= limit)
