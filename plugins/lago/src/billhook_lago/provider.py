"""Lago as a billing engine: customers, plans, subscriptions, invoices, and what we tell it about money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from billhook.errors import Conflict, Refused, Unsupported
from billhook.events import Event
from billhook.hookspecs import ConnectionContext
from billhook.model import Customer, InvoiceStatus, PaymentStatus, Plan, Ref, Subscription, Usage
from billhook.provider import (
    BillingEngine,
    CancelWhen,
    CreditNoteRequest,
    Finding,
    PaymentRecord,
    Recorded,
    SupportsCheck,
    SupportsCreditNotes,
    SupportsDefaultMethod,
    SupportsInvoicePdf,
    SupportsPlans,
    SupportsSubscriptions,
    SupportsUsage,
)
from billhook_lago import catalogue, mapping
from billhook_lago.check import findings
from billhook_lago.client import NO_LICENCE, LagoClient, lago_client, readable
from billhook_lago.config import LagoConfig
from billhook_lago.credit_notes import CreditNotes
from billhook_lago.customers import Customers
from billhook_lago.reading import Json, obj, obj_or_empty, text, text_or_none
from billhook_lago.subscriptions import Subscriptions
from billhook_lago.webhooks import INFO

_LONGEST_REFERENCE: Final = 40

_MARKED_PAID: Final = "marked paid without a payment, as Lago has no premium licence: Lago will refuse a credit note that refunds it"


def lago_engine(context: ConnectionContext) -> LagoEngine:
    """Return the engine of a connection; no call is made."""
    client, config = lago_client(context), context.config(LagoConfig)
    return LagoEngine(
        context.name,
        client,
        config,
        customers=Customers(context.name, client),
        subscriptions=Subscriptions(context.name, client, context.clock),
        credit_notes=CreditNotes(context.name, client, licence=config.licence),
    )


class LagoEngine(
    BillingEngine,
    SupportsCreditNotes,
    SupportsPlans,
    SupportsSubscriptions,
    SupportsInvoicePdf,
    SupportsUsage,
    SupportsDefaultMethod,
    SupportsCheck,
):
    """One Lago organisation. The protocols in :mod:`billhook.provider` say what each method promises."""

    info = INFO

    def __init__(
        self,
        connection: str,
        client: LagoClient,
        config: LagoConfig,
        *,
        customers: Customers,
        subscriptions: Subscriptions,
        credit_notes: CreditNotes,
    ) -> None:
        self.connection = connection
        self._client = client
        self._config = config
        self._customers = customers
        self._subscriptions = subscriptions
        self._credit_notes = credit_notes

    def upsert_customer(self, customer: Customer) -> Ref:
        """Create or change the customer; metadata that others put there stays."""
        return self._customers.upsert(customer)

    def fetch_invoice(self, invoice: Ref) -> Sequence[Event]:
        """Say how the invoice stands now."""
        body = self._invoice(invoice)
        with readable():
            return mapping.invoice_facts(self.connection, body)

    def record_payment(self, record: PaymentRecord) -> Recorded:
        """Enter a payment, or without a licence mark the invoice paid.

        Lago counts a repeated payment twice, so after a lost answer its payments are looked through for our
        reference.
        """
        if record.look_first and (known := self._known_payment(record)) is not None:
            return Recorded(ref=known)
        if self._config.licence == "free":
            return self._mark_paid(record)
        try:
            return self._post_payment(record)
        except Unsupported as exc:
            if exc.code != NO_LICENCE or self._config.licence == "premium":
                raise
            return self._mark_paid(record)
        except Conflict as exc:
            return self._paid_before(record, exc)

    def record_failure(self, invoice: Ref) -> Recorded:
        """Mark the last attempt as failed. Lago would take that even for a paid invoice, so we look first."""
        body = self._invoice(invoice)
        with readable():
            status, document = mapping.payment_status(body), mapping.invoice_status(body)
        if status is PaymentStatus.SUCCEEDED:
            return Recorded(note="Lago has this invoice as paid; the failure is recorded here only")
        if document is not InvoiceStatus.FINALIZED:
            return Recorded(
                note=f"Lago has this invoice as {document.value}; the failure is recorded here only"
            )
        if status is not PaymentStatus.FAILED:
            self._set_payment_status(invoice, "failed")
        return Recorded()

    def issue_credit_note(self, request: CreditNoteRequest) -> Recorded:
        """Document a refund that happened elsewhere."""
        return self._credit_notes.issue(request)

    def close_refund(self, credit_note: Ref, *, succeeded: bool) -> Recorded:
        """Say how the refund a credit note asked for ended; Lago sends no webhook for it."""
        return self._credit_notes.close(credit_note, succeeded=succeeded)

    def plans(self) -> Sequence[Plan]:
        """Return all plans, with those on their way out."""
        rows = list(self._client.pages("plans", "plans"))
        with readable():
            return [catalogue.plan(self.connection, row) for row in rows]

    def subscriptions(self, customer_id: str) -> Sequence[Subscription]:
        """Return every row of a customer, newest first."""
        return self._subscriptions.of_customer(customer_id)

    def subscribe(self, *, customer_id: str, plan: str, external_id: str) -> Subscription:
        """Start one."""
        return self._subscriptions.start(customer_id=customer_id, plan=plan, external_id=external_id)

    def change_plan(self, subscription: Subscription, *, plan: str) -> Subscription:
        """Move to another plan: a dearer one (or as dear, per year) now, a cheaper one at the period's end."""
        return self._subscriptions.start(
            customer_id=subscription.customer_id, plan=plan, external_id=subscription.external_id
        )

    def cancel_pending_change(self, subscription: Subscription) -> None:
        """Call off a scheduled plan change."""
        self._subscriptions.cancel_pending_change(subscription.external_id)

    def cancel(self, subscription: Subscription, *, when: CancelWhen | datetime) -> Subscription:
        """End it now, at the period's end, or on a later day."""
        return self._subscriptions.cancel(subscription, when=when)

    def undo_cancel(self, subscription: Subscription) -> Subscription:
        """Take a scheduled end back."""
        return self._subscriptions.schedule_end(subscription.external_id, at=None)

    def invoice_pdf(self, invoice: Ref) -> bytes | None:
        """Return the PDF; None while Lago makes it, which asking for it starts."""
        answer = self._client.post("invoices", invoice.id, "download")
        if not answer:
            return None
        with readable():
            url = text_or_none(obj(answer, "invoice"), "file_url")
        return self._client.file(url) if url is not None else None

    def usage(self, *, customer_id: str, external_id: str) -> Usage:
        """Return the current period's consumption, net of tax."""
        params = {"external_subscription_id": external_id}
        answer = self._client.get("customers", customer_id, "current_usage", params=params)
        with readable():
            return catalogue.usage(obj(answer, "customer_usage"))

    def choose_method(self, customer_id: str, method: Ref) -> bool:
        """Charge this method first, where Lago has an integration of its own that knows it."""
        return self._customers.choose_method(customer_id, method)

    def check(self) -> Sequence[Finding]:
        """Look at credentials, release, licence and webhook endpoints."""
        return findings(self._client, self._config, connection=self.connection)

    def _invoice(self, invoice: Ref) -> Json:
        answer = self._client.get("invoices", invoice.id)
        with readable():
            return obj(answer, "invoice")

    def _known_payment(self, record: PaymentRecord) -> Ref | None:
        payments = self._client.pages("payments", "payments", params={"invoice_id": record.invoice.id})
        for payment in payments:
            if payment.get("reference") == _reference(record):
                with readable():
                    return Ref(self.connection, text(payment, "lago_id"))
        return None

    def _post_payment(self, record: PaymentRecord) -> Recorded:
        payment = {
            "invoice_id": record.invoice.id,
            "amount_cents": record.amount.minor,
            "reference": _reference(record),
            "paid_at": record.paid_at.astimezone(UTC).date().isoformat(),  # the published schema wants a day
        }
        answer = self._client.post("payments", body={"payment": payment}, moves_money=True)
        with readable():  # it was taken: an answer that does not name it must not make anybody repeat it
            payment_id = text_or_none(obj_or_empty(answer, "payment"), "lago_id")
        return Recorded(ref=Ref(self.connection, payment_id) if payment_id else None)

    def _mark_paid(self, record: PaymentRecord) -> Recorded:
        """Set the payment status, which is all Lago takes without a licence, and only fits a whole payment."""
        body = self._invoice(record.invoice)
        with readable():
            document, status = mapping.invoice_status(body), mapping.payment_status(body)
            due = mapping.invoice_due(body)
        if document is not InvoiceStatus.FINALIZED:
            raise Refused(
                f"Lago takes no payment for an invoice that is {document.value}", code="invalid_status"
            )
        if status is PaymentStatus.SUCCEEDED:
            return Recorded(note="Lago has this invoice as paid already")
        if record.amount.minor < due:
            raise Unsupported(
                f"{record.amount} is a part of what is due, and Lago keeps partial payments only with a premium licence",
                code=NO_LICENCE,
            )
        self._set_payment_status(record.invoice, "succeeded")
        return Recorded(note=_MARKED_PAID)

    def _paid_before(self, record: PaymentRecord, refusal: Conflict) -> Recorded:
        """Accept a refused amount when Lago has the invoice as paid: somebody told it before us."""
        if refusal.field != "amount_cents":
            raise refusal
        body = self._invoice(record.invoice)
        with readable():
            paid = mapping.payment_status(body) is PaymentStatus.SUCCEEDED
        if not paid:
            raise refusal
        return Recorded(
            ref=self._known_payment(record), note="Lago had this invoice as paid already; nothing was entered"
        )

    def _set_payment_status(self, invoice: Ref, status: str) -> None:
        self._client.put("invoices", invoice.id, body={"invoice": {"payment_status": status}})


def _reference(record: PaymentRecord) -> str:
    """Return what Lago keeps of the provider's payment id: 40 characters."""
    return record.reference[:_LONGEST_REFERENCE]
