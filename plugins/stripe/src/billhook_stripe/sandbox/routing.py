"""What a route is, and what all of them share: lists with cursors, expansion, who may call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from .errors import Json, invalid
from .events import Hooks
from .forms import Shape
from .world import World, newest_first

EXPAND: Final[Shape] = {"expand": [str]}
CREATED: Final[Shape] = {"created": {"gt": int, "gte": int, "lt": int, "lte": int}}
PAGING: Final[Shape] = EXPAND | {"limit": int, "starting_after": str, "ending_before": str}
MOST: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One API request as it arrived. ``params`` are nested, before any check; header names are lower-case."""

    method: str
    path: str
    params: Json
    headers: Mapping[str, str]
    at: datetime

    @property
    def key(self) -> str | None:
        """Return its idempotency key."""
        return self.headers.get("idempotency-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One API call after its checks. ``public``: made with a publishable key, by a customer's browser."""

    world: World
    hooks: Hooks
    args: Mapping[str, str]
    params: Json
    public: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. ``public``: a publishable key will do, given the object's client secret where it has one."""

    method: str
    path: str
    handler: Callable[[Call], Json]
    shape: Shape = field(default_factory=dict, hash=False)
    required: tuple[str, ...] = ()
    public: bool = False


def page(call: Call, things: Iterable[Json], *, url: str) -> Json:
    """Return one page of a list, newest first, within the limits of ``created`` where the call has any."""
    limit = call.params.get("limit", 10)
    if not 1 <= limit <= MOST:
        raise invalid(f"Limit must be between 1 and {MOST}", param="limit")
    rows = [each for each in newest_first(things) if _in_range(each, call.params.get("created") or {})]
    after, before = call.params.get("starting_after"), call.params.get("ending_before")
    if after is not None:
        rows = rows[_place(rows, after) + 1 :]
    elif before is not None:
        rows = rows[: _place(rows, before)][-limit:]
    shown, expand = rows[:limit], [path.removeprefix("data.") for path in call.params.get("expand") or []]
    data = [expanded(call.world, each, expand) for each in shown]
    return {"object": "list", "data": data, "has_more": len(rows) > limit, "url": url}


def _place(rows: list[Json], ref: str) -> int:
    for at, each in enumerate(rows):
        if each["id"] == ref:
            return at
    raise invalid(f"No such object: '{ref}'", code="resource_missing", param="starting_after")


def _in_range(thing: Json, limits: Mapping[str, int]) -> bool:
    at = thing["created"]
    compare: dict[str, Callable[[int], bool]] = {
        "gt": lambda limit: at > limit,
        "gte": lambda limit: at >= limit,
        "lt": lambda limit: at < limit,
        "lte": lambda limit: at <= limit,
    }
    return all(compare[name](limit) for name, limit in limits.items())


def shown(call: Call, thing: Json) -> Json:
    """Return an object as the answer shows it, with what the call asks to expand."""
    return expanded(call.world, thing, call.params.get("expand") or [])


def expanded(world: World, thing: Json, paths: Iterable[str]) -> Json:
    """Return a copy of an object in which the ids at these paths are the objects themselves."""
    out = copy.deepcopy(thing)
    for path in paths:
        _expand(world, out, path.split("."))
    return out


def _expand(world: World, holder: Any, path: list[str]) -> None:
    name, *rest = path
    if not isinstance(holder, dict) or name not in holder:
        raise invalid(f"This property cannot be expanded ({name}).", param="expand")
    if isinstance(holder[name], str):
        holder[name] = copy.deepcopy(_by_id(world, holder[name]))
    if rest and holder[name] is not None:
        _expand(world, holder[name], rest)


def _by_id(world: World, ref: str) -> Json:
    tables: dict[str, dict[str, Json]] = {
        "cus": world.customers,
        "pm": world.methods,
        "pi": world.intents,
        "seti": world.setups,
        "ch": world.charges,
        "re": world.refunds,
        "dp": world.disputes,
        "mandate": world.mandates,
        "clock": world.clocks,
    }
    found = tables.get(ref.partition("_")[0], {}).get(ref)
    if found is None:
        raise invalid(f"This property cannot be expanded ({ref}).", param="expand")
    return found


def keeps(call: Call, thing: Json, *names: str) -> bool:
    """Say whether a row passes the call's equality filters."""
    return all(call.params.get(name) in (None, thing.get(name)) for name in names)
