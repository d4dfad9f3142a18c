"""Computing what the facts of the ledger amount to: invoices, payments, subscriptions and what hangs on them.

Whatever a fact touches is computed from *all* facts known about it (:mod:`billhook.projections`), so the order in which
they came does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from billhook.effects import credit_note_of
from billhook.events import (
    CreditNoteIssued,
    CustomerObserved,
    DisputeChanged,
    Event,
    InvoiceEvent,
    MandateChanged,
    PaymentEvent,
    RefundChanged,
    SubscriptionEvent,
)
from billhook.model import Attempt, AttemptStatus, Dispute, Invoice, Payment, PaymentStatus, Ref, Refund
from billhook.money import Money
from billhook.projections import (
    check_amount,
    project_credit_note,
    project_customer,
    project_dispute,
    project_invoice,
    project_mandate,
    project_payment,
    project_refund,
    project_subscription,
)
from billhook_web.db import Tx, lock
from billhook_web.services.connections import ATTEMPT_KEY, CREDIT_NOTE_KEY, Connections
from billhook_web.stores import accounts, billing, ledger
from billhook_web.stores.billing import Row
from billhook_web.stores.ledger import About

_ATTEMPT_AFTER = {
    PaymentStatus.SUCCEEDED: AttemptStatus.SUCCEEDED,
    PaymentStatus.FAILED: AttemptStatus.FAILED,
    PaymentStatus.CANCELED: AttemptStatus.FAILED,
    PaymentStatus.PROCESSING: AttemptStatus.PROCESSING,
}


class Projector:
    """Keeps the projections, in the caller's transaction."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def project(self, tx: Tx, fact: Event, about: About, *, now: datetime) -> None:
        """Compute anew what a fact of the ledger touches."""
        if isinstance(fact, CustomerObserved):
            self._project_customer(tx, fact, now=now)
        elif isinstance(fact, SubscriptionEvent):
            self._project_subscription(tx, about)
        elif isinstance(fact, MandateChanged):
            self._project_mandate(tx, about)
        elif about.payment is not None:
            self._project_payment_of_invoice(tx, Ref.parse(about.payment))
        elif about.invoice is not None:
            self.project_invoice(tx, Ref.parse(about.invoice))

    def _project_customer(self, tx: Tx, fact: CustomerObserved, *, now: datetime) -> None:
        seen = [
            each for each in ledger.about_subject(tx, str(fact.ref)) if isinstance(each, CustomerObserved)
        ]
        latest = project_customer(seen)
        accounts.put_customer(tx, latest.customer_id, observed=accounts.fields_of(latest), now=now)
        accounts.link(tx, latest.customer_id, latest.ref.connection, latest.ref.id)
        for connection, provider_id in latest.provider_ids.items():
            accounts.link(tx, latest.customer_id, connection, provider_id)

    def _project_subscription(self, tx: Tx, about: About) -> None:
        facts = [
            each for each in ledger.about_subject(tx, about.subject) if isinstance(each, SubscriptionEvent)
        ]
        subscription = project_subscription(facts)
        first = min(each.at for each in facts if each.at is not None)
        row = Row(
            customer_id=subscription.customer_id,
            status=subscription.status,
            at=subscription.started_at or first,
            alias=subscription.external_id,
        )
        billing.subscriptions.put(tx, subscription.ref, subscription, row)

    def _project_mandate(self, tx: Tx, about: About) -> None:
        facts = [each for each in ledger.about_subject(tx, about.subject) if isinstance(each, MandateChanged)]
        owners = (self._connections.customer_of(fact.metadata) for fact in facts)
        mandate = project_mandate(facts, customer_id=next((owner for owner in owners if owner), None))
        row = Row(
            customer_id=mandate.customer_id,
            status=mandate.status,
            at=mandate.at,
            alias=mandate.provider_customer,
        )
        billing.mandates.put(tx, mandate.ref, mandate, row)

    def _project_payment_of_invoice(self, tx: Tx, payment: Ref) -> None:
        """A payment, refund or dispute: with the invoice it is for, and with others that its facts name as well."""
        invoices = ledger.invoices_of(tx, str(payment))
        if not invoices:
            self._project_payment(tx, payment, invoice=None)
        lock(tx, (f"invoice/{invoice}" for invoice in invoices))
        for invoice in invoices:
            self.project_invoice(tx, Ref.parse(invoice))

    def project_invoice(self, tx: Tx, ref: Ref) -> None:
        """Compute an invoice anew, with the payments, refunds, disputes and credit notes that hang on it."""
        facts = ledger.about_invoice(tx, str(ref))
        own = [fact for fact in facts if isinstance(fact, InvoiceEvent)]
        bare = project_invoice(own)
        named_by = sorted({fact.ref for fact in facts if isinstance(fact, PaymentEvent)})
        paid_by = [each for each in named_by if ledger.invoices_of(tx, str(each))[:1] == [str(ref)]]
        projected = [self._project_payment(tx, payment, invoice=(ref, bare)) for payment in paid_by]
        self._project_credit_notes(tx, facts, bare)
        invoice = project_invoice(own, [payment for payment in projected if payment is not None])
        if invoice is None:
            return
        at = invoice.finalized_at or invoice.observed_at
        assert at is not None  # noqa: S101 - it was computed from at least one dated fact
        row = Row(customer_id=invoice.customer_id, status=invoice.payment_status, at=at)
        billing.invoices.put(tx, ref, invoice, row)

    def _project_credit_notes(self, tx: Tx, facts: Sequence[Event], invoice: Invoice | None) -> None:
        issued = [fact for fact in facts if isinstance(fact, CreditNoteIssued)]
        for ref in sorted({fact.ref for fact in issued}):
            note = project_credit_note([fact for fact in issued if fact.ref == ref])
            row = Row(
                customer_id=invoice.customer_id if invoice else None,
                status=note.refund_status or "issued",
                at=note.at,
                invoice=note.invoice,
            )
            billing.credit_notes.put(tx, ref, note, row)

    def _project_payment(
        self, tx: Tx, ref: Ref, *, invoice: tuple[Ref, Invoice | None] | None
    ) -> Payment | None:
        facts = ledger.about_payment(tx, str(ref))
        own = [fact for fact in facts if isinstance(fact, PaymentEvent)]
        owner, document = invoice or (None, None)
        customer_id = document.customer_id if document else None
        refunds = self._project_refunds(tx, facts, owner, customer_id)
        disputes = self._project_disputes(tx, facts, owner, customer_id)
        if not own:
            return None
        attempt = attempt_of(tx, own)
        key = next((fact.metadata[ATTEMPT_KEY] for fact in own if fact.metadata.get(ATTEMPT_KEY)), None)
        payment = project_payment(
            own,
            invoice=owner,
            customer_id=customer_id,
            key=key or (attempt.key if attempt else None),
            refunds=refunds,
            disputes=disputes,
        )
        payment = check_amount(payment, own, expected=_expected(attempt, document))
        row = Row(customer_id=customer_id, status=payment.status, at=payment.at, invoice=owner)
        billing.payments.put(tx, ref, payment, row)
        self._note_on_attempt(tx, attempt, payment)
        if customer_id is not None:
            self._link_customer(tx, customer_id, own)
        return payment

    def _project_refunds(
        self, tx: Tx, facts: Sequence[Event], owner: Ref | None, customer_id: str | None
    ) -> list[Refund]:
        changes = [fact for fact in facts if isinstance(fact, RefundChanged)]
        refunds = []
        for ref in sorted({fact.ref for fact in changes}):
            mine = [fact for fact in changes if fact.ref == ref]
            named = sorted({note for fact in mine if (note := _credit_note_named_by(fact))})
            refund = project_refund(mine, credit_note=named[0] if named else None)
            row = Row(
                customer_id=customer_id,
                status=refund.status,
                at=refund.at,
                invoice=owner,
                payment=refund.payment,
            )
            billing.refunds.put(tx, ref, refund, row)
            refunds.append(refund)
        return refunds

    def _project_disputes(
        self, tx: Tx, facts: Sequence[Event], owner: Ref | None, customer_id: str | None
    ) -> list[Dispute]:
        changes = [fact for fact in facts if isinstance(fact, DisputeChanged)]
        disputes = []
        for ref in sorted({fact.ref for fact in changes}):
            dispute = project_dispute([fact for fact in changes if fact.ref == ref])
            row = Row(
                customer_id=customer_id,
                status=dispute.status,
                at=dispute.at,
                invoice=owner,
                payment=dispute.payment,
            )
            billing.disputes.put(tx, ref, dispute, row)
            disputes.append(dispute)
        return disputes

    def _note_on_attempt(self, tx: Tx, attempt: Attempt | None, payment: Payment) -> None:
        status = _ATTEMPT_AFTER.get(payment.status)
        if attempt is None or status is None or attempt.status is AttemptStatus.SUCCEEDED:
            return
        billing.put_attempt(tx, replace(attempt, status=status, payment=payment.ref))

    def _link_customer(self, tx: Tx, customer_id: str, facts: Sequence[PaymentEvent]) -> None:
        for fact in facts:
            if fact.provider_customer:
                accounts.link(tx, customer_id, fact.ref.connection, fact.provider_customer)


