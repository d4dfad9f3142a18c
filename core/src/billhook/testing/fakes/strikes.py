"""Faults of a fake that has no wire: raised as its client would raise them."""

from __future__ import annotations

from typing import TypeVar

from billhook.errors import OutcomeUnknown, ProviderError, Temporary
from billhook.testing.sandbox import FaultKind

T = TypeVar("T")


class Strikes:
    """Faults to come, used up in order, one by each write."""

    def __init__(self) -> None:
        self._kinds: list[FaultKind] = []

    def add(self, kind: FaultKind) -> None:
        """Let one more write go wrong."""
        self._kinds.append(kind)

    def strike(self) -> ProviderError | None:
        """Raise when nothing shall happen; return the error of a call that happens but whose answer gets lost."""
        match self._kinds.pop(0) if self._kinds else None:
            case None | FaultKind.SLOW:
                return None
            case FaultKind.LOST_ANSWER:
                return OutcomeUnknown("no answer came; it may have been carried out")
            case FaultKind.ERROR:
                raise OutcomeUnknown("was answered 500; it may have been carried out")
            case FaultKind.UNAVAILABLE | FaultKind.RATE_LIMITED as kind:
                raise Temporary(f"{kind}: nothing was done")


def answered(lost: ProviderError | None, answer: T) -> T:
    """Return the answer, unless it got lost."""
    if lost is not None:
        raise lost
    return answer
