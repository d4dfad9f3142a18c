"""The pay page's answers: what an invoice's stable link shows now, and where a click on it leads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billhook.clock import Clock, pause
from billhook.errors import NotFound, Refused
from billhook.methods import PageKit, PagePayment, SupportsPageKit, SupportsPagePayment
from billhook.model import (
    Attempt,
    AttemptStatus,
    Customer,
    Decline,
    DeclineClass,
    Invoice,
    InvoiceStatus,
    PaymentStatus,
    Ref,
)
from billhook.money import Money
from billhook.provider import SupportsCheckoutStatus
from billhook_web.db import Database
from billhook_web.services.collecting import open_attempt
from billhook_web.services.connections import Connections
from billhook_web.services.gates import Ask
from billhook_web.services.reattempt import plan_now
from billhook_web.stores import accounts, billing, outbox
from billhook_web.stores.outbox import EffectRow, EffectStatus

WAITS = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Seconds between looks while somebody else (a second click, a worker) opens the checkout: 3 s in all."""


class PayState(StrEnum):
    """What the page shows."""

    OPEN = "open"
    PROCESSING = "processing"
    PAID = "paid"
    FAILED = "failed"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPage:
    """An open attempt that is paid on our own page, with the provider's form. ``amount``: what it takes."""

    connection: str
    session: str
    amount: Money
    kit: PageKit


@dataclass(frozen=True, slots=True, kw_only=True)
class PayView:
    """How an invoice stands for whoever pays it.

    ``customer``: whose it is; None: nobody's we know, or their personal data is erased. ``payer``: the connection where it
    is paid: that of the open attempt, else the collecting one. ``decline``: why the last try failed. ``paid_at`` is when the
    newest payment that succeeded was made; None: none did, or only the engine knows of it. ``awaits``: the newest attempt is
    a checkout whose outcome nobody has told us yet. ``on_page``: it can be paid here.
    """

    state: PayState
    invoice: Invoice
    customer: Customer | None = None
    payer: str | None = None
    decline: Decline | None = None
    paid_at: datetime | None = None
    awaits: bool = False
    on_page: OnPage | None = None

    @property
    def payable(self) -> bool:
        """Say whether it waits to be paid, and nothing is under way."""
        return self.state in (PayState.OPEN, PayState.FAILED)


