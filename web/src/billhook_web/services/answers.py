"""What plugins return, checked once where it comes in: nothing of another type gets further, and the reason is plain.

The facts themselves are checked field by field when they are written (:func:`billhook.events.to_json`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar, cast, get_args

from billhook.events import Event, Refetch
from billhook.model import Decline, Ref
from billhook.provider import Collected, CollectState, Delivery, Recorded

T = TypeVar("T")

KEY_LENGTH = 255  # what the column of delivery keys holds
_FACTS: tuple[type, ...] = get_args(Event)


class Nonsense(TypeError):
    """A plugin returned what its contract does not allow."""


def delivery(value: object) -> Delivery:
    """Return what ``verify`` gave."""
    checked = _is(value, Delivery, "verify")
    if not _text(checked.key) or not 0 < len(checked.key) <= KEY_LENGTH:
        raise Nonsense(f"verify gave a delivery whose key is no text of 1 to {KEY_LENGTH} characters")
    if checked.content_key is not None and not (
        _text(checked.content_key) and len(checked.content_key) <= KEY_LENGTH
    ):
        raise Nonsense(f"verify gave a content_key that is no text of at most {KEY_LENGTH} characters")
    if not _text(checked.type):
        raise Nonsense("verify gave a delivery whose type is no text")
    return checked


def understood(value: object) -> tuple[Event | Refetch, ...]:
    """Return what ``parse`` gave."""
    return tuple(
        part if isinstance(part, Refetch) else _fact(part, "parse") for part in _each(value, "parse")
    )


def facts(value: object, hook: str) -> tuple[Event, ...]:
    """Return the facts that ``hook`` gave."""
    return tuple(_fact(part, hook) for part in _each(value, hook))


def collected(value: object, connection: str, hook: str = "collect") -> Collected:
    """Return what ``collect`` gave; a payment it names must be of its own connection."""
    checked = _is(value, Collected, hook)
    _is(checked.state, CollectState, f"{hook}, as state,")
    _is(checked.by, str, f"{hook}, as by,")
    for name, kind in _MAYBE.items():
        given = getattr(checked, name)
        if given is not None:
            _is(given, kind, f"{hook}, as {name},")
    if checked.expires_at is not None and checked.expires_at.tzinfo is None:
        raise Nonsense(f"{hook}, as expires_at, gave a time without a zone")
    if checked.payment is not None:
        ref(checked.payment, connection, f"{hook}, as payment,")
    return checked


def found(value: object, connection: str) -> Collected | None:
    """Return what ``find_collected`` gave."""
    return None if value is None else collected(value, connection, "find_collected")


def ref(value: object, connection: str, hook: str) -> Ref:
    """Return the ref that ``hook`` gave, which must be of its own connection."""
    checked = _is(value, Ref, hook)
    if checked.connection != connection or not _text(checked.id) or not checked.id:
        raise Nonsense(f"{hook} gave a ref that is none of connection {connection}")
    return checked


def recorded(value: object, hook: str) -> Recorded:
    """Return what a billing engine said of something it was told."""
    checked = _is(value, Recorded, hook)
    if checked.ref is not None:
        _is(checked.ref, Ref, f"{hook}, as ref,")
    if checked.note is not None:
        _is(checked.note, str, f"{hook}, as note,")
    facts(checked.facts, hook)
    return checked


def flag(value: object, hook: str) -> bool:
    """Return the yes or no that ``hook`` gave."""
    return _is(value, bool, hook)


_MAYBE: dict[str, type] = {
    "session": str,
    "url": str,
    "expires_at": datetime,
    "payment": Ref,
    "decline": Decline,
    "note": str,
}


def _is(value: object, kind: type[T], hook: str) -> T:
    if not isinstance(value, kind):
        raise Nonsense(f"{hook} gave {type(value).__name__}, not {kind.__name__}")
    return value


def _each(value: object, hook: str) -> Iterable[object]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise Nonsense(f"{hook} gave {type(value).__name__}, not a list of facts")
    return value


def _fact(value: object, hook: str) -> Event:
    if not isinstance(value, _FACTS):
        raise Nonsense(f"{hook} gave a list with {type(value).__name__}, which is no fact")
    return cast(Event, value)


def _text(value: object) -> bool:
    return isinstance(value, str)
