"""Lago's lists say what its webhooks said, page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billhook.clock import VirtualClock
from billhook.errors import Permanent, Temporary
from billhook.events import Event, InvoiceFinalized, Refetch, SubscriptionStarted
from billhook.hookspecs import ConnectionContext
from billhook.model import Ref
from billhook.provider import ReconcilePage, ReconcileWindow
from billhook.testing.contracts import ReconcileContract
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.sandbox import LagoSandbox
from billhook_lago.webhooks import LagoWebhooks, lago_webhooks

DAY = timedelta(days=1)
Known = dict[Ref, list[Event]]


@pytest.fixture
def source(connect: Callable[..., ConnectionContext]) -> LagoWebhooks:
    return lago_webhooks(connect())


class TestLagoListing(ReconcileContract):
    until = datetime(2026, 7, 2, tzinfo=UTC)

    @pytest.fixture
    def listed(self, busy: Any, source: LagoWebhooks) -> LagoWebhooks:
        return source


def everything(clock: VirtualClock, *, cursor: str | None = None) -> ReconcileWindow:
    return ReconcileWindow(since=None, until=clock.now(), cursor=cursor)


def events_of(source: LagoWebhooks, told: Sequence[Event | Refetch]) -> list[Event]:
    return [
        event for part in told for event in (source.refetch(part) if isinstance(part, Refetch) else [part])
    ]


def listed(source: LagoWebhooks, window: ReconcileWindow, known: Known | None = None) -> list[Event]:
    seen = [each for page in source.reconcile(window) for each in page.sightings]
    return [event for each in seen for event in events_of(source, each.news((known or {}).get(each.ref, [])))]


def delivered(sandbox: LagoSandbox, receiver: Any, source: LagoWebhooks) -> list[Event]:
    sandbox.deliver_webhooks()
    return [event for body in receiver.bodies for event in events_of(source, source.parse(body))]


def by_ref(events: Sequence[Event]) -> Known:
    known: Known = defaultdict(list)
    for event in events:
        known[event.ref].append(event)
    return known


@pytest.fixture
def busy(story: Any, sandbox: LagoSandbox, clock: VirtualClock) -> Any:
    """A day on which everything happens that is listed, and is delivered at once."""

    terms = {"external_customer_id": "acct_1", "plan_code": "starter", "external_id": "sub.1"}
    story.ok("POST", "/subscriptions", {"subscription": terms})
    sandbox.deliver_webhooks()  # Lago shows a row as it is when it is sent: an old one no longer as started
    clock.advance(timedelta(hours=1))
    story.ok("POST", "/subscriptions", {"subscription": {**terms, "plan_code": "pro"}})
    invoice = sandbox.issue_invoice("acct_1", 12000)
    paid = {"invoice_id": invoice["lago_id"], "amount_cents": 12000, "reference": "pay_1"}
    clock.advance(timedelta(minutes=1))
    story.ok("POST", "/payments", {"payment": paid})
    voided = sandbox.issue_invoice("acct_1", 500)
    clock.advance(timedelta(minutes=1))
    story.ok("POST", f"/invoices/{voided['lago_id']}/void")
    return story


def test_what_was_delivered_is_listed_with_equal_facts(
    busy: Any, sandbox: LagoSandbox, receiver: Any, source: LagoWebhooks, clock: VirtualClock
) -> None:
    heard = delivered(sandbox, receiver, source)
    missing = [event for event in listed(source, everything(clock), by_ref(heard)) if event not in heard]
    assert [event for event in missing if event.ref.id not in {p["lago_id"] for p in sandbox.customers}] == []


def test_everything_that_a_webhook_said_is_found_without_it(
    busy: Any, sandbox: LagoSandbox, receiver: Any, source: LagoWebhooks, clock: VirtualClock
) -> None:
    found = listed(source, everything(clock))
    heard = delivered(sandbox, receiver, source)
    said = {(event.ref, event.type) for event in heard}
    said = {each for each in said if each[1] != "subscription.updated"}  # of an old row nothing is current
    assert said <= {(event.ref, event.type) for event in found}


def test_a_start_is_told_once_and_an_end_is_not_looked_at_again(
    busy: Any, source: LagoWebhooks, clock: VirtualClock
) -> None:
    known = by_ref(listed(source, everything(clock)))
    again = [each for page in source.reconcile(everything(clock)) for each in page.sightings]
    told = [part for each in again if each.kind == "subscription" for part in each.news(known[each.ref])]
    assert not [part for part in told if isinstance(part, Refetch | SubscriptionStarted)]


def test_pages_go_on_from_any_cursor(
    story: Any, sandbox: LagoSandbox, source: LagoWebhooks, clock: VirtualClock
) -> None:
    for number in range(230):
        story.ok("POST", "/customers", {"customer": {"external_id": f"many_{number}"}})
    pages = list(source.reconcile(everything(clock)))
    customers = [page for page in pages if any(each.kind == "customer" for each in page.sightings)]
    assert [len(page.sightings) for page in customers] == [100, 100, 31]
    assert pages[-1].cursor is None
    for at, page in enumerate(pages[:-1]):
        rest = list(source.reconcile(everything(clock, cursor=page.cursor)))
        assert refs(rest) == refs(pages[at + 1 :])


def refs(pages: Sequence[ReconcilePage]) -> list[Ref]:
    return [each.ref for page in pages for each in page.sightings]


def test_one_call_is_made_for_each_page_and_no_sooner(
    story: Any, sandbox: LagoSandbox, source: LagoWebhooks, clock: VirtualClock
) -> None:
    before = len(sandbox.requests)
    pages: Iterator[ReconcilePage] = source.reconcile(everything(clock))
    assert len(sandbox.requests) == before
    next(pages)
    assert len(sandbox.requests) == before + 1


def test_a_window_lists_what_changed_in_it(
    story: Any, sandbox: LagoSandbox, source: LagoWebhooks, clock: VirtualClock
) -> None:
    old = sandbox.issue_invoice("acct_1", 1000)
    clock.advance(10 * DAY)
    new = sandbox.issue_invoice("acct_1", 2000)
    window = ReconcileWindow(since=clock.now() - timedelta(hours=1), until=clock.now())
    found = {event.ref.id for event in listed(source, window) if isinstance(event, InvoiceFinalized)}
    assert new["lago_id"] in found
    assert old["lago_id"] not in found


def test_an_old_invoice_that_was_paid_in_the_window_is_found_by_its_payment(
    story: Any, sandbox: LagoSandbox, source: LagoWebhooks, clock: VirtualClock
) -> None:
    invoice = sandbox.issue_invoice("acct_1", 1000)
    clock.advance(60 * DAY)
    paid = {"invoice_id": invoice["lago_id"], "amount_cents": 400, "reference": "pay_1"}
    story.ok("POST", "/payments", {"payment": paid})
    window = ReconcileWindow(since=clock.now() - timedelta(hours=1), until=clock.now())
    found = by_ref(listed(source, window))[Ref("lago", invoice["lago_id"])]
    assert 400 in {getattr(event, "paid", None) for event in found}
    assert listed(source, window, by_ref(found)) == []


def test_a_limit_that_is_reached_is_temporary_and_a_strange_cursor_is_not(
    story: Any, sandbox: LagoSandbox, source: LagoWebhooks, clock: VirtualClock
) -> None:
    sandbox.faults.add(Fault(kind=FaultKind.RATE_LIMITED, path="customers"))
    with pytest.raises(Temporary) as caught:
        next(source.reconcile(everything(clock)))
    assert caught.value.retry_after is not None
    for cursor in ("nothing:1", "invoices:x", ":"):
        with pytest.raises(Permanent):
            next(source.reconcile(everything(clock, cursor=cursor)))
