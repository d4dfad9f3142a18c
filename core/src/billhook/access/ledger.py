"""What invoices ask for and what payments brought, folded from facts in time order."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from billhook.access.facts import (
    Amended,
    Disputed,
    Finalized,
    Marked,
    PaymentChanged,
    Refunded,
    Reversed,
)
from billhook.access.rules import DisputeStage, Policy
from billhook.model import DeclineClass

LedgerFact = Finalized | Amended | Marked | PaymentChanged | Reversed | Refunded | Disputed

_CLASSES: Final = {
    "authentication_required": DeclineClass.AUTHENTICATION,
    "do_not_honor": DeclineClass.SOFT,
    "insufficient_funds": DeclineClass.SOFT,
    "issuer_not_available": DeclineClass.SOFT,
    "processing_error": DeclineClass.SOFT,
    "try_again_later": DeclineClass.SOFT,
    "withdrawal_count_limit_exceeded": DeclineClass.SOFT,
    "account_closed": DeclineClass.HARD,
    "expired_card": DeclineClass.HARD,
    "fraudulent": DeclineClass.HARD,
    "incorrect_number": DeclineClass.HARD,
    "lost_card": DeclineClass.HARD,
    "mandate_canceled": DeclineClass.HARD,
    "pickup_card": DeclineClass.HARD,
    "stolen_card": DeclineClass.HARD,
} | {each.value: each for each in DeclineClass}
"""What common decline codes mean where the fact does not say; a class is its own code."""


@dataclass(slots=True)
class Share:
    """The part of one payment that goes to one invoice."""

    invoice: str
    currency: str
    amount: int = 0
    pending_since: datetime | None = None
    waiting: bool = False  # the customer must act
    succeeded: int = 0


@dataclass(slots=True)
class PaymentState:
    """One payment: its shares by invoice, and what was taken back from it."""

    shares: dict[str, Share] = field(default_factory=dict)
    reversed: int = 0
    refunded: int = 0
    credited: int = 0
    opened: int = 0
    lost: int = 0

    def kept(self, invoice: str, policy: Policy) -> tuple[int, int]:
        """Return what is left of the share of ``invoice``, and by how much refunds lowered what is due.

        What was taken back comes off the youngest share first and never exceeds what a share brought.
        """
        taken = self.reversed + self.refunded + self.credited
        taken += self.lost if policy.dispute_lost == "unpaid" else 0
        taken += self.opened if policy.dispute_opened == "unpaid" else 0
        credited = self.credited
        for share in reversed(self.shares.values()):
            gone, lowered = min(taken, share.succeeded), min(credited, share.succeeded)
            if share.invoice == invoice:
                return share.succeeded - gone, lowered
            taken, credited = taken - gone, credited - lowered
        return 0, 0


@dataclass(slots=True)
class InvoiceState:
    """One invoice: the document, what was changed about it, and where it stands after the last fact."""

    id: str
    document: Finalized | None = None
    amended: int = 0
    voided: bool = False
    written_off: bool = False
    payments: dict[str, PaymentState] = field(default_factory=dict)
    first_failed_at: datetime | None = None
    failure: PaymentChanged | Reversed | None = None  # None: the latest attempt did not fail
    balance: int = 0
    covered_until: datetime | None = None
    given_back: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is issued and neither voided nor written off."""
        return self.document is not None and not self.voided and not self.written_off

    @property
    def is_open(self) -> bool:
        """Whether something is left to pay on it, in flight or not."""
        return self.counts and self.balance > 0

    @property
    def is_settled(self) -> bool:
        """Whether it is fully paid: nothing left to pay, and not because everything was refunded."""
        return self.counts and self.balance <= 0 and not self.given_back

    def unpaid_at(self, at: datetime) -> bool:
        """Whether it is open and no debit in flight covers it at that instant."""
        return self.is_open and (self.covered_until is None or self.covered_until <= at)

    def settle(self, policy: Policy) -> None:
        """Compute what follows from the facts: balance, and until when a debit in flight counts as paid."""
        document = self.document
        if document is None:
            return
        kept = lowered = brought = 0
        for payment in self.payments.values():
            share = payment.shares[self.id]
            if share.currency != document.currency:
                continue  # another currency never pays an invoice
            left, credit = payment.kept(self.id, policy)
            kept, lowered, brought = kept + left, lowered + credit, brought + share.succeeded
        self.balance = document.amount + self.amended - lowered - kept
        self.given_back = brought > 0 and kept == 0 and lowered > 0
        self.covered_until = self._covered_until(policy, document.currency)

    def _covered_until(self, policy: Policy, currency: str) -> datetime | None:
        trusted = policy.debit_counts_as_paid_for
        if trusted is None or self.balance <= 0:
            return None
        shares = (payment.shares[self.id] for payment in self.payments.values())
        starts = [
            share.pending_since
            for share in shares
            if share.pending_since is not None and share.amount >= self.balance and share.currency == currency
        ]
        return max(starts) + trusted if starts else None


def decline_words(failure: PaymentChanged | Reversed | None) -> tuple[str, ...]:
    """Return the decline code and class that a failure has, as far as they are known."""
    if not isinstance(failure, PaymentChanged) or failure.type != "payment.failed":
        return ()
    kind = failure.decline_class or _CLASSES.get(failure.decline or "")
    words = (failure.decline, kind.value if kind else None)
    return tuple(dict.fromkeys(word for word in words if word is not None))


