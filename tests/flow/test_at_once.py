"""Two deliveries about one thing, worked on in the same instant: neither fails, and neither is forgotten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import replace
from datetime import timedelta

import pytest

from billhook.events import Event, MandateChanged
from billhook.model import MandateStatus, Ref
from billhook_web.stores import billing
from tests.flow.flow import PATIENCE_SECONDS, START, Flow

HEAD_START_SECONDS = 0.3
"""How long the second may run into the first; on a slow machine it gets less far, and then the test proves less."""
MANDATE = Ref("dodo", "pm_1")
THERE = MandateChanged(ref=MANDATE, at=START, status=MandateStatus.ON_HOLD, provider_customer="cus_1")
WHOSE = MandateChanged(
    ref=MANDATE,
    at=START + timedelta(seconds=1),
    status=MandateStatus.ACTIVE,
    metadata={"billhook_customer": "acct_1"},
)


def at_once(flow: Flow, first: Event, second: Event) -> None:
    """Enter two facts in two transactions; the second begins while the first has written and is still open."""
    db, recorder = flow.runtime.db, flow.runtime.recorder

    def enter_second() -> None:
        with db.begin() as tx:
            recorder.apply(tx, [second], now=flow.clock.now())

    with ThreadPoolExecutor(1) as pool:
        with db.begin() as tx:
            recorder.apply(tx, [first], now=flow.clock.now())
            other = pool.submit(enter_second)
            wait_for([other], timeout=HEAD_START_SECONDS)
        other.result(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize(("first", "second"), [(THERE, WHOSE), (WHOSE, THERE)], ids=["in-order", "reversed"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_two_facts_about_a_mandate_at_once_are_both_in_it(
    flow: Flow, first: MandateChanged, second: MandateChanged, known: bool
) -> None:
    if known:
        with flow.runtime.db.begin() as tx:
            earlier = replace(THERE, at=START - timedelta(days=1), provider_customer=None)
            flow.runtime.recorder.apply(tx, [earlier], now=flow.clock.now())
    at_once(flow, first, second)
    with flow.runtime.db.read() as tx:
        mandate = billing.mandates.get(tx, MANDATE)
    assert mandate is not None
    assert (mandate.status, mandate.provider_customer) == (MandateStatus.ACTIVE, "cus_1")
    assert mandate.customer_id == "acct_1"
