"""Paying with a saved method moves money once: fifty clicks, two tabs, two hosts, a retry by schedule at the same moment.

Counted at the provider. Nothing works in the background here; each test says who does what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest

from billhook.model import Ref
from billhook.testing.sandbox import Fault, FaultKind
from billhook_web.services.saved_payment import handle_of
from billhook_web.stores.outbox import EffectStatus
from tests.flow.flow import Backend, Flow
from tests.flow.test_double_charge import LEASE, SECOND, at_once, work

GOOD, POOR, ASKS = "4242424242424242", "4000000000000341", "4000002760003184"
CLICKS = 50


class Till:
    """Two processes of one host, and an invoice of EUR 120.00 whose attempt waits on its pay page."""

    def __init__(self, backend: Backend) -> None:
        settings = {"BILLHOOK_PAY_SAVED_METHODS": "link"}
        self.first = Flow(backend, payer="stripe", settings=settings)
        apps = {"http://lago.test": self.first.lago, "http://stripe.test": self.first.stripe}
        self.second = Flow(backend, payer="stripe", settings=settings, apps=apps)
        self.sandbox, self.lago = self.first.stripe, self.first.lago

    def close(self) -> None:
        self.first.runtime.close()
        self.second.runtime.close()

    def bill(self) -> None:
        self.first.api("PUT", "/customers/acct_1", name="Ada", email="ada@acme.example", currency="EUR")
        work(self.first)
        issued = self.lago.issue_invoice("acct_1", 12000)
        work(self.first)
        with self.first.runtime.db.begin() as tx:
            url = self.first.runtime.collecting.pay_url(tx, Ref("lago", str(issued["lago_id"])))
        self.path = url.removeprefix("https://billing.test")

    def keep(self, card: str = GOOD) -> str:
        """Let the customer keep a card; return what the pay page calls it."""
        method = self.sandbox.add_method(self.sandbox.intents[0]["customer"], card=card)
        return handle_of(self.path.rpartition("/")[2], Ref("stripe", method["id"]))

    def click(self, flow: Flow, method: str, click: str) -> int:
        """Send the page's form; return the status."""
        app = flow.client.application
        return app.test_client().post(self.path, data={"method": method, "click": click}).status_code

    def shown(self) -> str:
        return self.first.client.get(self.path).text

    def finish(self) -> None:
        """Let what follows happen, also what waits for a lease or for another try, on both."""
        for _ in range(3):
            for flow in (self.first, self.second):
                work(flow)
                flow.clock.advance(LEASE + SECOND)

    def assert_charged_once(self) -> None:
        taken = [each["amount"] for each in self.sandbox.charges if each["status"] == "succeeded"]
        assert taken == [12000]
        assert [payment["amount_cents"] for payment in self.lago.payments] == [12000]
        assert self.first.dead() == []
        assert "Paid, thank you" in self.shown()


@pytest.fixture
def till(backend: Backend) -> Iterator[Till]:
    with closing(Till(backend)) as made:
        made.bill()
        yield made


def test_fifty_clicks_at_once_on_two_hosts_charge_once(till: Till) -> None:
    methods = [till.keep(), till.keep("5555555555554444")]
    numbers = iter(range(CLICKS))
    said: list[int] = []

    def click() -> None:
        number = next(numbers)
        flow = till.second if number % 2 else till.first
        said.append(till.click(flow, methods[number % 3 == 0], click=f"tab-{number % 7}"))

    at_once(CLICKS, click)
    assert len(said) == CLICKS
    assert 303 in said
    assert set(said) <= {303, 503}  # on their way to the result, or told that the provider is busy
    till.finish()
    till.assert_charged_once()


def test_a_retry_by_schedule_at_the_same_moment_charges_nothing_more(till: Till) -> None:
    """The first try is declined; the next is due when the customer comes with another card."""
    poor = till.keep(POOR)
    assert till.click(till.first, poor, "tab-1") == 402
    work(till.first)
    good = till.keep()
    for flow in (till.first, till.second):
        flow.clock.advance(timedelta(days=3))
    (due,) = [each for each in till.first.effects("collect_invoice") if each.status is EffectStatus.PENDING]
    with ThreadPoolExecutor(2) as pool:
        retry = pool.submit(till.second.runtime.delivery.deliver, due.id)
        paid = pool.submit(till.click, till.first, good, "tab-2")
        retry.result(300)
        said = paid.result(300)
    till.finish()
    assert said in (303, 503)
    if said == 503:  # told to try again in a moment, as the retry was at it
        assert till.click(till.first, good, "tab-3") == 303
        till.finish()
    till.assert_charged_once()


def test_an_answer_that_is_lost_is_found_and_the_next_click_changes_nothing(till: Till) -> None:
    good = till.keep()
    till.sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST", path="/confirm"))
    assert till.click(till.first, good, "tab-1") == 303
    assert till.click(till.second, good, "tab-2") == 303
    till.finish()
    till.assert_charged_once()


def test_the_bank_s_question_is_put_on_the_same_payment(till: Till) -> None:
    asks = till.keep(ASKS)
    assert till.click(till.first, asks, "tab-1") == 303
    (intent,) = till.sandbox.intents
    assert intent["status"] == "requires_action"
    assert re.search(r'id="confirm"', till.shown())
    till.sandbox.authenticate(intent["id"], success=True)
    till.finish()
    till.assert_charged_once()