def decline_matches(failure: PaymentChanged | Reversed | None, wanted: tuple[str, ...]) -> str | None:
    """Return the wanted decline code or class that a failure has, or None."""
    words = decline_words(failure)
    return next((each for each in wanted if each in words), None)


class Ledger:
    """Invoices and payments of one account."""

    def __init__(self, policy: Policy) -> None:
        self.invoices: dict[str, InvoiceState] = {}
        self.payments: dict[str, PaymentState] = {}
        self._disputes: dict[DisputeStage, list[str]] = {"opened": [], "lost": []}  # payments, in order
        self._policy = policy

    def apply(self, fact: LedgerFact) -> list[InvoiceState]:
        """Apply the next fact in time and return the invoices it touched."""
        touched = self._note(fact)
        for invoice in touched:
            invoice.settle(self._policy)
        return touched

    def disputed(self, stage: DisputeStage, subscription: str | None = None) -> str | None:
        """Return a payment whose dispute is undecided (``opened``) or ``lost``, or None.

        :param subscription: look only at invoices of this one and of the whole account.
        """
        for name in self._disputes[stage]:
            if subscription is None or self._concerns(name, subscription):
                return name
        return None

    def _concerns(self, payment: str, subscription: str) -> bool:
        for name in self.payments[payment].shares:
            document = self.invoices[name].document
            if document is None or not document.subscriptions or subscription in document.subscriptions:
                return True
        return False

    def _note(self, fact: LedgerFact) -> list[InvoiceState]:
        match fact:
            case Finalized():
                invoice = self._invoice(fact.invoice)
                invoice.document = fact
                return [invoice]
            case Amended():
                invoice = self._invoice(fact.invoice)
                invoice.amended += fact.amount if fact.type == "invoice.adjusted" else -fact.amount
                return [invoice]
            case Marked():
                return [self._mark(fact)]
            case PaymentChanged():
                return [self._attempt(fact)]
            case _:
                return self._take_back(fact)

    def _mark(self, fact: Marked) -> InvoiceState:
        invoice = self._invoice(fact.invoice)
        match fact.type:
            case "invoice.voided":
                invoice.voided = True
            case "invoice.written_off":
                invoice.written_off = True
            case "invoice.reinstated":
                invoice.written_off = False
        return invoice

    def _attempt(self, fact: PaymentChanged) -> InvoiceState:
        invoice = self._invoice(fact.invoice)
        payment = self._payment(fact.payment)
        share = payment.shares.setdefault(fact.invoice, Share(fact.invoice, fact.currency))
        invoice.payments[fact.payment] = payment
        if share.succeeded and fact.type != "payment.succeeded":
            return invoice  # success is final: money goes back by a reversal, a refund or a dispute only
        share.amount, share.currency = fact.amount, fact.currency
        share.waiting = fact.type == "payment.requires_action"
        failed = fact.type == "payment.failed"
        invoice.failure = fact if failed else None
        if failed and invoice.first_failed_at is None:
            invoice.first_failed_at = fact.at
        match fact.type:
            case "payment.pending":
                share.pending_since = share.pending_since or fact.at
            case "payment.succeeded":
                share.pending_since, share.succeeded = None, fact.amount
            case "payment.unknown":
                pass  # nobody knows: what was in flight stays so, within its limit
            case _:
                share.pending_since = None
        return invoice

    def _take_back(self, fact: Reversed | Refunded | Disputed) -> list[InvoiceState]:
        payment = self._payment(fact.payment)
        invoices = [self._invoice(name) for name in payment.shares]
        match fact:
            case Reversed():
                payment.reversed += fact.amount
                for invoice in invoices:
                    self._reverse(payment.shares[invoice.id], invoice, fact)
            case Refunded(credited=True):
                payment.credited += fact.amount
            case Refunded():
                payment.refunded += fact.amount
            case Disputed():
                self._dispute(payment, fact)
        return invoices

    def _reverse(self, share: Share, invoice: InvoiceState, fact: Reversed) -> None:
        share.pending_since = None
        if fact.cause == "late_failure":
            invoice.failure = fact
            invoice.first_failed_at = invoice.first_failed_at or fact.at

    def _dispute(self, payment: PaymentState, fact: Disputed) -> None:
        match fact.type:
            case "dispute.opened":
                payment.opened = fact.amount
            case "dispute.lost":
                payment.opened, payment.lost = 0, fact.amount
            case "dispute.won":
                payment.opened = payment.lost = 0
        self._note_dispute("opened", fact, holds=fact.type == "dispute.opened")
        if fact.type != "dispute.opened":  # money that is gone stays gone while the case is opened anew
            self._note_dispute("lost", fact, holds=fact.type == "dispute.lost")

    def _note_dispute(self, stage: DisputeStage, fact: Disputed, *, holds: bool) -> None:
        names = self._disputes[stage]
        place = bisect_left(names, fact.payment)
        known = names[place : place + 1] == [fact.payment]
        if holds and not known:
            names.insert(place, fact.payment)
        elif known and not holds:
            del names[place]

    def _invoice(self, name: str) -> InvoiceState:
        return self.invoices.setdefault(name, InvoiceState(name))

    def _payment(self, name: str) -> PaymentState:
        return self.payments.setdefault(name, PaymentState())
