"""The pay page's answers: what an invoice's stable link shows now, and where a click on it leads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from billhook.clock import Clock
from billhook.effects import CollectInvoice
from billhook.errors import Refused
from billhook.model import Attempt, Invoice, InvoiceStatus, Payment, PaymentStatus, Ref
from billhook.provider import SupportsCheckoutStatus
from billhook_web.db import Database
from billhook_web.services.collecting import open_attempt
from billhook_web.services.connections import Connections
from billhook_web.stores import billing, outbox
from billhook_web.stores.outbox import EffectStatus


class PayState(StrEnum):
    """What the page shows."""

    OPEN = "open"
    PROCESSING = "processing"
    PAID = "paid"
    FAILED = "failed"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayView:
    """What a customer may see of an invoice: no ids of providers, no reason that is nobody's business."""

    state: PayState
    invoice: Invoice
    reason: str | None = None


class Paying:
    """Answers for one pay link at a time."""

    def __init__(
        self, *, db: Database, clock: Clock, connections: Connections, deliver: Callable[[int], object]
    ) -> None:
        self._db = db
        self._clock = clock
        self._connections = connections
        self._deliver = deliver

    def view(self, token: str) -> PayView | None:
        """Return what the link shows now; None: there is no such link."""
        with self._db.read() as tx:
            ref = billing.invoice_of_token(tx, token)
            invoice = billing.invoices.get(tx, ref) if ref else None
            if invoice is None:
                return None
            payments = billing.payments.of_invoice(tx, invoice.ref)
        newest = max(payments, key=lambda payment: (payment.at, payment.ref), default=None)
        state = _state(invoice)
        reason = _reason(newest) if state is PayState.FAILED else None
        return PayView(state=state, invoice=invoice, reason=reason)

    def checkout(self, token: str) -> str | None:
        """Return where the customer pays now: the checkout that is open, or a new one. None: nothing is to be paid.

        :raises Refused: it cannot be paid here.    :raises ProviderError: the provider does not answer just now.
        """
        view = self.view(token)
        if view is None or view.state in (PayState.PAID, PayState.VOID, PayState.PROCESSING):
            return None
        attempt = self._usable(view.invoice.ref) or self._new(view.invoice.ref)
        return attempt.url if attempt else None

    def _usable(self, invoice: Ref) -> Attempt | None:
        with self._db.read() as tx:
            attempt = open_attempt(billing.attempts_of(tx, invoice), now=self._clock.now())
        if attempt is None:
            return None
        provider = self._connections.provider(attempt.connection)
        if not isinstance(provider, SupportsCheckoutStatus) or attempt.session is None:
            return attempt
        return attempt if provider.checkout_usable(attempt.session) else None

    def _new(self, invoice: Ref) -> Attempt | None:
        """Open the next attempt through the outbox, so that a double click or a due retry is the same attempt."""
        now = self._clock.now()
        with self._db.begin() as tx:
            number = self._next_number(billing.attempts_of(tx, invoice))
            effect = CollectInvoice(invoice=invoice, attempt=number)
            effect_id = outbox.add(tx, effect, now=now) or outbox.hasten(tx, effect.key, now=now)
        if effect_id is not None:
            self._deliver(effect_id)
        with self._db.read() as tx:
            row = outbox.find(tx, effect.key)
            attempt = open_attempt(billing.attempts_of(tx, invoice), now=now)
        if row is not None and row.status is EffectStatus.DEAD:
            raise Refused(row.error or "The payment provider refused.")
        return attempt

    def _next_number(self, attempts: tuple[Attempt, ...]) -> int:
        return max((attempt.number for attempt in attempts), default=0) + 1


def _state(invoice: Invoice) -> PayState:
    if invoice.status is InvoiceStatus.VOIDED:
        return PayState.VOID
    match invoice.payment_status:
        case PaymentStatus.SUCCEEDED:
            return PayState.PAID
        case PaymentStatus.PROCESSING:
            return PayState.PROCESSING
        case PaymentStatus.FAILED:
            return PayState.FAILED
        case _:
            return PayState.OPEN


def _reason(payment: Payment | None) -> str | None:
    """Say why in the customer's words; a sensitive reason (stolen, lost, fraud) is nobody's business."""
    if payment is None or payment.decline is None:
        return None
    return None if payment.decline.sensitive else payment.decline.message or None
