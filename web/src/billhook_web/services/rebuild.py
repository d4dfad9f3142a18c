"""Making the ledger and its projections anew from the inbox: to prove that nothing else went into them, or to mend them.

Everything the ledger knows came as a delivery or as an answer kept beside one, so hearing it all again must end in the
same ledger. What had to *happen* because of it is not planned again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from billhook.errors import NotFound, PayloadInvalid
from billhook.events import Refetch
from billhook_web.db import Database, Tx
from billhook_web.services.connections import Connections
from billhook_web.services.judging import Judge
from billhook_web.services.recording import Recorder
from billhook_web.stores import inbox, shadow, told
from billhook_web.stores.inbox import TOLD, Heard
from billhook_web.stores.ledger import Statement
from billhook_web.stores.shadow import Difference

BATCH = 200
SHOWN = 20
"""Differences listed of one table and direction; there may be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What hearing everything again came to. ``unheard``: deliveries whose connection or meaning is gone."""

    deliveries: int
    facts: int
    unheard: int
    differences: tuple[Difference, ...]


def rebuild(
    db: Database,
    connections: Connections,
    recorder: Recorder,
    judge: Judge,
    *,
    check: bool,
    progress: Callable[[int], None] = lambda _count: None,
) -> Rebuilt:
    """Make the ledger anew and compare it; ``check`` False: put it in the place of the one that is there.

    One transaction: nothing changes unless all of it does. On SQLite nobody else can write meanwhile; on PostgreSQL
    run it while no worker processes deliveries, or what they add in between shows as a difference.
    """
    deliveries = facts = unheard = 0
    with db.begin() as tx:
        order = inbox.in_order_heard(tx)
        with shadow.hidden_behind_shadows(tx):
            for heard in _all(tx, order):
                said = _meaning(connections, heard)
                unheard += said is None
                applied = recorder.enter(
                    tx,
                    said or (),
                    now=heard.received_at,
                    inbox_id=heard.id,
                    plan=False,
                    known_at=heard.processed_at,
                )
                deliveries, facts = deliveries + 1, facts + applied.new
                progress(1)
            for customer_id, settled_at in shadow.settled(tx):
                judge.settle(tx, customer_id, now=settled_at, act=False)
        found = tuple(shadow.differences(tx, limit=SHOWN))
        if not check and found:
            shadow.swap(tx)
        shadow.drop(tx)
    return Rebuilt(deliveries=deliveries, facts=facts, unheard=unheard, differences=found)


def _all(tx: Tx, order: Sequence[int]) -> Iterator[Heard]:
    for start in range(0, len(order), BATCH):
        yield from inbox.heard(tx, order[start : start + BATCH])


def _meaning(connections: Connections, heard: Heard) -> list[Statement] | None:
    """Read a delivery again, without asking anybody; None when it cannot be read any more."""
    kept = told.read(heard.told, heard_at=heard.received_at)
    if heard.type == TOLD or heard.pruned_at is not None:
        return kept
    try:
        parts = connections.source(heard.connection).parse(heard.body)
    except (NotFound, PayloadInvalid):
        return None
    said = [part for part in parts if not isinstance(part, Refetch)]
    return [*(Statement.of(event, heard_at=heard.received_at) for event in said), *kept]
