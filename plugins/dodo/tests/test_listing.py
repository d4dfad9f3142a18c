"""Dodo's lists show what its webhooks said, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billhook.clock import VirtualClock
from billhook.errors import Permanent, Temporary
from billhook.events import Event, Refetch, dated
from billhook.provider import ReconcilePage, ReconcileWindow
from billhook.testing.contracts import ReconcileContract
from billhook.testing.sandbox import Fault, FaultKind
from billhook_dodo.sandbox import DodoSandbox
from billhook_dodo.webhooks import DodoWebhooks

DAY = timedelta(days=1)


@pytest.fixture
def source(context: Any) -> DodoWebhooks:
    return DodoWebhooks.connect(context())


@pytest.fixture
def payment(api: Any, sandbox: DodoSandbox) -> dict[str, Any]:
    """A payment that succeeded, a part of it refunded, and disputed."""
    customer = {"email": "a@acme.example", "name": "Acme"}
    session = api.checkout(api.product(), customer=customer)["session_id"]
    sandbox.pay(session)
    paid = sandbox.payments[0]
    sandbox.refund(paid["payment_id"], 500)
    sandbox.dispute(paid["payment_id"])
    return paid


class TestDodoListing(ReconcileContract):
    until = datetime(2026, 9, 2, tzinfo=UTC)

    @pytest.fixture
    def listed(self, payment: Any, sandbox: DodoSandbox, source: DodoWebhooks) -> DodoWebhooks:
        sandbox.authorise_mandate(email="acme@example.com")
        return source


def everything(clock: VirtualClock, *, cursor: str | None = None) -> ReconcileWindow:
    return ReconcileWindow(since=None, until=clock.now(), cursor=cursor)


def news(pages: Sequence[ReconcilePage], known: Sequence[Event] = ()) -> list[Event | Refetch]:
    return [
        part
        for page in pages
        for each in page.sightings
        for part in each.news([fact for fact in known if fact.ref == each.ref])
    ]


def looked(source: DodoWebhooks, told: Sequence[Event | Refetch]) -> list[Event]:
    return [event for part in told if isinstance(part, Refetch) for event in source.refetch(part)]


def test_what_nobody_told_is_fetched(payment: Any, source: DodoWebhooks, clock: VirtualClock) -> None:
    found = looked(source, news(list(source.reconcile(everything(clock)))))
    assert [event.type for event in found] == ["payment.succeeded", "refund.changed", "dispute.changed"]
    assert found[0].at is not None
    assert [event.at for event in found[1:]] == [None, None]


def test_what_a_webhook_told_is_no_news(
    payment: Any, source: DodoWebhooks, sandbox: DodoSandbox, mailbox: Any, clock: VirtualClock
) -> None:
    sandbox.deliver_webhooks()
    heard = [
        dated(event, heard_at=clock.now())
        for each in mailbox.received
        for event in source.parse(each.body)
        if not isinstance(event, Refetch)
    ]
    assert {"payment.succeeded", "refund.changed", "dispute.changed"} <= {event.type for event in heard}
    assert news(list(source.reconcile(everything(clock))), heard) == []


def test_what_was_fetched_is_no_news_afterwards(
    payment: Any, source: DodoWebhooks, clock: VirtualClock
) -> None:
    pages = list(source.reconcile(everything(clock)))
    found = [dated(event, heard_at=clock.now()) for event in looked(source, news(pages))]
    assert news(list(source.reconcile(everything(clock))), found) == []


def test_a_dispute_that_went_on_is_news(
    payment: Any, source: DodoWebhooks, sandbox: DodoSandbox, clock: VirtualClock
) -> None:
    known = looked(source, news(list(source.reconcile(everything(clock)))))
    known = [dated(event, heard_at=clock.now()) for event in known]
    clock.advance(30 * DAY)
    dispute = next(event.ref.id for event in known if event.type == "dispute.changed")
    sandbox.dispute_event(dispute, "lost")
    window = ReconcileWindow(since=clock.now() - DAY, until=clock.now())
    told = news(list(source.reconcile(window)), known)
    assert [(part.kind, part.id) for part in told if isinstance(part, Refetch)] == [("dispute", dispute)]


def test_pages_go_on_from_any_cursor(
    api: Any, source: DodoWebhooks, sandbox: DodoSandbox, clock: Any
) -> None:
    product = api.product()
    for _ in range(105):
        session = api.checkout(product, customer={"email": "a@acme.example", "name": "Acme"})
        sandbox.pay(session["session_id"])
    pages = list(source.reconcile(everything(clock)))
    assert [len(page.sightings) for page in pages] == [100, 5, 0, 0, 0]
    assert pages[-1].cursor is None
    for at, page in enumerate(pages[:-1]):
        rest = source.reconcile(everything(clock, cursor=page.cursor))
        assert [each.ref for each in next(rest).sightings] == [each.ref for each in pages[at + 1].sightings]


def test_a_limit_that_is_reached_is_temporary_and_a_strange_cursor_is_not(
    source: DodoWebhooks, sandbox: DodoSandbox, clock: VirtualClock
) -> None:
    sandbox.faults.add(Fault(kind=FaultKind.RATE_LIMITED, path="payments"))
    with pytest.raises(Temporary):
        next(source.reconcile(everything(clock)))
    for cursor in ("nothing:1", "payment:x", ":"):
        with pytest.raises(Permanent):
            next(source.reconcile(everything(clock, cursor=cursor)))
