"""The suite for listings holds for the fake, and finds out who breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from billhook.events import PaymentSucceeded
from billhook.model import Ref
from billhook.money import Money
from billhook.provider import ReconcilePage, ReconcileWindow
from billhook.testing.connection import START
from billhook.testing.contracts import ReconcileContract
from billhook.testing.fakes import FakeSource

FAILS = (AssertionError, pytest.fail.Exception)


def filled(source: FakeSource, count: int = 5) -> FakeSource:
    for number in range(count):
        ref = Ref(source.connection, f"pay_{number}")
        money = Money(4900, "EUR")
        source.things["payment", ref.id] = [PaymentSucceeded(at=START, ref=ref, amount=money, applied=money)]
    return source


class TestFakeListing(ReconcileContract):
    @pytest.fixture
    def listed(self) -> FakeSource:
        return filled(FakeSource())


class BeginsAgain(FakeSource):
    def reconcile(self, window: ReconcileWindow) -> Iterator[ReconcilePage]:
        return super().reconcile(replace(window, cursor=None))


class NeverEnds(FakeSource):
    def reconcile(self, window: ReconcileWindow) -> Iterator[ReconcilePage]:
        for page in super().reconcile(window):
            yield replace(page, cursor=page.cursor or "9")


def test_a_listing_that_begins_again_is_found_out() -> None:
    with pytest.raises(FAILS):
        ReconcileContract().test_a_listing_goes_on_after_any_page(filled(BeginsAgain()))


def test_a_listing_without_an_end_is_found_out() -> None:
    with pytest.raises(FAILS):
        ReconcileContract().test_it_lists_things_of_our_kinds(filled(NeverEnds()))


def test_a_source_that_lists_nothing_is_found_out() -> None:
    with pytest.raises(FAILS):
        ReconcileContract().test_it_lists_things_of_our_kinds(FakeSource())


def test_an_empty_fake_lists_one_empty_page() -> None:
    (page,) = FakeSource().reconcile(ReconcileWindow(since=None, until=START))
    assert (list(page.sightings), page.cursor) == ([], None)