class Paying:
    """Answers for one pay link at a time."""

    def __init__(
        self, *, db: Database, clock: Clock, connections: Connections, deliver: Callable[[int], object], ask: Ask
    ) -> None:  # fmt: skip
        self._db = db
        self._clock = clock
        self._connections = connections
        self._deliver = deliver
        self._ask = ask

    def view(self, token: str) -> PayView | None:
        """Return what the link shows now; None: there is no such link."""
        with self._db.read() as tx:
            ref = billing.invoice_of_token(tx, token)
            invoice = billing.invoices.get(tx, ref) if ref else None
            if invoice is None:
                return None
            payments = billing.payments.of_invoice(tx, invoice.ref)
            attempts = billing.attempts_of(tx, invoice.ref)
            customer = accounts.get_customer(tx, invoice.customer_id) if invoice.customer_id else None
        newest = max(payments, key=lambda payment: (payment.at, payment.ref), default=None)
        state = _state(invoice, attempts)
        received = [payment.at for payment in payments if payment.status is PaymentStatus.SUCCEEDED]
        return PayView(
            state=state,
            invoice=invoice,
            customer=customer.customer if customer and customer.erased_at is None else None,
            payer=self._payer(attempts),
            decline=newest.decline if newest and state is PayState.FAILED else None,
            paid_at=max(received, default=None),
            awaits=bool(attempts) and attempts[-1].status is AttemptStatus.OPEN,
            on_page=self._on_page(attempts) if state in (PayState.OPEN, PayState.FAILED) else None,
        )

    def page_payment(self, token: str) -> PagePayment:
        """Ask the provider how the attempt stands that is paid on our page.

        :raises NotFound: there is none (any more).    :raises ProviderError: the provider does not answer just now.
        """
        view = self.view(token)
        wanted = view.on_page if view else None
        provider = self._connections.provider(wanted.connection) if wanted else None
        if wanted is None or not isinstance(provider, SupportsPagePayment):
            raise NotFound("Nothing is to be paid on this page now.")
        return self._ask(wanted.connection, lambda: provider.page_payment(wanted.session))

    def _payer(self, attempts: tuple[Attempt, ...]) -> str | None:
        attempt = open_attempt(attempts, now=self._clock.now())
        collector = self._connections.collector()
        return attempt.connection if attempt else collector.connection if collector else None

    def _on_page(self, attempts: tuple[Attempt, ...]) -> OnPage | None:
        attempt = open_attempt(attempts, now=self._clock.now())
        connection = self._connections.get(attempt.connection) if attempt else None
        provider: object = connection.provider if connection else None
        if attempt is None or attempt.session is None or not isinstance(provider, SupportsPagePayment):
            return None
        if not isinstance(provider, SupportsPageKit):
            return None
        return OnPage(
            connection=attempt.connection,
            session=attempt.session,
            amount=attempt.amount,
            kit=provider.page_kit(),
        )

    def checkout(self, token: str) -> str | None:
        """Return where the customer pays now: the checkout that is open, or a new one. None: nothing is to be paid.

        :raises Refused: it cannot be paid here.    :raises ProviderError: the provider does not answer just now.
        """
        attempt = self.attempt(token)
        return attempt.url if attempt else None

    def attempt(self, token: str) -> Attempt | None:
        """Return the attempt that is open to be paid, opened now when there is none; raises as :meth:`checkout`."""
        view = self.view(token)
        if view is None or not view.payable:
            return None
        with self._db.read() as tx:
            known = billing.attempts_of(tx, view.invoice.ref)
        return self._usable(known) or self._new(view.invoice.ref, known)

    def _usable(self, known: tuple[Attempt, ...]) -> Attempt | None:
        attempt = open_attempt(known, now=self._clock.now())
        if attempt is None:
            return None
        provider = self._connections.provider(attempt.connection)
        if not isinstance(provider, SupportsCheckoutStatus) or attempt.session is None:
            return attempt
        session = attempt.session
        return attempt if self._ask(attempt.connection, lambda: provider.checkout_usable(session)) else None

    def _new(self, invoice: Ref, known: tuple[Attempt, ...]) -> Attempt | None:
        """Open the attempt after the known ones through the outbox: a double click or a due retry is the same one."""
        with self._db.begin() as tx:
            asked = plan_now(tx, invoice, _next_number(known), present=True, now=self._clock.now())
        effect_id, first = asked.effect or 0, asked.attempt
        row, attempt = self._look(effect_id, invoice, first)
        for wait in WAITS:
            if attempt is not None or not self._goes_on(row):
                break
            self._deliver(effect_id)
            row, attempt = self._look(effect_id, invoice, first)
            if attempt is None and self._goes_on(row):
                pause(wait)
        if attempt is None and row is not None and row.status is EffectStatus.DEAD:
            raise Refused(row.error or "The payment provider refused.")
        return attempt

    def _look(self, effect_id: int, invoice: Ref, first: int) -> tuple[EffectRow | None, Attempt | None]:
        with self._db.read() as tx:
            newer = tuple(each for each in billing.attempts_of(tx, invoice) if each.number >= first)
            return outbox.get(tx, effect_id), open_attempt(newer, now=self._clock.now())

    def _goes_on(self, row: EffectRow | None) -> bool:
        """Tell whether looking again may help: somebody is at it, or it is to go round once more at once."""
        if row is None:
            return False
        if row.status is EffectStatus.RUNNING:
            return True
        return row.status is EffectStatus.PENDING and row.due_at <= self._clock.now()


def _next_number(attempts: tuple[Attempt, ...]) -> int:
    """Return the number of the attempt to open: one that was planned and not yet asked for is taken up again."""
    newest = max(attempts, key=lambda attempt: attempt.number, default=None)
    if newest is None:
        return 1
    return newest.number if newest.status is AttemptStatus.PLANNED else newest.number + 1


_UNDER_WAY = (AttemptStatus.PROCESSING, AttemptStatus.UNKNOWN)


def _state(invoice: Invoice, attempts: tuple[Attempt, ...]) -> PayState:
    if invoice.status is InvoiceStatus.VOIDED:
        return PayState.VOID
    if invoice.balance > 0 and any(attempt.status in _UNDER_WAY for attempt in attempts):
        return PayState.PROCESSING  # nothing else is begun until its outcome is known
    match invoice.payment_status:
        case PaymentStatus.SUCCEEDED:
            return PayState.PAID
        case PaymentStatus.PROCESSING:
            return PayState.PROCESSING
        case PaymentStatus.FAILED:
            return PayState.FAILED
        case _:
            return PayState.OPEN


def needs_customer(decline: Decline | None) -> bool:
    """Say whether the bank only wants the customer to confirm: the same method may then be taken again."""
    return decline is not None and decline.kind is DeclineClass.AUTHENTICATION
