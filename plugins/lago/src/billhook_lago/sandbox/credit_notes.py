"""``/credit_notes``: estimate, create, refund status, void. Creating and estimating need a premium licence.

Items are net of tax; credit, refund and offset together must equal the items plus their tax, within a cent.
"""

from __future__ import annotations

from werkzeug.wrappers import Response

from billhook_lago.sandbox import invoicing
from billhook_lago.sandbox.answers import (
    ApiError,
    feature_unavailable,
    invalid,
    not_allowed,
    not_found,
    paged,
    rooted,
)
from billhook_lago.sandbox.calls import ANY, Call, Rule, Schema, cents, choose, require
from billhook_lago.sandbox.documents import CREDIT_NOTE_FULL, credit_note_json, rate_of, tax_line
from billhook_lago.sandbox.invoicing import Split
from billhook_lago.sandbox.state import CreditNote, Fee, Invoice, Json
from billhook_lago.sandbox.world import World

_ITEMS = [dict.fromkeys(("fee_id", "amount_cents"))]
_AMOUNTS = ("credit_amount_cents", "refund_amount_cents", "offset_amount_cents")
_SCHEMA: Schema = {
    "invoice_id": ANY,
    "items": _ITEMS,
    **dict.fromkeys(("reason", "description", "metadata", *_AMOUNTS)),
}
_REASONS = ("duplicated_charge", "product_unsatisfactory", "order_change", "order_cancellation")
_FULL = CREDIT_NOTE_FULL


