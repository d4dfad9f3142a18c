"""One function per kind of effect: what to ask of which provider, and what to keep of the answer.

``prepare`` runs in a transaction and returns a :class:`Job` (the call, made outside any transaction, and what to record
of its result, in the next one) or a :class:`Skip`: the effect is no longer needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from billhook.clock import Clock
from billhook.effects import (
    ArrangeMethod,
    CancelSubscription,
    ChooseMethod,
    CloseRefund,
    CollectInvoice,
    Effect,
    IssueCreditNote,
    RecordFailure,
    RecordPayment,
    RefundPayment,
    SendPortalLinks,
    SyncCustomer,
)
from billhook.errors import Conflict, Refused
from billhook.events import Event, RefundChanged
from billhook.model import InvoiceStatus, PaymentStatus, Ref, Refund, RefundStatus, Snapshot
from billhook.provider import (
    BillingEngine,
    CreditNoteRequest,
    PaymentRecord,
    Recorded,
    RefundRequest,
    SupportsCreditNotes,
    SupportsDefaultMethod,
    SupportsRefunds,
)
from billhook_web.db import Tx
from billhook_web.services import answers, cancelling
from billhook_web.services.arranging import Arranged, Arranging
from billhook_web.services.collecting import Collecting, Plan, Stale
from billhook_web.services.connections import ATTEMPT_KEY, CREDIT_NOTE_KEY, Connections
from billhook_web.services.portal_letters import LetterWriter
from billhook_web.services.recording import Recorder
from billhook_web.stores import accounts, billing
from billhook_web.stores.accounts import Sync, SyncStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """The effect is no longer needed, and why."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What recording a result came to: a note for the operator, new effects to wake, or: go round again now."""

    note: str | None = None
    effects: tuple[int, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A call to make and what to do with its answer. ``refused`` runs when the provider says no."""

    call: Callable[[], Any]
    record: Callable[[Tx, Any], Outcome]
    refused: Callable[[Tx, Refused], None] = lambda _tx, _exc: None


class Jobs:
    """Makes a job of an effect."""

    def __init__(
        self, *, clock: Clock, connections: Connections, recorder: Recorder, collecting: Collecting,
        arranging: Arranging, letters: LetterWriter,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._connections = connections
        self._recorder = recorder
        self._collecting = collecting
        self._arranging = arranging
        self._letters = letters

    def target(self, tx: Tx, effect: Effect) -> str:
        """Return the connection whose provider :meth:`prepare` will have called."""
        match effect:
            case CollectInvoice():
                return self._collecting.target(tx, effect.invoice, attempt=effect.attempt)
            case RefundPayment():
                return effect.payment.connection
            case SyncCustomer() | ArrangeMethod() | ChooseMethod():
                return effect.connection
            case CancelSubscription():
                return effect.subscription.connection
            case SendPortalLinks():
                return effect.channel
            case RecordPayment() | RecordFailure() | IssueCreditNote() | CloseRefund():
                return effect.invoice.connection

    def prepare(self, tx: Tx, effect: Effect, *, again: bool, since: datetime) -> Job | Skip:
        """Look at the world as it is now and say what to do. ``again``: it may have been done, so look first.

        :raises Refused: it cannot be done here; says why.
        """
        match effect:
            case CollectInvoice():
                return self._collect(tx, effect, again=again)
            case RecordPayment():
                return self._record_payment(tx, effect, again=again)
            case RecordFailure():
                return self._record_failure(tx, effect)
            case IssueCreditNote():
                return self._issue_credit_note(tx, effect, again=again)
            case RefundPayment():
                return self._refund_payment(tx, effect, again=again, since=since)
            case CloseRefund():
                return self._close_refund(effect)
            case SyncCustomer():
                return self._sync_customer(tx, effect)
            case CancelSubscription():
                return self._cancel_subscription(tx, effect)
            case ArrangeMethod() | ChooseMethod() | SendPortalLinks():
                return self._from_the_portal(tx, effect, since=since)

    def _collect(self, tx: Tx, effect: CollectInvoice, *, again: bool) -> Job | Skip:
        plan = self._collecting.plan(tx, effect.invoice, attempt=effect.attempt, present=effect.present)
        match plan:
            case str():
                return Skip(why=plan)
            case Stale():
                return self._refresh(plan.engine, effect.invoice)
            case Plan():
                return Job(
                    call=lambda: self._collecting.call(plan, again=again),
                    record=lambda tx, result: Outcome(
                        note=result.note, effects=self._collecting.record(tx, plan, result)
                    ),
                )

    def _refresh(self, engine: BillingEngine, invoice: Ref) -> Job:
        """Hear the engine's newest word on an invoice, then decide again what to do about it."""

        def call() -> Sequence[Event]:
            facts = answers.facts(engine.fetch_invoice(invoice), "fetch_invoice")
            if not facts:
                raise Refused(f"The billing engine says nothing about invoice {invoice}.")
            return facts

        def record(tx: Tx, facts: Sequence[Event]) -> Outcome:
            return Outcome(effects=self._apply(tx, facts).effects, again=True)

        return Job(call=call, record=record)

    def _record_payment(self, tx: Tx, effect: RecordPayment, *, again: bool) -> Job | Skip:
        invoice = billing.invoices.get(tx, effect.invoice)
        if invoice is not None and invoice.status is InvoiceStatus.VOIDED:
            raise Refused("The invoice is void, yet it was paid: refund the payment or bill it anew.")
        if invoice is not None and invoice.engine_status is PaymentStatus.SUCCEEDED and not invoice.disputed:
            return Skip(why="The billing engine has the invoice as paid already.")
        engine = self._connections.engine(effect.invoice.connection)
        entry = PaymentRecord(
            invoice=effect.invoice,
            reference=effect.payment.id,
            amount=effect.amount,
            paid_at=effect.paid_at,
            look_first=again,
        )
        return Job(
            call=lambda: answers.recorded(engine.record_payment(entry), "record_payment"), record=self._told
        )

    def _record_failure(self, tx: Tx, effect: RecordFailure) -> Job | Skip:
        invoice = billing.invoices.get(tx, effect.invoice)
        if invoice is None or invoice.status is not InvoiceStatus.FINALIZED or invoice.balance == 0:
            return Skip(why="Nothing is due on the invoice any more.")
        engine = self._connections.engine(effect.invoice.connection)
        return Job(
            call=lambda: answers.recorded(engine.record_failure(effect.invoice), "record_failure"),
            record=self._told,
        )

    def _issue_credit_note(self, tx: Tx, effect: IssueCreditNote, *, again: bool) -> Job | Skip:
        snapshot = self._recorder.snapshot(tx, effect.invoice)
        ours = [note for note in snapshot.credit_notes if note.for_refund == effect.refund]
        if any(note.refund_status is not RefundStatus.PENDING for note in ours):  # else it is ours to close
            return Skip(why="The billing engine has a credit note for this refund already.")
        engine = self._connections.engine(effect.invoice.connection)
        if not isinstance(engine, SupportsCreditNotes):
            return Skip(why="Recorded here only: the billing engine keeps no credit notes.")
        request = CreditNoteRequest(
            invoice=effect.invoice,
            refund=effect.refund,
            amount=effect.amount,
            reason=effect.reason,
            look_first=again,
        )
        return Job(
            call=lambda: answers.recorded(engine.issue_credit_note(request), "issue_credit_note"),
            record=self._told,
        )

    def _close_refund(self, effect: CloseRefund) -> Job | Skip:
        engine = self._connections.engine(effect.invoice.connection)
        if not isinstance(engine, SupportsCreditNotes):
            return Skip(why="The billing engine keeps no credit notes.")
        return Job(
            call=lambda: answers.recorded(
                engine.close_refund(effect.credit_note, succeeded=effect.succeeded), "close_refund"
            ),
            record=self._told,
        )

    def _refund_payment(self, tx: Tx, effect: RefundPayment, *, again: bool, since: datetime) -> Job | Skip:
        snapshot = self._recorder.snapshot(tx, effect.invoice)
        if not again and not _still_owed(snapshot):
            return Skip(why="The credit notes of this invoice are covered by refunds that were made.")
        provider = self._connections.provider(effect.payment.connection)
        if not isinstance(provider, SupportsRefunds):
            raise Refused(
                f"{provider.info.title} cannot refund through its API: refund the payment there by hand."
            )
        payment = next((each for each in snapshot.payments if each.ref == effect.payment), None)
        request = RefundRequest(
            key=effect.key,
            payment=effect.payment,
            amount=effect.amount,
            whole=payment is not None and payment.refunded == 0 and payment.applied == effect.amount,
            reason=effect.reason,
            metadata={CREDIT_NOTE_KEY: str(effect.credit_note), ATTEMPT_KEY: effect.key},
            since=since,
        )

        def call() -> Ref:
            found = provider.find_refund(request) if again else None
            name = effect.payment.connection
            return answers.ref(found or provider.refund(request), name, "refund")

        return Job(call=call, record=lambda tx, ref: self._apply(tx, [_refund_asked(effect, ref)]))

    def _told(self, tx: Tx, recorded: Recorded) -> Outcome:
        """Keep what the engine answered, and what it says stands now."""
        return replace(self._apply(tx, recorded.facts), note=recorded.note)

    def _apply(self, tx: Tx, events: Sequence[Event]) -> Outcome:
        return Outcome(effects=self._recorder.hear(tx, events, now=self._clock.now()).effects)

    def _sync_customer(self, tx: Tx, effect: SyncCustomer) -> Job | Skip:
        row = accounts.get_customer(tx, effect.customer_id)
        if row is None:
            return Skip(why="The customer was removed.")
        if row.erased_at is not None:
            return Skip(why="The customer's personal data was erased.")
        engine = self._connections.engine(effect.connection)
        version = (
            row.version
        )  # what is sent is the newest; a later version finds its own work done and repeats it

        def sync(status: SyncStatus, *, field: str | None = None, detail: str | None = None) -> Sync:
            return Sync(
                connection=effect.connection,
                version=version,
                status=status,
                at=self._clock.now(),
                field=field,
                detail=detail,
            )

        def record(tx: Tx, ref: Ref) -> Outcome:
            accounts.link(tx, effect.customer_id, effect.connection, ref.id)
            accounts.put_sync(tx, effect.customer_id, sync(SyncStatus.SYNCED))
            return Outcome()

        def refused(tx: Tx, exc: Refused) -> None:
            status = SyncStatus.CONFLICT if isinstance(exc, Conflict) else SyncStatus.FAILED
            accounts.put_sync(tx, effect.customer_id, sync(status, field=exc.field, detail=str(exc)))

        def call() -> Ref:
            return answers.ref(engine.upsert_customer(row.customer), effect.connection, "upsert_customer")

        return Job(call=call, record=record, refused=refused)

    def _cancel_subscription(self, tx: Tx, effect: CancelSubscription) -> Job | Skip:
        why = cancelling.not_needed(tx, effect)
        if why is not None:
            return Skip(why=why)
        engine, found = cancelling.cancel(tx, self._connections, effect)
        # The engine tells of the end itself, by a webhook: its answer is not a fact yet.
        return Job(
            call=lambda: engine.cancel(found, when=cancelling.when(effect)),
            record=lambda _tx, _subscription: Outcome(
                note=f"Ended because the customer is {effect.standing}."
            ),
        )

    def _send_portal_links(self, tx: Tx, effect: SendPortalLinks, *, since: datetime) -> Job | Skip:
        letters = self._letters.write(tx, effect, since=since)
        if isinstance(letters, str):
            return Skip(why=letters)

        def record(tx: Tx, mails: int) -> Outcome:
            self._letters.note(tx, effect)
            return Outcome(note=f"Mails sent: {mails}.")

        return Job(call=letters.send, record=record)

    def _from_the_portal(
        self, tx: Tx, effect: ArrangeMethod | ChooseMethod | SendPortalLinks, *, since: datetime
    ) -> Job | Skip:
        match effect:
            case ArrangeMethod():
                return self._arrange_method(tx, effect)
            case ChooseMethod():
                return self._choose_method(effect)
            case SendPortalLinks():
                return self._send_portal_links(tx, effect, since=since)

    def _arrange_method(self, tx: Tx, effect: ArrangeMethod) -> Job | Skip:
        row = accounts.get_customer(tx, effect.customer_id)
        if row is None or row.erased_at is not None:
            return Skip(why="The customer is not known here any more.")
        customer, connection, setup = row.customer, effect.connection, effect.setup
        wish = self._arranging.wished(tx, connection, setup)
        if wish is None:
            return Skip(why="The method was not added on our pages: nothing is wished of it.")
        if self._arranging.settled(tx, connection, setup) is not None:
            return Skip(why="The customer came back to the page: it was done then.")

        def record(tx: Tx, done: Arranged | None) -> Outcome:
            if done is None:
                return Outcome(note="Nothing was saved, or it was removed meanwhile.")
            return Outcome(effects=self._arranging.settle(tx, customer.id, done).effects)

        return Job(
            call=lambda: self._arranging.look_and_fulfil(customer, connection, setup, wish), record=record
        )

    def _choose_method(self, effect: ChooseMethod) -> Job | Skip:
        engine = self._connections.engine(effect.connection)
        if not isinstance(engine, SupportsDefaultMethod):
            return Skip(why="The billing engine keeps no payment methods.")

        def record(_tx: Tx, kept: bool) -> Outcome:
            return Outcome(note=None if kept else "The billing engine does not keep this payment method.")

        return Job(
            call=lambda: answers.flag(
                engine.choose_method(effect.customer_id, effect.method), "choose_method"
            ),
            record=record,
        )


def _refund_asked(effect: RefundPayment, ref: Ref) -> RefundChanged:
    """Our own word that a refund was asked for: it ties the provider's refund to the credit note."""
    return RefundChanged(
        ref=ref,
        payment=effect.payment,
        status=RefundStatus.PENDING,
        amount=effect.amount,
        reason=effect.reason,
        metadata={CREDIT_NOTE_KEY: str(effect.credit_note)},
    )


def _still_owed(snapshot: Snapshot) -> bool:
    """Compare what credit notes promise with what was given back: our own credit notes come after a refund."""
    promised = sum(note.refund for note in snapshot.credit_notes)
    made = [refund for refund in snapshot.refunds if refund.status is not RefundStatus.FAILED]
    return promised > sum(_amount(refund, snapshot) for refund in made)


def _amount(refund: Refund, snapshot: Snapshot) -> int:
    if refund.amount is not None:
        return refund.amount.minor
    return next(payment.amount.minor for payment in snapshot.payments if payment.ref == refund.payment)
