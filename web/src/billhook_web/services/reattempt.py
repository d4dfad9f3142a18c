"""Asking for another attempt to collect an invoice, because a person wants one now: by the API, or at the pay page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from billhook.clock import Clock
from billhook.effects import CollectInvoice
from billhook.errors import Conflict, NotFound, Unsupported
from billhook.model import Attempt, AttemptStatus, Invoice, InvoiceStatus, Ref
from billhook_web.db import Database, Tx, lock
from billhook_web.services.collecting import open_attempt
from billhook_web.stores import billing, outbox
from billhook_web.stores.outbox import EffectStatus

_UNDER_WAY = (AttemptStatus.PLANNED, AttemptStatus.PROCESSING, AttemptStatus.UNKNOWN)
_WAITING = (EffectStatus.PENDING, EffectStatus.DEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reattempt:
    """The attempt that is, or will be, made. ``planned`` False: it was under way before; ``effect`` None likewise."""

    attempt: int
    planned: bool
    effect: int | None


def reattempt(
    db: Database, clock: Clock, invoice_ref: Ref, *, note: Callable[[Tx], None] = lambda _tx: None
) -> Reattempt:
    """Plan the next attempt now, also when the schedule has it later; wake its effect after this.

    :param note: writes down who asked for it, in the same transaction.
    :raises NotFound: there is no such invoice.    :raises Conflict: nothing is to be paid on it.
    :raises Unsupported: its billing engine collects by itself.
    """
    with db.begin() as tx:
        return reattempt_within(tx, invoice_ref, now=clock.now(), note=note)


def reattempt_within(
    tx: Tx, invoice_ref: Ref, *, now: datetime, note: Callable[[Tx], None] = lambda _tx: None
) -> Reattempt:
    """Do what :func:`reattempt` does, in a transaction that does more."""
    lock(tx, [f"invoice/{invoice_ref}"])
    note(tx)
    invoice = billing.invoices.get(tx, invoice_ref)
    _check(invoice, invoice_ref)
    attempts = billing.attempts_of(tx, invoice_ref)
    running = _under_way(attempts, now)
    if running is not None:
        return Reattempt(attempt=running.number, planned=False, effect=None)
    last = max((each.number for each in attempts), default=0)
    return plan_now(tx, invoice_ref, last + 1, present=False, now=now)


def plan_now(tx: Tx, invoice: Ref, number: int, *, present: bool, now: datetime) -> Reattempt:
    """Have an attempt made now: ``number``, planned, hastened or taken up again, or the next that is not used up.

    :param present: the customer is there to pay.
    """
    while True:
        effect = CollectInvoice(invoice=invoice, attempt=number, present=present)
        added = outbox.add(tx, effect, now=now)
        if added is not None:
            return Reattempt(attempt=number, planned=True, effect=added)
        if present:
            outbox.hasten(tx, effect, now=now)  # whoever planned it did not know that the customer would come
        row = outbox.find(tx, effect.key)
        if row is not None and not _used_up(tx, invoice, number, row.status):
            waits = row.status in _WAITING
            if waits:
                outbox.retry(tx, row.id, now=now)
            return Reattempt(attempt=number, planned=waits, effect=row.id)
        number += 1


def _used_up(tx: Tx, invoice: Ref, number: int, status: EffectStatus) -> bool:
    """Say whether an effect is closed without an attempt to show for it: it was needless once, and is needed again."""
    if status is EffectStatus.DONE:  # perhaps a moment ago, by somebody else
        return all(each.number != number for each in billing.attempts_of(tx, invoice))
    return status is EffectStatus.SUPERSEDED


def _check(invoice: Invoice | None, ref: Ref) -> None:
    if invoice is None:
        raise NotFound(f"There is no invoice {ref} here.")
    if invoice.status is not InvoiceStatus.FINALIZED:
        raise Conflict(
            f"The invoice is {invoice.status}: only a finalized one can be collected.", field="status"
        )
    if invoice.balance <= 0:
        raise Conflict("Nothing is due on the invoice any more.", field="balance")
    if invoice.collected_by_engine:
        raise Unsupported("The billing engine collects this invoice by itself; ask for it there.")


def _under_way(attempts: tuple[Attempt, ...], now: datetime) -> Attempt | None:
    running = [each for each in attempts if each.status in _UNDER_WAY]
    return running[-1] if running else open_attempt(attempts, now=now)
