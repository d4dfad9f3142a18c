"""Facts as JSON, in and out: every key as the contract names it, anything else refused with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Final, cast, get_args

from billhook.access import facts as f
from billhook.access import reader
from billhook.access.problem import FactsInvalid, Problem
from billhook.access.reader import Table
from billhook.model import DeclineClass


def parse_facts(data: Sequence[Any], path: str = "facts") -> tuple[f.AccessFact, ...]:
    """Read a list of JSON facts.

    :param path: where the list stands in its document; problems name their place from there.
    :raises FactsInvalid: with every problem of every fact.
    """
    problems: list[Problem] = []
    if not isinstance(data, list | tuple):
        raise FactsInvalid([Problem(path=path, message="must be a list of facts.")])
    read = [_fact(item, f"{path}[{index}]", problems) for index, item in enumerate(data)]
    if problems:
        raise FactsInvalid(problems)
    return tuple(fact for fact in read if fact is not None)


def facts_to_json(facts: Sequence[f.AccessFact]) -> list[dict[str, Any]]:
    """Return facts as JSON that :func:`parse_facts` reads back equal."""
    return [fact_to_json(fact) for fact in facts]


def fact_to_json(fact: f.AccessFact) -> dict[str, Any]:
    """Return one fact as JSON, without the keys that say nothing."""
    written: dict[str, Any] = {"type": type_of(fact), "at": f.written(fact.at)}
    for each in fields(fact):
        value = getattr(fact, each.name)
        if each.name in ("type", "at", "decline_class") or (value is None and each.name != "pays"):
            continue
        if value == () and each.name == "subscriptions":
            continue
        written[each.name] = _value(value)
    if isinstance(fact, f.PaymentChanged) and fact.decline_class is not None:
        written["decline"] = {"code": fact.decline, "class": fact.decline_class.value}
    return written


def type_of(fact: f.AccessFact) -> str:
    """Return the contract's name of the fact, such as ``invoice.finalized``."""
    match fact:
        case f.Delegated():
            return "customer.delegated"
        case f.Started():
            return "subscription.started"
        case f.Canceled():
            return "subscription.canceled"
        case f.Finalized():
            return "invoice.finalized"
        case f.Reversed():
            return "payment.reversed"
        case f.Refunded():
            return "refund.succeeded"
        case _:
            return fact.type


def _value(value: Any) -> Any:
    match value:
        case datetime() | date():
            return f.written(value)
        case f.Span():
            return {"start": f.written(value.start), "end": f.written(value.end)}
        case tuple():
            return list(value)
        case _:
            return value


def _fact(item: Any, path: str, problems: list[Problem]) -> f.AccessFact | None:
    if not isinstance(item, Mapping):
        problems.append(Problem(path=path, message="must be an object."))
        return None
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        near = reader.nearest(kind, FACT_TYPES) if isinstance(kind, str) else None
        message = "is missing." if kind is None else f"{kind!r} is not a known type of fact."
        problems.append(Problem(path=f"{path}.type", message=message, allowed=FACT_TYPES, did_you_mean=near))
        return None
    table = Table(item, path, problems)
    table.has("type")
    before = len(problems)
    shape = _TYPES[kind]
    given: dict[str, Any] = {"at": table.read("at", reader.instant)}
    for key, (read, required) in shape.keys.items():
        value = table.read(key, read, required=required)
        if value is not None or required:
            given[key] = value
    _check_together(kind, table, given)
    table.finish()
    if len(problems) > before:
        return None
    if "type" in {each.name for each in fields(shape.build)}:
        given["type"] = kind
    return cast(f.AccessFact, shape.build(**_split_decline(given)))


def _check_together(kind: str, table: Table, given: dict[str, Any]) -> None:
    if kind == "subscription.canceled" and given.get("mode") == "at" and given.get("ends_at") is None:
        table.problem("ends_at", "is missing: mode 'at' needs it.")


