"""What the client remembers of each customer and subscription: bounded, least recently used out first, thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from billhook.client.answer import Access, Source, SubscriptionAccess
from billhook.lease import Lease, Subject

Key = tuple[Subject, str]
"""Whose access: a customer's by id, a subscription's by ref."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The last answer for one key.

    ``asked_at`` is when the host was asked for it; None: it must be asked again before this counts as fresh.
    ``heard_at`` is when it came here. ``etag`` asks the host whether it is still so.
    """

    access: Access
    asked_at: datetime | None
    heard_at: datetime
    etag: str | None = None
    lease: Lease | None = None

    def is_fresh(self, now: datetime, *, max_age: timedelta) -> bool:
        """Say whether it may be given without asking: young enough, and not past the change that was foreseen."""
        if self.asked_at is None or not timedelta() <= now - self.asked_at < max_age:
            return False
        change = self.access.next_change_at
        return change is None or now < change


class AccessCache:
    """At most ``size`` entries."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Entry | None:
        """Return what is known of it."""
        with self._turn:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: Key, entry: Entry) -> Entry:
        """Keep an answer; return the one that counts.

        A newer version that came here while the host was being asked stays: the answer was on its way before it.
        """
        with self._turn:
            known = self._entries.get(key)
            if known is not None and _overtook(known, entry):
                return known
            self._keep(key, entry)
            return entry

    def hear(self, access: Access, *, heard_at: datetime) -> bool:
        """Take in a change of a customer that was told, not asked for; False when it is no news.

        What was leased before it is void. It is not fresh: the host may know more by now.
        """
        key = (Subject.CUSTOMER, access.subject)
        with self._turn:
            known = self._entries.get(key)
            if known is not None and (known.access.version or 0) >= (access.version or 0):
                return False
            self._keep(key, Entry(access=access, asked_at=None, heard_at=heard_at))
            for ref, part in access.subscriptions.items():
                self._outdate((Subject.SUBSCRIPTION, ref), part, heard_at)
            return True

    def forget(self, key: Key) -> None:
        """Drop what is known of it."""
        with self._turn:
            self._entries.pop(key, None)

    def _keep(self, key: Key, entry: Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def _outdate(self, key: Key, part: SubscriptionAccess, heard_at: datetime) -> None:
        known = self._entries.get(key)
        if known is not None:
            access = replace(
                known.access, state=part.state, access=part.access, next=None, next_change_at=None, reasons=()
            )
            self._entries[key] = Entry(access=access, asked_at=None, heard_at=heard_at)


def _overtook(known: Entry, entry: Entry) -> bool:
    newer = (known.access.version or 0) > (entry.access.version or 0)
    return newer and (entry.asked_at is None or known.heard_at >= entry.asked_at)


def fresh(entry: Entry) -> Access:
    """Return the answer of an entry that the host just gave or confirmed."""
    return replace(entry.access, source=Source.FRESH, stale=False)


def cached(entry: Entry) -> Access:
    """Return the answer of an entry that is still fresh."""
    return replace(entry.access, source=Source.CACHED, stale=False)
