"""What the suites ask of a fact, whoever states it."""

from __future__ import annotations

import pytest

from billhook.events import Event, dated, from_json, to_json
from billhook.testing.connection import START


def check_storable(fact: Event, *, connection: str, where: str) -> None:
    """Fail unless the fact speaks of the connection's own things and can be stored and read again."""
    assert fact.ref.connection == connection, f"{where}: {fact.ref} does not carry the connection's name"
    kept = dated(fact, heard_at=START)
    try:
        again = from_json(to_json(kept))
    except ValueError as exc:
        pytest.fail(f"{where}: {fact.type} holds a value of a wrong type: {exc}")
    assert again == kept, f"{where}: {fact.type} is another fact when it is read again"
