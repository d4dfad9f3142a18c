"""The kit itself: a story goes on when everything is done, however busy the machine is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from billhook.effects import SyncCustomer
from billhook_web.stores import outbox
from billhook_web.stores.tables import effects
from tests.flow.flow import Backend, Flow

CHANGE = SyncCustomer(customer_id="acct_1", connection="lago", version=1)


@pytest.fixture
def resting(backend: Backend) -> Iterator[Flow]:
    """A host whose background work was never started."""
    flow = Flow(backend)
    yield flow
    flow.runtime.close()


def test_what_somebody_is_just_taking_is_not_done_yet(resting: Flow) -> None:
    with resting.runtime.db.begin() as tx:
        outbox.add(tx, CHANGE, now=resting.clock.now())
    assert not resting.idle()
    with resting.runtime.db.begin() as tx:
        tx.execute(select(effects.c.id).with_for_update())
        assert not resting.idle()


def test_what_is_due_later_and_what_waits_behind_it_are_no_reason_to_wait(resting: Flow) -> None:
    now = resting.clock.now()
    with resting.runtime.db.begin() as tx:
        outbox.add(tx, replace(CHANGE, not_before=now + timedelta(hours=1)), now=now)
        outbox.add(tx, replace(CHANGE, version=2), now=now)
    assert resting.idle()
    resting.clock.advance(timedelta(hours=1))
    assert not resting.idle()
