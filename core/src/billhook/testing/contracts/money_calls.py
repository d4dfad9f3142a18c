"""What the suites ask of a wire."""

from __future__ import annotations

from collections.abc import Sequence

from billhook.errors import OutcomeUnknown, Temporary
from billhook.testing.wire import WireCall

NOTHING_DONE = (OutcomeUnknown, Temporary)
"""How a call may end that failed in a way nobody can tell from having worked."""


def money_calls(calls: Sequence[WireCall]) -> list[WireCall]:
    """Return the calls that could move money, in order."""
    return [call for call in calls if call.money]
