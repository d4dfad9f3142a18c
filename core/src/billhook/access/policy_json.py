"""The access policy as JSON or TOML: checked whole when read, written back in one canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, cast, get_args

from billhook.access import reader
from billhook.access.problem import PolicyInvalid, Problem
from billhook.access.reader import Table, join
from billhook.access.rules import (
    CLEAR,
    CONDITIONS,
    Access,
    ActivateOn,
    AgeFrom,
    CancelEffect,
    DisputeEffect,
    DisputeStage,
    OnCancel,
    Policy,
    Rollup,
    Rule,
    When,
)
from billhook.access.slip import slips

LONGEST_DAYS: Final = 36_500
MOST_RULES: Final = 100


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
        warnings=tuple(slips(rules, join(path, "rules"))),
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
