"""What a page of a provider's list tells us that we do not know: its new facts, and what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeGuard

from billhook.errors import NotFound
from billhook.events import Event, Refetch
from billhook.model import Ref
from billhook.projections.order import time_of
from billhook.provider import ReconcilePage, SupportsReconcile, WebhookSource
from billhook_web.db import Database, Tx
from billhook_web.services import gaps
from billhook_web.services.gaps import Standing
from billhook_web.services.processing import Processing
from billhook_web.stores import ledger
from billhook_web.stores.reconcile import Gap


class ReconciledSource(WebhookSource, SupportsReconcile, Protocol):
    """A webhook source that can also list what its provider holds."""


def can_list(source: object) -> TypeGuard[ReconciledSource]:
    """Say whether a connection's webhook source can also be asked what its provider holds."""
    return isinstance(source, SupportsReconcile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is new on one page: facts that are not in the ledger, and the listed things they are about, each a gap if
    it turns out to change anything."""

    asked_at: datetime
    events: tuple[Event, ...]
    touched: tuple[Gap, ...]

    def standings(self, tx: Tx) -> Mapping[Ref, Standing | None]:
        """Return what we hold of each thing that is touched."""
        return {thing.ref: gaps.standing(tx, thing.kind, thing.ref) for thing in self.touched}

    def gaps(
        self, before: Mapping[Ref, Standing | None], after: Mapping[Ref, Standing | None], *, now: datetime
    ) -> list[Gap]:
        """Return the things that changed and whose webhook should have come."""
        told = [
            replace(thing, changed=gaps.changes(before[thing.ref], after[thing.ref]))
            for thing in self.touched
        ]
        return [gap for gap in told if gap.changed and gaps.is_overdue(gap.at, now=now)]


class Looking:
    """Compares pages with the ledger and fetches what a list only names."""

    def __init__(self, *, db: Database, processing: Processing) -> None:
        self._db = db
        self._processing = processing

    def look(self, source: ReconciledSource, page: ReconcilePage, *, asked_at: datetime) -> Look:
        """Return what is new; raises :class:`ProviderError` when something cannot be fetched."""
        things = {sighting.ref: sighting for sighting in reversed(page.sightings)}
        known = self._known([sighting.ref for sighting in page.sightings])
        told = [part for sighting in page.sightings for part in sighting.news(known[sighting.ref])]
        events = self._fetched(source, told)
        events += self._processing.missing_payments(source, events)
        known = self._known([event.ref for event in events])
        new = tuple(event for event in _once(events) if not _is_known(event, known[event.ref]))
        touched = [
            Gap(kind=thing.kind, ref=ref, changed=(), at=_happened_at(ref, new) or thing.changed_at)
            for ref, thing in things.items()
            if any(event.ref == ref for event in new)
        ]
        return Look(asked_at=asked_at, events=new, touched=tuple(touched))

    def _known(self, refs: Sequence[Ref]) -> Mapping[Ref, Sequence[Event]]:
        with self._db.read() as tx:
            found = ledger.about_subjects(tx, [str(ref) for ref in refs])
        return {ref: found.get(str(ref), ()) for ref in refs}

    def _fetched(self, source: WebhookSource, told: Sequence[Event | Refetch]) -> list[Event]:
        events: list[Event] = []
        asked: list[Refetch] = []
        for part in told:
            if not isinstance(part, Refetch):
                events.append(part)
            elif part not in asked:
                asked.append(part)
                events += _fetch(source, part)
        return events


def _fetch(source: WebhookSource, thing: Refetch) -> Sequence[Event]:
    try:
        return source.refetch(thing)
    except NotFound:
        return ()  # it went between the list and the look


def _once(events: Sequence[Event]) -> list[Event]:
    once: list[Event] = []
    for event in events:
        if event not in once:
            once.append(event)
    return once


def _is_known(event: Event, known: Sequence[Event]) -> bool:
    """Say whether a fact is in the ledger. One without a time is when the last of its kind says the same."""
    if event.at is not None:
        return event in known
    same = [fact for fact in known if fact.type == event.type]
    last = max(same, key=time_of, default=None)
    return last is not None and replace(last, at=None) == event


def _happened_at(ref: Ref, events: Sequence[Event]) -> datetime | None:
    return max((event.at for event in events if event.ref == ref and event.at is not None), default=None)
