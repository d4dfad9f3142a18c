"""Facts as the inbox keeps them beside a delivery's body, or instead of it: one JSON array.

A fact stands there as it is. One that something was taken out of stands with the key of the original:
``{"fact": …, "key": …}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from billhook.events import fact_key, from_json, to_json
from billhook_web.stores.ledger import Statement


def write(statements: Iterable[Statement]) -> str:
    """Write statements for the inbox."""
    return "[" + ",".join(_written(each) for each in statements) + "]"


def read(text: str | None, *, heard_at: datetime) -> list[Statement]:
    """Read what :func:`write` wrote; a fact without a time was heard at ``heard_at``. None: nothing was told."""
    return [_read(each, heard_at) for each in json.loads(text or "[]")]


def merge(*told: Iterable[Statement]) -> list[Statement]:
    """Put statements together, each once; of two with one key the first stays."""
    found: dict[str, Statement] = {}
    for each in (statement for statements in told for statement in statements):
        found.setdefault(each.key, each)
    return list(found.values())


def _written(statement: Statement) -> str:
    fact = to_json(statement.fact)
    return fact if fact_key(statement.fact) == statement.key else f'{{"fact":{fact},"key":"{statement.key}"}}'


def _read(plain: dict[str, Any], heard_at: datetime) -> Statement:
    if "key" in plain:
        return Statement(fact=from_json(json.dumps(plain["fact"])), key=plain["key"])
    return Statement.of(from_json(json.dumps(plain)), heard_at=heard_at)