def attempt_of(tx: Tx, facts: Sequence[PaymentEvent]) -> Attempt | None:
    """Return the try to collect that a payment came from: by our key on it, its checkout session, or its id."""
    for fact in facts:
        key = fact.metadata.get(ATTEMPT_KEY)
        found = billing.get_attempt(tx, key) if key else None
        if found is None and fact.session:
            found = billing.attempt_by_session(tx, fact.ref.connection, fact.session)
        if found is None:
            found = billing.attempt_by_payment(tx, fact.ref)
        if found is not None:
            return found
    return None


def take_turns(tx: Tx, facts: Iterable[Event]) -> None:
    """Serialise what computes the same payment or thing: of two at once, the later must see what the earlier wrote."""
    turns = (_turn_of(fact) for fact in facts)
    lock(tx, {turn for turn in turns if turn is not None})


def _turn_of(fact: Event) -> str | None:
    payment = payment_of(fact)
    if payment is not None:
        return f"payment/{payment}"
    return f"thing/{fact.ref}" if stands_alone(fact) else None


def stands_alone(fact: Event) -> bool:
    """Say whether what it is about is computed from its own facts alone, and belongs to no payment or invoice."""
    return isinstance(fact, CustomerObserved | SubscriptionEvent | MandateChanged)


def payment_of(fact: Event) -> Ref | None:
    """Return the payment a fact belongs to: itself, or the one that is refunded or disputed."""
    if isinstance(fact, PaymentEvent):
        return fact.ref
    return fact.payment if isinstance(fact, RefundChanged | DisputeChanged) else None


def _credit_note_named_by(refund: RefundChanged) -> Ref | None:
    """The credit note a refund was asked for by: named itself, or in the key we asked with."""
    named = refund.metadata.get(CREDIT_NOTE_KEY)
    key = refund.metadata.get(ATTEMPT_KEY, "")
    return Ref.parse(named) if named else credit_note_of(key)


def _expected(attempt: Attempt | None, invoice: Invoice | None) -> Money | None:
    """What a payment should bring: what the attempt asked for, else what the invoice was for."""
    if attempt is not None:
        return attempt.amount
    return Money(invoice.due, invoice.currency) if invoice is not None else None
