"""What Stripe holds, compared with what is known."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billhook.errors import Permanent
from billhook.events import Refetch
from billhook.provider import ReconcileWindow
from billhook.testing.connection import make_collect_request
from billhook_stripe.provider import StripePayments
from billhook_stripe.webhooks import StripeWebhooks

DAY = timedelta(days=1)


@pytest.fixture
def source(context) -> StripeWebhooks:
    return StripeWebhooks.connect(context())


@pytest.fixture
def sold(context, sandbox):
    """Let customers pay so many invoices."""
    provider = StripePayments.connect(context())

    def sell(count: int = 1) -> None:
        for number in range(count):
            request = make_collect_request(4900, "EUR", invoice=f"i{number}", present=True)
            sandbox.pay(provider.collect(request).session)

    return sell


def sightings(source, clock, *, since=None, cursor=None):
    window = ReconcileWindow(since=since, until=clock.now(), cursor=cursor)
    return [each for page in source.reconcile(window) for each in page.sightings]


def test_recent_events_give_the_very_facts_of_the_webhooks(source, sandbox, mailbox, clock, sold):
    sold(2)
    sandbox.deliver_webhooks()
    said = [part for delivery in mailbox.received for part in source.parse(delivery.body)]
    told = {repr(part) for part in said if not isinstance(part, Refetch)}
    seen = sightings(source, clock, since=clock.now() - DAY)
    assert {repr(part) for each in seen for part in each.news(())} == told


def test_what_is_older_than_stripe_s_memory_is_fetched_as_it_stands(source, sandbox, clock, sold):
    sold(1)
    sandbox.refund(sandbox.intents[0]["id"], 900)
    sandbox.dispute(sandbox.intents[0]["id"])
    sandbox.hooks.events.clear()
    clock.advance(60 * DAY)
    seen = sightings(source, clock, since=clock.now() - 61 * DAY)
    news = [part for each in seen for part in each.news(())]
    assert {part.kind for part in news if isinstance(part, Refetch)} == {"payment", "refund", "dispute"}
    assert len({fact.ref for part in news for fact in source.refetch(part)}) == 3


def test_nobody_s_unpaid_intents_are_no_news(source, context, clock):
    StripePayments.connect(context()).collect(make_collect_request(4900, "EUR", invoice="1"))
    assert [each.kind for each in sightings(source, clock)] == []


def test_a_listing_goes_on_where_it_stopped(source, sandbox, clock, sold):
    sold(40)
    pages = list(source.reconcile(ReconcileWindow(since=clock.now() - DAY, until=clock.now())))
    assert len(pages) >= 2
    rest = sightings(source, clock, since=clock.now() - DAY, cursor=pages[0].cursor)
    assert [each.ref for each in rest] == [each.ref for page in pages[1:] for each in page.sightings]
    with pytest.raises(Permanent, match="begin the reconciliation anew"):
        sightings(source, clock, cursor="moon:1")
