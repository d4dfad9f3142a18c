"""What a policy may say and probably does not mean: rules that never match, or stand in the wrong order."""

from __future__ import annotations

from typing import Any, Final

from billhook.access.problem import Problem
from billhook.access.rules import CLEAR, CONDITIONS, Rule, When

_LIFECYCLE: Final = frozenset({"pending", "expired", "trialing", "active", "paused", "canceling", "ended"})


def slips(rules: tuple[Rule, ...], path: str) -> list[Problem]:
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
