"""What follows once a payment method was saved: it is noted, and what could not be collected is tried again at once.

All of it happens once for each set-up, however often its page is looked at: the note and the plans are one transaction.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import structlog

from billhook.clock import Clock
from billhook.errors import Refused
from billhook.model import PaymentStatus, Ref
from billhook.projections import WRITTEN_OFF
from billhook_web.db import Tx, lock
from billhook_web.services.reattempt import reattempt_within
from billhook_web.stores import audit, billing
from billhook_web.stores.billing import Filter

log = structlog.get_logger(__name__)

MOST = 20
"""Invoices of one customer that are tried again at once; more than that is for a person to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What was done after a method was saved.

    ``replaced``: "same" for a card that was kept already, "other" for the one it was to replace; None: nothing went.
    ``invoices``: which are tried again, as soon as the sweeper sees them.
    """

    default: bool
    replaced: str | None = None
    invoices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What was done, and the effects to wake. ``before``: it had been done already."""

    settled: Settled
    effects: tuple[int, ...] = ()
    before: bool = False


class SecondTries:
    """Keeps what was done with each set-up, in the caller's transactions."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    def settled(self, tx: Tx, connection: str, mark: str) -> Settled | None:
        """Return what was done before; None: nothing yet."""
        kept = billing.recall(tx, connection, mark)
        return _read(kept) if kept else None

    def settle(
        self, tx: Tx, customer_id: str, *, connection: str, mark: str, setup: str, default: bool,
        replaced: str | None,
    ) -> Settlement:  # fmt: skip
        """Note a saved method and plan what could not be collected; the second to come gets what the first did.

        Only a default is charged for invoices, so anything else changes nothing for them.
        """
        lock(tx, [f"method-added/{mark}"])
        before = billing.recall(tx, connection, mark)
        if before:
            return Settlement(settled=_read(before), before=True)
        planned = self._failed(tx, customer_id) if default else {}
        done = Settled(default=default, replaced=replaced, invoices=tuple(map(str, planned)))
        billing.remember(tx, connection, mark, json.dumps(asdict(done)))
        audit.add(
            tx, at=self._clock.now(), actor=f"customer:{customer_id}", action="payment_method.add",
            subject=f"{connection}:{setup}", detail={"default": default, "invoices": done.invoices},
        )  # fmt: skip
        log.info("payment_method.add", customer=customer_id, connection=connection, invoices=done.invoices)
        return Settlement(settled=done, effects=tuple(planned.values()))

    def _failed(self, tx: Tx, customer_id: str) -> dict[Ref, int]:
        wanted = Filter(customer_id=customer_id, status=PaymentStatus.FAILED, limit=MOST)
        planned: dict[Ref, int] = {}
        for invoice in sorted(billing.invoices.page(tx, wanted), key=lambda each: each.ref):
            if WRITTEN_OFF in invoice.flags:
                continue
            try:
                asked = reattempt_within(tx, invoice.ref, now=self._clock.now())
            except Refused:
                continue  # nothing is due on it any more, or its billing engine collects it
            if asked.effect is not None:
                planned[invoice.ref] = asked.effect
        return planned


def _read(kept: str) -> Settled:
    said = json.loads(kept)
    return Settled(default=said["default"], replaced=said["replaced"], invoices=tuple(said["invoices"]))
