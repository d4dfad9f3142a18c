"""Hypothesis strategies for facts: for properties that must hold whatever a provider says, in whatever order."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from billhook.events import Event
from billhook.money import Money

CURRENCIES = ("EUR", "USD", "JPY", "KWD")
"""Two, none and three decimal places."""


def instants() -> st.SearchStrategy[datetime]:
    """Aware instants in UTC, from 2000 to 2100."""
    earliest, latest = datetime(2000, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001 - Hypothesis wants naive bounds
    return st.datetimes(min_value=earliest, max_value=latest, timezones=st.just(UTC))


def money(*currencies: str) -> st.SearchStrategy[Money]:
    """Amounts from zero up, in one of ``currencies``."""
    return st.builds(Money, st.integers(0, 10**9), st.sampled_from(currencies or CURRENCIES))


def events(*kinds: type[Event], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    """Dated facts of ``kinds`` (none given: of all), every field of its type.

    :param fixed: strategies for fields by name, used where a fact has that field: ``ref=st.just(ref)``.
    """
    return st.one_of([_facts(kind, fixed) for kind in kinds or get_args(Event)])


def _facts(kind: Any, fixed: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Event]:
    names = {each.name for each in fields(kind)}
    chosen = {name: strategy for name, strategy in fixed.items() if name in names}
    return st.builds(kind, **{"at": instants(), **_of_fields(kind), **chosen})


@cache
def _of_fields(kind: type[Any]) -> dict[str, st.SearchStrategy[Any]]:
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind) if each.name not in ("at", "type")]
    return {name: _currency() if name == "currency" else _of(hints[name]) for name in names}


def _currency() -> st.SearchStrategy[str]:
    return st.sampled_from(CURRENCIES)


def _of(hint: Any) -> st.SearchStrategy[Any]:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([_of(part) for part in parts])
    if origin is Literal:
        return st.sampled_from(parts)
    if origin is tuple:
        return st.lists(_of(parts[0]), max_size=3).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(_of(parts[0]), _of(parts[1]), max_size=3)
    return _of_class(hint)


def _of_class(kind: type) -> st.SearchStrategy[Any]:
    if kind is Money:
        return money()
    if is_dataclass(kind):
        built: Any = kind
        return st.builds(built, **_of_fields(built))
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    simple: dict[type, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        bool: st.booleans(),
        int: st.integers(0, 10**9),
        str: st.text(max_size=20),
        datetime: instants(),
        date: st.dates(),
    }
    return simple[kind]
