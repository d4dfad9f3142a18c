"""Collecting one invoice: take the key, look at the invoice as it is now, ask the provider, keep what it said.

Used by the outbox and by the pay page: both take the same key before anybody is asked, so an invoice has one attempt
under each number whoever began it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from billhook.clock import Clock
from billhook.effects import collection_key
from billhook.errors import Refused
from billhook.model import Attempt, AttemptStatus, Customer, Invoice, InvoiceStatus, Mandate, Ref
from billhook.money import Money
from billhook.projections import WRITTEN_OFF
from billhook.provider import BillingEngine, Collected, CollectRequest, CollectState, PaymentProvider
from billhook_web.db import Tx
from billhook_web.services import answers
from billhook_web.services.connections import Connections
from billhook_web.services.recording import Recorder
from billhook_web.stores import accounts, billing, ledger

log = structlog.get_logger(__name__)

FRESH = timedelta(minutes=5)
"""A statement of the billing engine older than this is asked for again before money moves."""

_AFTER = {
    CollectState.OPEN: AttemptStatus.OPEN,
    CollectState.PROCESSING: AttemptStatus.PROCESSING,
    CollectState.SUCCEEDED: AttemptStatus.PROCESSING,  # the webhook or a look-up will say so with its facts
    CollectState.DECLINED: AttemptStatus.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything needed to collect, gathered before the call."""

    attempt: Attempt
    request: CollectRequest
    provider: PaymentProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """What we know of the invoice is too old to move money by: ask ``engine`` first, then plan again."""

    engine: BillingEngine


