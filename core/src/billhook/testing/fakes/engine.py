"""A billing engine in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from billhook.clock import Clock
from billhook.errors import Conflict, NotFound, Refused
from billhook.events import CreditNoteIssued, Event, InvoiceFinalized, InvoiceObserved
from billhook.model import Customer, InvoiceStatus, PaymentStatus, Ref, RefundStatus
from billhook.money import Money
from billhook.provider import CreditNoteRequest, PaymentRecord, ProviderInfo, Recorded
from billhook.testing.fakes.strikes import Strikes, answered
from billhook.testing.sandbox import FaultKind


@dataclass(slots=True)
class _Invoice:
    customer_id: str
    total: Money
    at: datetime
    payments: list[tuple[str, int]] = field(default_factory=list)  # reference, minor units
    failed: bool = False

    @property
    def paid(self) -> int:
        return sum(amount for _, amount in self.payments)


@dataclass(slots=True)
class _CreditNote:
    invoice: Ref
    amount: Money
    refund_status: RefundStatus
    for_refund: Ref | None = None


class FakeEngine:
    """Keeps customers (an e-mail belongs to one of them), invoices, payments and credit notes.

    :meth:`bill` and :meth:`ask_refund` are what happens inside such an engine by itself; :meth:`facts_of` is what
    its webhooks would say.
    """

    def __init__(self, connection: str = "fakebill", *, clock: Clock) -> None:
        self.connection = connection
        self.info = ProviderInfo(plugin="fakebill", title="Fake billing")
        self.customers: dict[str, Customer] = {}
        self._clock = clock
        self._faults = Strikes()
        self._invoices: dict[str, _Invoice] = {}
        self._notes: dict[str, _CreditNote] = {}

    def fail_next(self, kind: FaultKind) -> None:
        """Let the next write go wrong."""
        self._faults.add(kind)

    # --- BillingEngine

    def upsert_customer(self, customer: Customer) -> Ref:
        """Create or change; an e-mail that another customer has is a conflict."""
        others = (each for each in self.customers.values() if each.id != customer.id)
        if customer.email is not None and any(each.email == customer.email for each in others):
            raise Conflict("another customer has this e-mail", code="value_already_exist", field="email")
        lost = self._faults.strike()
        self.customers[customer.id] = customer
        return answered(lost, Ref(self.connection, f"cus_{customer.id}"))

    def fetch_invoice(self, invoice: Ref) -> Sequence[Event]:
        """Say how it stands."""
        return self.facts_of(invoice)

    def record_payment(self, record: PaymentRecord) -> Recorded:
        """Enter a payment, at most what is due. Told twice it is there twice: the engine knows no keys."""
        found = self._invoice(record.invoice)
        if record.look_first and any(reference == record.reference for reference, _ in found.payments):
            return Recorded(ref=Ref(self.connection, record.reference), note="it was there already")
        if record.amount.minor > found.total.minor - found.paid:
            raise Refused("more than is due", code="value_is_out_of_range", field="amount")
        lost = self._faults.strike()
        found.payments.append((record.reference, record.amount.minor))
        found.failed = False
        return answered(lost, Recorded(ref=Ref(self.connection, record.reference)))

    def record_failure(self, invoice: Ref) -> Recorded:
        """Mark it failed, unless it is paid."""
        found = self._invoice(invoice)
        lost = self._faults.strike()
        found.failed = found.paid < found.total.minor
        return answered(lost, Recorded())

    # --- SupportsCreditNotes

    def issue_credit_note(self, request: CreditNoteRequest) -> Recorded:
        """Document a refund, at most what was paid. Told twice it is there twice."""
        known = (ref for ref, note in self._notes.items() if note.for_refund == request.refund)
        same = next(known, None) if request.look_first else None
        if same is not None:
            return Recorded(ref=Ref(self.connection, same), note="it was there already")
        if request.amount.minor > self._invoice(request.invoice).paid - self.credited(request.invoice):
            raise Refused("more than was paid", code="higher_than_remaining", field="amount")
        lost = self._faults.strike()
        note = _CreditNote(request.invoice, request.amount, RefundStatus.SUCCEEDED, request.refund)
        return answered(lost, Recorded(ref=self._add(note)))

    def close_refund(self, credit_note: Ref, *, succeeded: bool) -> Recorded:
        """Set how the refund ended."""
        if credit_note.id not in self._notes:
            raise NotFound(f"there is no credit note {credit_note.id}")
        lost = self._faults.strike()
        self._notes[credit_note.id].refund_status = (
            RefundStatus.SUCCEEDED if succeeded else RefundStatus.FAILED
        )
        return answered(lost, Recorded(ref=credit_note))

    # --- what happens there

    def bill(self, customer_id: str, total: Money) -> Ref:
        """Write an invoice."""
        number = f"inv_{len(self._invoices) + 1}"
        self._invoices[number] = _Invoice(customer_id, total, self._clock.now())
        return Ref(self.connection, number)

    def ask_refund(self, invoice: Ref, amount: Money) -> Ref:
        """Write a credit note that asks for its money to be given back."""
        return self._add(_CreditNote(invoice, amount, RefundStatus.PENDING))

    def facts_of(self, invoice: Ref) -> tuple[Event, ...]:
        """Say what is known of an invoice and its credit notes, at this instant."""
        found, now = self._invoice(invoice), self._clock.now()
        total, due = found.total.minor, found.total.minor - found.paid
        unpaid = PaymentStatus.FAILED if found.failed else PaymentStatus.PENDING
        finalized = InvoiceFinalized(
            at=found.at,
            ref=invoice,
            customer_id=found.customer_id,
            currency=found.total.currency,
            total=total,
            taxes=0,
            due=total,
        )
        observed = InvoiceObserved(
            at=now,
            ref=invoice,
            customer_id=found.customer_id,
            status=InvoiceStatus.FINALIZED,
            payment_status=PaymentStatus.SUCCEEDED if due == 0 else unpaid,
            currency=found.total.currency,
            total=total,
            due=due,
            paid=found.paid,
        )
        return finalized, observed, *self._notes_of(invoice, now)

    def paid(self, invoice: Ref) -> int:
        """Return what its books say was paid, in minor units."""
        return self._invoice(invoice).paid

    def credited(self, invoice: Ref) -> int:
        """Return what its credit notes give back, in minor units."""
        return sum(note.amount.minor for note in self._notes.values() if note.invoice == invoice)

    def _notes_of(self, invoice: Ref, now: datetime) -> list[CreditNoteIssued]:
        return [
            CreditNoteIssued(
                at=now,
                ref=Ref(self.connection, ref),
                invoice=invoice,
                amount=note.amount,
                refund=note.amount.minor,
                refund_status=note.refund_status,
                for_refund=note.for_refund,
            )
            for ref, note in self._notes.items()
            if note.invoice == invoice
        ]

    def _add(self, note: _CreditNote) -> Ref:
        number = f"cn_{len(self._notes) + 1}"
        self._notes[number] = note
        return Ref(self.connection, number)

    def _invoice(self, invoice: Ref) -> _Invoice:
        if invoice.id not in self._invoices:
            raise NotFound(f"there is no invoice {invoice.id}")
        return self._invoices[invoice.id]