class CreditNotes:
    """The credit note endpoints."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rules(self) -> list[Rule]:
        """Return the routes."""
        return [
            ("POST", "/credit_notes/estimate", self.estimate),
            ("POST", "/credit_notes", self.create),
            ("GET", "/credit_notes", self.find_all),
            ("GET", "/credit_notes/<note_id>", self.get),
            ("PUT", "/credit_notes/<note_id>", self.update),
            ("PUT", "/credit_notes/<note_id>/void", self.void),
        ]

    def estimate(self, call: Call) -> Response:
        """Say what the items would give back, credited or refunded."""
        invoice, items = self._subject(
            call.root("credit_note", _SCHEMA)
        )  # the official client sends the others as null
        net, taxes = sum(cents for _, cents in items), invoicing.item_taxes(items)
        gross = net + taxes
        tax = tax_line(self._world.account, base_cents=net, tax_cents=taxes)
        body: Json = {
            "lago_invoice_id": invoice.id,
            "invoice_number": invoice.number,
            "currency": invoice.currency,
            "taxes_amount_cents": taxes,
            "precise_taxes_amount_cents": f"{taxes}.0",
            "taxes_rate": rate_of(taxes, net),
            "sub_total_excluding_taxes_amount_cents": net,
            "max_creditable_amount_cents": gross,
            "max_refundable_amount_cents": min(gross, self._refundable(invoice)),
            "max_offsettable_amount_cents": min(gross, invoice.due_cents),
            "coupons_adjustment_amount_cents": 0,
            "precise_coupons_adjustment_amount_cents": "0.0",
            "items": [{"amount_cents": amount, "lago_fee_id": fee.id} for fee, amount in items],
            "applied_taxes": [
                tax | {"base_amount_cents": net, "amount_cents": taxes, "amount_currency": invoice.currency}
            ]
            if taxes
            else [],
        }
        return rooted("estimated_credit_note", body)

    def create(self, call: Call) -> Response:
        """Create a credit note; a refund stays ``pending`` until somebody outside has made it."""
        body = call.root("credit_note", _SCHEMA)
        invoice, items = self._subject(body)
        reason = choose(body, "reason", (*_REASONS, "fraudulent_charge", "other"), "other")
        split = Split(
            credit=cents(body, "credit_amount_cents"),
            refund=cents(body, "refund_amount_cents"),
            offset=cents(body, "offset_amount_cents"),
        )
        self._check(invoice, items, split)
        note = invoicing.credit(
            self._world,
            invoice,
            items,
            split,
            reason=str(reason),
            description=body.get("description"),
            metadata=body.get("metadata"),
        )
        return self._answer(note)

    def find_all(self, call: Call) -> Response:
        """List credit notes, newest first."""
        call.only_filters(
            "external_customer_id", "invoice_number", "credit_status", "refund_status", "currency", "reason"
        )
        rows = [note for note in reversed(self._world.ledger.credit_notes) if _wanted(note, call)]
        listed = [credit_note_json(self._world.account, note, "items", "applied_taxes") for note in rows]
        return paged("credit_notes", listed, call.query)

    def get(self, call: Call) -> Response:
        """Return one credit note."""
        return self._answer(self._find(call))

    def update(self, call: Call) -> Response:
        """Close a refund made elsewhere, or replace the metadata; no webhook follows."""
        body = call.root("credit_note", {"refund_status": ANY, "metadata": ANY})
        note = self._find(call)
        status = choose(body, "refund_status", ("pending", "succeeded", "failed"))
        if status is not None and note.refund_status is None:
            raise invalid(refund_status="value_is_invalid")
        note.refund_status = status or note.refund_status
        note.metadata = body.get("metadata", note.metadata)
        note.updated_at = self._world.now()
        return self._answer(note)

    def void(self, call: Call) -> Response:
        """Void what is left of the balance."""
        note = self._find(call)
        if note.credit_status != "available" or note.balance_cents == 0:
            raise not_allowed("no_voidable_amount")
        note.credit_status, note.balance_cents = "voided", 0
        note.updated_at = self._world.now()
        return self._answer(note)

    def _subject(self, body: Json) -> tuple[Invoice, list[tuple[Fee, int]]]:
        if not self._world.account.premium:
            raise feature_unavailable()
        require(body, "invoice_id")
        invoice = self._world.ledger.invoice(str(body["invoice_id"]))
        if invoice is None:
            raise not_found("invoice")
        if invoice.status != "finalized":
            raise not_allowed("invalid_type_or_status")
        require(body, "items")
        return invoice, [self._item(invoice, entry) for entry in body["items"]]

    def _item(self, invoice: Invoice, entry: Json) -> tuple[Fee, int]:
        fee = next((fee for fee in invoice.fees if fee.id == entry.get("fee_id")), None)
        if fee is None:
            raise not_found("fee")
        amount = cents(entry, "amount_cents")
        given_back = sum(
            item.amount_cents
            for note in self._world.ledger.credit_notes_of(invoice)
            for item in note.items
            if item.fee is fee
        )
        if amount > fee.amount_cents - given_back:
            raise invalid(amount_cents="higher_than_remaining_fee_amount")
        return fee, amount

    def _check(self, invoice: Invoice, items: list[tuple[Fee, int]], split: Split) -> None:
        errors: dict[str, list[str]] = {}
        if split.refund and invoice.paid_cents <= 0:
            errors["refund_amount_cents"] = ["cannot_refund_unpaid_invoice"]
        elif split.refund > self._refundable(invoice):
            errors["refund_amount_cents"] = ["higher_than_remaining_invoice_amount"]
        if split.offset > invoice.due_cents:
            errors["offset_amount_cents"] = ["higher_than_remaining_invoice_amount"]
        gross = sum(amount for _, amount in items) + invoicing.item_taxes(items)
        if abs(gross - split.credit - split.refund - split.offset) > 1:
            errors["base"] = ["does_not_match_item_amounts"]
        if errors:
            raise ApiError(422, code="validation_errors", details=errors)

    def _refundable(self, invoice: Invoice) -> int:
        refunded = sum(note.refund_cents for note in self._world.ledger.credit_notes_of(invoice))
        return max(0, invoice.paid_cents - refunded)

    def _find(self, call: Call) -> CreditNote:
        for note in self._world.ledger.credit_notes:
            if note.id == call.args["note_id"]:
                return note
        raise not_found("credit_note")

    def _answer(self, note: CreditNote) -> Response:
        return rooted("credit_note", credit_note_json(self._world.account, note, *_FULL))


def _wanted(note: CreditNote, call: Call) -> bool:
    have = {
        "external_customer_id": note.invoice.customer.external_id,
        "invoice_number": note.invoice.number,
        "credit_status": note.credit_status,
        "refund_status": note.refund_status,
        "currency": note.invoice.currency,
        "reason": note.reason,
    }
    return all(not call.values(name) or value in call.values(name) for name, value in have.items())
