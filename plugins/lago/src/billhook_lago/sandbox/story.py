"""Lago's part in the story ``billhook demo`` tells (:class:`billhook.testing.story.EngineStory`)."""

from __future__ import annotations

from collections.abc import Sequence

from billhook.model import PaymentStatus, RefundStatus
from billhook.money import Money
from billhook.testing.sandbox import Faults, WebhookSender
from billhook.testing.story import Call, StoryCreditNote, StoryCustomer, StoryInvoice
from billhook_lago.sandbox import calls
from billhook_lago.sandbox.app import LagoSandbox
from billhook_lago.sandbox.state import Json
from billhook_lago.sandbox.subscriptions import Subscriptions

_PLAN = "team"
_PLAN_CENTS = 4900


class LagoStory:
    """Tells the billing engine's part with one sandbox."""

    title = "Lago"
    page = "/_sandbox/"

    def __init__(self, lago: LagoSandbox) -> None:
        self._lago = lago

    @property
    def faults(self) -> Faults:
        """Return the script of faults."""
        return self._lago.faults

    @property
    def webhooks(self) -> WebhookSender:
        """Return the queue to the host."""
        return self._lago.webhooks

    def calls(self) -> Sequence[Call]:
        """Return every API call that arrived."""
        with self._lago.world.lock:
            recorded = list(self._lago.requests)
        return [
            Call(method=each.method, path=each.path, key=each.headers.get("Idempotency-Key"))
            for each in recorded
        ]

    def subscribe(self, customer_id: str) -> None:
        """Start a subscription to a plan of 49.00 EUR a month, from today, as the API would."""
        world = self._lago.world
        with world.lock:
            if world.ledger.plan(_PLAN) is None:
                self._lago.add_plan(code=_PLAN, name="Team", amount_cents=_PLAN_CENTS)
            body = {
                "external_customer_id": customer_id,
                "external_id": f"{customer_id}-{_PLAN}",
                "plan_code": _PLAN,
                "billing_time": "anniversary",  # calendar would bill the rest of the month only
            }
            Subscriptions(world).create(calls.Call(args={}, query={}, body={"subscription": body}))

    def invoice(self, customer_id: str, amount: Money) -> str:
        """Issue an invoice and return Lago's id of it."""
        return str(self._lago.issue_invoice(customer_id, amount.minor, amount.currency)["lago_id"])

    def customers(self) -> Sequence[StoryCustomer]:
        """Return every customer."""
        return [
            StoryCustomer(id=each["external_id"], name=each["name"], email=each["email"])
            for each in self._lago.customers
        ]

    def invoices(self) -> Sequence[StoryInvoice]:
        """Return every finalised invoice with its credit notes."""
        notes = self._lago.credit_notes
        finalised = [each for each in self._lago.invoices if each["status"] == "finalized"]
        return [_invoice(each, notes) for each in finalised]


def _invoice(invoice: Json, notes: Sequence[Json]) -> StoryInvoice:
    currency = invoice["currency"]
    return StoryInvoice(
        id=invoice["lago_id"],
        total=Money(invoice["total_amount_cents"], currency),
        paid=Money(invoice["total_paid_amount_cents"], currency),
        payment_status=PaymentStatus(invoice["payment_status"]),
        credit_notes=tuple(
            _credit_note(note) for note in notes if note["lago_invoice_id"] == invoice["lago_id"]
        ),
    )


def _credit_note(note: Json) -> StoryCreditNote:
    status = note["refund_status"]
    return StoryCreditNote(
        amount=Money(note["total_amount_cents"], note["currency"]),
        refund_status=RefundStatus(status) if status else None,
    )
