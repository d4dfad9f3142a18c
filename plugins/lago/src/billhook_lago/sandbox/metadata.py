"""Lago's metadata arrays on customers and invoices: at most five entries, and a write replaces the whole set."""

from __future__ import annotations

from typing import Any

from billhook_lago.sandbox.answers import invalid
from billhook_lago.sandbox.state import Json
from billhook_lago.sandbox.wire import stamp
from billhook_lago.sandbox.world import World

_MOST_ENTRIES = 5
_KEY_LIMIT = 20


def replace_metadata(world: World, current: list[Json], wanted: Any, *, value_limit: int) -> list[Json]:
    """Return the set after a write of ``wanted``; None leaves ``current`` as it is.

    Entries are matched by ``id``. A new entry with the key of an existing one collides even though the old one
    would be deleted by the same write, because Lago creates before it deletes.
    """
    if wanted is None:
        return current
    _check(wanted, value_limit)
    known = {entry["lago_id"]: entry for entry in current}
    taken = {entry["key"] for entry in current}
    result: list[Json] = []
    for entry in wanted:
        old = known.get(entry.get("id"))
        if old is None and entry["key"] in taken:
            raise invalid(key="value_already_exist")
        taken.add(entry["key"])
        result.append(_merged(world, old, entry))
    return result


def _check(wanted: list[Json], value_limit: int) -> None:
    if len(wanted) > _MOST_ENTRIES:
        raise invalid(metadata="invalid_count")
    for entry in wanted:
        if not entry.get("key"):
            raise invalid(key="value_is_mandatory")
        if len(str(entry["key"])) > _KEY_LIMIT:
            raise invalid(key="value_is_too_long")
        if len(str(entry.get("value") or "")) > value_limit:
            raise invalid(value="value_is_too_long")


def _merged(world: World, old: Json | None, entry: Json) -> Json:
    identity = {"lago_id": world.ledger.new_id(), "created_at": stamp(world.now())} if old is None else old
    return {
        "lago_id": identity["lago_id"],
        "key": entry["key"],
        "value": entry.get("value"),
        "display_in_invoice": bool(entry.get("display_in_invoice")),
        "created_at": identity["created_at"],
    }
