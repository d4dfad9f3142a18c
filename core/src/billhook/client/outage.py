"""What happens when the host cannot be asked: by the lease while it holds, then as declared; and no waiting in line."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from billhook.client.answer import Access, Level, Source
from billhook.client.cache import Entry
from billhook.errors import LeaseInvalid, Temporary

UNKNOWN = "unknown"
"""State and standing of a declared answer."""


class OnOutage(StrEnum):
    """What to answer when the host cannot be asked and no lease holds."""

    DENY = "deny"
    ALLOW = "allow"
    LAST_KNOWN = "last_known"  # with the change that was foreseen; deny when nothing is known
    RAISE = "raise"  # billhook.errors.Temporary


def answer_without_host(
    subject: str, entry: Entry | None, *, choice: OnOutage, now: datetime, why: str
) -> Access:
    """Return the answer of an outage.

    :raises Temporary: nothing is leased and ``choice`` says to raise; ``why`` is in the message.
    """
    leased = _leased(entry, now)
    if leased is not None:
        return leased
    match choice:
        case OnOutage.DENY:
            return _declared(subject, Level.NONE, why)
        case OnOutage.ALLOW:
            return _declared(subject, Level.FULL, why)
        case OnOutage.LAST_KNOWN if entry is not None:
            return replace(entry.access.at(now), source=Source.LAST_KNOWN, stale=True)
        case OnOutage.LAST_KNOWN:
            return _declared(subject, Level.NONE, why)
        case OnOutage.RAISE:
            raise Temporary(f"Billhook cannot be asked about {subject}: {why}")
        case _:
            raise ValueError(f"{choice!r} is no choice for an outage")


def _leased(entry: Entry | None, now: datetime) -> Access | None:
    if entry is None or entry.lease is None:
        return None
    try:
        entry.lease.check_time(now)
    except LeaseInvalid:
        return None
    reasons = entry.access.reasons if entry.access.version == entry.lease.version else ()
    return replace(Access.of_lease(entry.lease), reasons=reasons)


def _declared(subject: str, access: Level, why: str) -> Access:
    return Access(
        subject=subject,
        access=access,
        state=UNKNOWN,
        standing=UNKNOWN,
        block_changes=True,
        reasons=(f"Billhook cannot be asked: {why}.",),
        source=Source.DECLARED,
        stale=True,
    )


class Circuit:
    """After a call that failed nobody waits for the next time-out: one caller tries again after a while, the others go on.

    The wait doubles from ``first`` to ``longest`` with every failure, and ends with an answer. Threads may share one.
    """

    def __init__(
        self, *, first: timedelta = timedelta(seconds=0.5), longest: timedelta = timedelta(seconds=15)
    ) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0
        self._since: datetime | None = None
        self._wait = first
        self._why = ""
        self._turn = threading.Lock()

    @property
    def why(self) -> str:
        """What the last call failed with."""
        return self._why

    def may_ask(self, now: datetime) -> bool:
        """Say whether to call. While it is open, True is said once after each wait: that caller tries."""
        with self._turn:
            if self._since is None:
                return True
            if timedelta() <= now - self._since < self._wait:
                return False
            self._since = now  # a clock that was set back ends the wait, too
            return True

    def failed(self, now: datetime, why: str) -> None:
        """Note that a call brought no answer."""
        with self._turn:
            self._wait = self._first if self._since is None else min(self._wait * 2, self._longest)
            self._since, self._why = now, why

    def answered(self) -> None:
        """Note that the host answers."""
        with self._turn:
            self._since, self._why = None, ""
