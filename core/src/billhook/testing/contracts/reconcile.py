"""What every source that lists what its provider holds must do: say it page by page, the same each time, and go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest

from billhook.events import Event, Refetch, dated
from billhook.model import Ref
from billhook.provider import ReconcilePage, ReconcileWindow, Sighting, SupportsReconcile, WebhookSource
from billhook.testing.connection import START
from billhook.testing.contracts.facts import check_storable

KINDS = frozenset(
    ("customer", "subscription", "invoice", "payment", "refund", "dispute", "credit_note", "mandate")
)


class ReconcileContract:
    """The suite. Fill in ``listed``: a source whose provider holds some things, best more than one page of them."""

    until: datetime = START

    @pytest.fixture
    def listed(self) -> WebhookSource:
        """A source that keeps :class:`SupportsReconcile`, and whose provider holds something."""
        raise NotImplementedError("fill in the fixture `listed`")

    def test_it_lists_things_of_our_kinds(self, listed: WebhookSource) -> None:
        """Refs carry the connection's name; the last page, and only it, has no place after it."""
        pages = self._pages(listed)
        assert isinstance(listed, SupportsReconcile)
        assert _sightings(pages), "let the provider hold something"
        for sighting in _sightings(pages):
            assert sighting.kind in KINDS
            assert sighting.ref.connection == listed.connection
        assert [page.cursor is None for page in pages] == [*(False for _ in pages[1:]), True]

    def test_a_listing_goes_on_after_any_page(self, listed: WebhookSource) -> None:
        """In another process, with nothing but the cursor."""
        pages = self._pages(listed)
        for at, page in enumerate(pages[:-1]):
            rest = self._pages(listed, cursor=page.cursor)
            assert _refs(rest) == _refs(pages[at + 1 :])

    def test_what_is_said_can_be_stored_and_is_the_same_each_time(self, listed: WebhookSource) -> None:
        """Whatever is fetched with it, too."""
        first, second = self._told(listed, {}), self._told(listed, {})
        assert first == second
        for event in first:
            check_storable(event, connection=listed.connection, where="reconcile")

    def test_what_is_known_is_no_news(self, listed: WebhookSource) -> None:
        """Known facts may be said again; nothing more is fetched, and nothing new is said."""
        known: dict[Ref, list[Event]] = defaultdict(list)
        for event in self._told(listed, {}):
            known[event.ref].append(dated(event, heard_at=self.until))
        for sighting in _sightings(self._pages(listed)):
            for part in sighting.news(known[sighting.ref]):
                assert not isinstance(part, Refetch), f"{sighting.ref} is fetched again: {part}"
                assert dated(part, heard_at=self.until) in known[part.ref]

    def _pages(self, source: WebhookSource, *, cursor: str | None = None) -> list[ReconcilePage]:
        if not isinstance(source, SupportsReconcile):
            pytest.fail("the source does not keep SupportsReconcile")
        return list(source.reconcile(ReconcileWindow(since=None, until=self.until, cursor=cursor)))

    def _told(self, source: WebhookSource, known: Mapping[Ref, Sequence[Event]]) -> list[Event]:
        told = [
            part for each in _sightings(self._pages(source)) for part in each.news(known.get(each.ref, ()))
        ]
        return [
            event
            for part in told
            for event in (source.refetch(part) if isinstance(part, Refetch) else [part])
        ]


def _sightings(pages: Sequence[ReconcilePage]) -> list[Sighting]:
    return [each for page in pages for each in page.sightings]


def _refs(pages: Sequence[ReconcilePage]) -> list[Ref]:
    return [each.ref for each in _sightings(pages)]
