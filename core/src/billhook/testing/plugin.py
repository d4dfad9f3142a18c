"""The pytest plugin that comes with ``billhook[testing]``: fixtures for plugin authors.

Loaded by every pytest run in an environment that has it, so it imports next to nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from billhook.clock import VirtualClock
    from billhook.testing.connection import MemoryState

pytest.register_assert_rewrite("billhook.testing.contracts")


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that stands at 2026-08-01 09:00 UTC until it is moved."""
    from billhook.clock import VirtualClock

    return VirtualClock(datetime(2026, 8, 1, 9, 0, tzinfo=UTC))


@pytest.fixture
def memory_state() -> MemoryState:
    """What a connection remembers, for one test."""
    from billhook.testing.connection import MemoryState

    return MemoryState()