def _split_decline(given: dict[str, Any]) -> dict[str, Any]:
    decline = given.pop("decline", None)
    if decline is not None:
        given["decline"], given["decline_class"] = decline
    return given


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of its values; allowed are {', '.join(allowed)}.")
        return str(value)

    return read


def _payer(value: Any) -> str | None:
    return None if value is None else reader.text(value)


def _decline(value: Any) -> tuple[str | None, DeclineClass | None]:
    """Read a decline code, or ``{"code", "class"}`` where the sender knows what the code means."""
    if not isinstance(value, Mapping):
        return reader.text(value), None
    if not set(value) <= {"code", "class"}:
        raise ValueError("must be a decline code, or an object with 'code' and 'class'.")
    code = value.get("code")
    kind = _one_of(*DeclineClass)(value.get("class"))
    return None if code is None else reader.text(code), DeclineClass(kind)


def _span(value: Any) -> f.Span:
    data = reader.mapping(value)
    if set(data) != {"start", "end"}:
        raise ValueError(
            f"must have exactly the keys 'start' and 'end', not {', '.join(map(repr, data)) or 'none'}."
        )
    return f.Span(start=reader.moment(data["start"]), end=reader.moment(data["end"]))


@dataclass(frozen=True, slots=True)
class _Shape:
    """The keys of one type of fact besides ``at``: how each is read and whether it must be there."""

    build: type[Any]
    keys: Mapping[str, tuple[Callable[[Any], Any], bool]]


_SUBSCRIPTION: Final = {"subscription": (reader.text, True)}
_INVOICE: Final = {"invoice": (reader.text, True)}
_PAYMENT: Final = {"payment": (reader.text, True), "amount": (reader.amount, True)}
_ATTEMPT: Final = {
    "payment": (reader.text, True),
    "invoice": (reader.text, True),
    "amount": (reader.amount, True),
    "currency": (reader.currency, True),
    "decline": (_decline, False),
}
_FINALIZED: Final = {
    "invoice": (reader.text, True),
    "amount": (reader.signed_amount, True),
    "currency": (reader.currency, True),
    "issue_date": (reader.day, True),
    "due_date": (reader.day, True),
    "subscriptions": (reader.texts, False),
    "period": (_span, False),
}

_TYPES: Final[Mapping[str, _Shape]] = {
    **{kind: _Shape(f.TagChanged, {"tag": (reader.text, True)}) for kind in get_args(f.TagType)},
    "customer.delegated": _Shape(f.Delegated, {"pays": (_payer, True)}),
    "subscription.started": _Shape(
        f.Started, {**_SUBSCRIPTION, "plan": (reader.text, True), "trial_ends_at": (reader.moment, False)}
    ),
    "subscription.canceled": _Shape(
        f.Canceled,
        {
            **_SUBSCRIPTION,
            "mode": (_one_of(*get_args(f.CancelMode)), False),
            "ends_at": (reader.moment, False),
        },
    ),
    **{kind: _Shape(f.LifecycleChanged, _SUBSCRIPTION) for kind in get_args(f.LifecycleType)},
    "invoice.finalized": _Shape(f.Finalized, _FINALIZED),
    "invoice.adjusted": _Shape(f.Amended, {**_INVOICE, "amount": (reader.signed_amount, True)}),
    "invoice.credited": _Shape(f.Amended, {**_INVOICE, "amount": (reader.amount, True)}),
    **{kind: _Shape(f.Marked, _INVOICE) for kind in get_args(f.MarkType)},
    **{kind: _Shape(f.PaymentChanged, _ATTEMPT) for kind in get_args(f.PaymentType)},
    "payment.reversed": _Shape(
        f.Reversed, {**_PAYMENT, "cause": (_one_of(*get_args(f.ReversalCause)), True)}
    ),
    "refund.succeeded": _Shape(f.Refunded, {**_PAYMENT, "credited": (reader.flag, True)}),
    **{kind: _Shape(f.Disputed, _PAYMENT) for kind in get_args(f.DisputeType)},
}

FACT_TYPES: Final = tuple(_TYPES)
"""Every type of fact, as the contract names it."""