class Collecting:
    """Runs attempts to collect."""

    def __init__(
        self, *, clock: Clock, connections: Connections, recorder: Recorder, public_url: str,
        new_token: Callable[[], str],
    ) -> None:  # fmt: skip
        self._clock = clock
        self._connections = connections
        self._recorder = recorder
        self._public_url = public_url
        self._new_token = new_token

    def plan(self, tx: Tx, invoice_ref: Ref, *, attempt: int, present: bool) -> Plan | Stale | str:
        """Take the attempt's key and gather what the provider needs; a text says why nothing is to be done.

        :raises Refused: nothing is connected that could collect.
        """
        invoice = billing.invoices.get(tx, invoice_ref)
        if invoice is None or invoice.status is not InvoiceStatus.FINALIZED:
            return "The invoice is not to be paid: it is a draft or void."
        if invoice.balance == 0:
            return "Nothing is due on the invoice any more."
        if WRITTEN_OFF in invoice.flags and not present:
            return "The invoice is written off: only the customer may still pay it."
        others = [each for each in billing.attempts_of(tx, invoice_ref) if each.number != attempt]
        if any(each.status in (AttemptStatus.PROCESSING, AttemptStatus.UNKNOWN) for each in others):
            return "Another attempt is under way: its outcome decides whether this one is needed."
        provider = self._connections.collector()
        if provider is None:
            raise Refused("No payment provider is connected: add one to BILLHOOK_CONNECTIONS.")
        begun = billing.get_attempt(tx, collection_key(invoice_ref, attempt)) is not None
        if not begun and self._is_old(tx, invoice_ref):
            return Stale(engine=self._connections.engine(invoice_ref.connection))
        taken = self._take(tx, invoice, attempt, provider)
        return Plan(
            attempt=taken,
            request=self._request(tx, invoice, taken, provider, present=present),
            provider=self._connections.provider(taken.connection),
        )

    def target(self, tx: Tx, invoice_ref: Ref, *, attempt: int) -> str:
        """Return the connection that :meth:`plan` will have called: the billing engine while our word is old."""
        begun = billing.get_attempt(tx, collection_key(invoice_ref, attempt))
        if begun is not None:
            return begun.connection
        provider = self._connections.collector()
        if provider is None or self._is_old(tx, invoice_ref):
            return invoice_ref.connection
        return provider.connection

    def call(self, plan: Plan, *, again: bool) -> Collected:
        """Ask the provider, after a look when an earlier try may have gone through. No transaction is open."""
        name, request = plan.attempt.connection, plan.request
        found = answers.found(plan.provider.find_collected(request), name) if again else None
        return found or answers.collected(plan.provider.collect(request), name)

    def record(self, tx: Tx, plan: Plan, collected: Collected) -> tuple[int, ...]:
        """Keep what the provider said; a payment's own facts come by webhook and are never overwritten here."""
        current = billing.get_attempt(tx, plan.attempt.key) or plan.attempt
        settled = current.status in (AttemptStatus.SUCCEEDED, AttemptStatus.FAILED)
        attempt = replace(
            current,
            status=current.status if settled else _AFTER[collected.state],
            by=collected.by,
            session=collected.session or current.session,
            url=collected.url or current.url,
            expires_at=collected.expires_at or current.expires_at,
            payment=collected.payment or current.payment,
        )
        billing.put_attempt(tx, attempt)
        log.info("invoice.asked_for", invoice=str(attempt.invoice), key=attempt.key, by=collected.by)
        if collected.payment is None:
            return ()
        return self._recorder.adopt(tx, collected.payment, attempt.invoice, now=self._clock.now())

    def pay_url(self, tx: Tx, invoice: Ref) -> str:
        """Return our own address where the invoice can be paid; it never changes."""
        token = billing.pay_token(tx, invoice, candidate=self._new_token(), now=self._clock.now())
        return f"{self._public_url}/pay/{token}"

    def _mandates(self, tx: Tx, customer: Customer, connection: str) -> tuple[Mandate, ...]:
        """Return the customer's mandates here: by our id on them, or by the id the customer has there."""
        found = {each.ref: each for each in billing.mandates.of_customer(tx, customer.id)}
        there = customer.provider_ids.get(connection)
        if there is not None:
            named = billing.mandates.of_alias(tx, connection, there)
            found |= {each.ref: each for each in named if each.customer_id in (None, customer.id)}
        return tuple(found[ref] for ref in sorted(found) if ref.connection == connection)

    def _is_old(self, tx: Tx, invoice: Ref) -> bool:
        heard_at = ledger.heard_at(tx, str(invoice))
        return heard_at is None or self._clock.now() - heard_at > FRESH

    def _take(self, tx: Tx, invoice: Invoice, number: int, provider: PaymentProvider) -> Attempt:
        key = collection_key(invoice.ref, number)
        fresh = Attempt(
            key=key,
            invoice=invoice.ref,
            number=number,
            connection=provider.connection,
            status=AttemptStatus.PLANNED,
            amount=Money(invoice.balance, invoice.currency),
            created_at=self._clock.now(),
        )
        if billing.add_attempt(tx, fresh):
            return fresh
        taken = billing.get_attempt(tx, key)
        if taken is None:
            raise Refused(f"Attempt {number} on {invoice.ref} was taken under another key.")
        return taken

    def _request(
        self, tx: Tx, invoice: Invoice, attempt: Attempt, provider: PaymentProvider, *, present: bool
    ) -> CollectRequest:
        row = accounts.get_customer(tx, invoice.customer_id) if invoice.customer_id else None
        return CollectRequest(
            key=attempt.key,
            attempt=attempt.number,
            invoice=invoice.ref,
            number=invoice.number,
            amount=attempt.amount,
            taxes=min(invoice.taxes, attempt.amount.minor),
            customer=row.customer if row else None,
            metadata=self._connections.metadata_for(
                invoice.ref, number=invoice.number, customer_id=invoice.customer_id, key=attempt.key
            ),
            return_url=self.pay_url(tx, invoice.ref),
            since=attempt.created_at,
            mandates=self._mandates(tx, row.customer, provider.connection) if row else (),
            present=present,
        )


def open_attempt(attempts: tuple[Attempt, ...], *, now: datetime) -> Attempt | None:
    """Return the newest attempt whose checkout can still be paid, as far as we know."""
    usable = [
        each
        for each in attempts
        if each.status is AttemptStatus.OPEN
        and each.url
        and (each.expires_at is None or each.expires_at > now)
    ]
    return max(usable, key=lambda each: each.number, default=None)
