"""Stripe's requests: form-encoded, nested by brackets; each endpoint knows its parameters and refuses any other.

A shape is a mapping of parameter names to what they hold: ``str``, ``int``, ``bool``, ``dict`` (metadata), a set of
allowed words, a list of one shape, or another mapping. Empty text unsets, as at Stripe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from .errors import ApiError, Json, invalid

Shape = dict[str, Any]

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_DEEPEST = 6
_MOST_METADATA = 50


def parsed(text: str) -> Json:
    """Read ``a[b]=1&c[]=2`` into nested dictionaries; lists stay dictionaries by position until the shape is known."""
    tree: Json = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        match = _KEY.fullmatch(key)
        if match is None:
            raise invalid(f"Received unknown parameter: {key}", code="parameter_unknown", param=key)
        _put(tree, [match[1], *_PART.findall(match[2])][:_DEEPEST], value)
    return tree


def _put(tree: Json, path: list[str], value: str) -> None:
    *above, last = path
    for part in above:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            raise invalid(f"Invalid parameter: {part}", param=part)
        tree = inner
    tree[last or str(len(tree))] = value


def checked(given: Json, shape: Shape, *, required: Iterable[str] = ()) -> Json:
    """Return the parameters with the types their shape says.

    :raises ApiError: one is unknown (``parameter_unknown``), missing, empty though required, or of another type.
    """
    for name in required:
        if name not in given:
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
        if given[name] == "":
            raise invalid(f"{name} must not be empty.", code="parameter_invalid_empty", param=name)
    return _record(given, shape, "")


def _record(given: Json, shape: Shape, above: str) -> Json:
    out: Json = {}
    for name, value in given.items():
        path = f"{above}[{name}]" if above else name
        if name == "payment_method_types" and not above:
            raise invalid(
                "payment_method_types is no longer supported on this API version.",
                code="payment_method_types_no_longer_supported",
                param=name,
            )
        if name not in shape:
            raise invalid(f"Received unknown parameter: {path}", code="parameter_unknown", param=path)
        out[name] = _value(value, shape[name], path)
    return out


def _value(value: Any, kind: Any, path: str) -> Any:
    if value == "":
        return None
    if isinstance(kind, dict):
        return _record(_nested(value, path), kind, path)
    if isinstance(kind, list):
        return [_value(each, kind[0], path) for each in _nested(value, path).values()]
    if kind is dict:
        return _metadata(_nested(value, path), path)
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {path}", param=path)
    return _scalar(value, kind, path)


def _nested(value: Any, path: str) -> Json:
    if not isinstance(value, dict):
        raise invalid("Invalid object", param=path)
    return value


def _scalar(value: str, kind: Any, path: str) -> Any:
    if kind is int:
        if not re.fullmatch(r"-?[0-9]{1,15}", value):
            raise invalid(f"Invalid integer: {value}", code="parameter_invalid_integer", param=path)
        return int(value)
    if kind is bool:
        if value not in ("true", "false"):
            raise invalid(f"Invalid boolean: {value}", param=path)
        return value == "true"
    if isinstance(kind, frozenset) and value not in kind:
        raise invalid(f"Invalid {path}: must be one of {', '.join(sorted(kind))}", param=path)
    return value


def _metadata(given: Json, path: str) -> Json:
    if len(given) > _MOST_METADATA:
        raise invalid(f"{path} holds more than {_MOST_METADATA} keys", param=path)
    for name, value in given.items():
        if len(name) > 40 or not isinstance(value, str) or len(value) > 500:
            raise invalid("Metadata keys have at most 40 characters, values 500", param=f"{path}[{name}]")
    return dict(given)


def merged(metadata: Json, change: Json | None) -> Json:
    """Return metadata after a change: empty text takes a key away, no change at all clears everything."""
    if change is None:
        return {}
    return {name: value for name, value in (metadata | change).items() if value != ""}


__all__ = ["ApiError", "Json", "Shape", "checked", "merged", "parsed"]
