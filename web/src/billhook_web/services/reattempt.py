"""Asking for another attempt to collect an invoice, because a person wants one now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from billhook.clock import Clock
from billhook.effects import CollectInvoice
from billhook.errors import Conflict, NotFound, Unsupported
from billhook.model import Attempt, AttemptStatus, Invoice, InvoiceStatus, Ref
from billhook_web.db import Database, Tx, lock
from billhook_web.services.collecting import open_attempt
from billhook_web.stores import billing, outbox
from billhook_web.stores.outbox import EffectStatus

_UNDER_WAY = (AttemptStatus.PLANNED, AttemptStatus.PROCESSING, AttemptStatus.UNKNOWN)
_CLOSED = (EffectStatus.DONE, EffectStatus.SUPERSEDED)


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
        lock(tx, [f"invoice/{invoice_ref}"])
        note(tx)
        invoice = billing.invoices.get(tx, invoice_ref)
        _check(invoice, invoice_ref)
        attempts = billing.attempts_of(tx, invoice_ref)
        running = _under_way(attempts, clock)
        if running is not None:
            return Reattempt(attempt=running.number, planned=False, effect=None)
        last = max((each.number for each in attempts), default=0)
        return _plan(tx, invoice_ref, last + 1, clock)


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


def _under_way(attempts: tuple[Attempt, ...], clock: Clock) -> Attempt | None:
    running = [each for each in attempts if each.status in _UNDER_WAY]
    return running[-1] if running else open_attempt(attempts, now=clock.now())


def _plan(tx: Tx, invoice: Ref, number: int, clock: Clock) -> Reattempt:
    """Plan the attempt, or have the one that waits or died made now. A number whose effect is closed is used up."""
    now = clock.now()
    effect = CollectInvoice(invoice=invoice, attempt=number)
    effect_id = outbox.add(tx, effect, now=now)
    while effect_id is None:
        row = outbox.find(tx, effect.key)
        if row is not None and row.status not in _CLOSED:
            outbox.retry(tx, row.id, now=now)
            return Reattempt(
                attempt=effect.attempt, planned=row.status is not EffectStatus.RUNNING, effect=row.id
            )
        effect = CollectInvoice(invoice=invoice, attempt=effect.attempt + 1)
        effect_id = outbox.add(tx, effect, now=now)
    return Reattempt(attempt=effect.attempt, planned=True, effect=effect_id)
