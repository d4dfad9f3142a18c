"""Bodies that no provider sends, and that a source must survive."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from billhook.model import Ref

HOSTILE_BODIES = {
    "empty": b"",
    "half": b'{"type": "pay',
    "null": b"null",
    "number": b"1",
    "endless number": b"1" * 10_000,
    "text": b'"text"',
    "array": b"[]",
    "array of objects": b'[{"type": "x"}]',
    "no utf-8": b"\xff\xfe\x00",
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
}

OTHER_VALUES: tuple[object, ...] = (
    None,
    [],
    {},
    "",
    "text",
    "1e999",
    -1,
    10**40,
    1.5,
    True,
    [None],
    {"id": None},
)
"""What a field is replaced by to see that a body is not trusted."""


def damaged(body: bytes) -> Iterator[bytes]:
    """Change one byte after the other, then cut and lengthen."""
    step = max(1, len(body) // 500)  # of a long body every so many
    for at in range(0, len(body), step):
        yield body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    yield from (body[:-1], body[1:], body[: len(body) // 2], body + b" ", body + b"\n", body + body)


def variants(body: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Take each field of the two upper levels away, and put something else in its place."""
    for name, value in body.items():
        yield from ((what, dumped(changed)) for what, changed in _changed(body, name))
        if not isinstance(value, dict):
            continue
        for inner in value:
            for what, changed in _changed(value, inner):
                yield f"{name}.{what}", dumped({**body, name: changed})


def _changed(mapping: Mapping[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"{name} missing", {other: value for other, value in mapping.items() if other != name}
    for value in OTHER_VALUES:
        yield f"{name} = {value!r}", {**mapping, name: value}


def dumped(body: object) -> bytes:
    """Write JSON."""
    return json.dumps(body, ensure_ascii=False).encode()


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Walk through a fact: every value with where it stands."""
    if isinstance(value, Ref) or not is_dataclass(value):
        yield path, value
        return
    for each in fields(value):
        yield from leaves(getattr(value, each.name), f"{path}.{each.name}".lstrip("."))
