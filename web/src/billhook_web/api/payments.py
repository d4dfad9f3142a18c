"""What payment providers told us: payments, refunds, disputes, mandates; and the billing engines' credit notes."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from billhook.model import DisputeStatus, MandateStatus, PaymentStatus, RefundStatus
from billhook_web.api import serialise
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice
from billhook_web.api.host import needs
from billhook_web.api.parsing import Blueprint
from billhook_web.api.schemas import (
    CreditNoteSchema,
    DisputeSchema,
    MandateSchema,
    PaymentSchema,
    RefundSchema,
)
from billhook_web.api.things import InvoicePartsQuery, ThingsQuery, each, find, list_things
from billhook_web.stores import billing

blueprint = Blueprint("payments", __name__, description="Money in, and money back.")


class PaymentsQuery(InvoicePartsQuery):
    """Which payments."""

    status = Choice(PaymentStatus, about="How far it has come.", load_default=None)


class RefundsQuery(InvoicePartsQuery):
    """Which refunds."""

    status = Choice(RefundStatus, about="How far it has come.", load_default=None)


class DisputesQuery(InvoicePartsQuery):
    """Which disputes."""

    status = Choice(DisputeStatus, about="How far it has come.", load_default=None)


class CreditNotesQuery(InvoicePartsQuery):
    """Which credit notes."""

    status = Choice(
        (*RefundStatus, "issued"),
        about="How far its refund has come; issued: it gives back no money.",
        load_default=None,
    )


class MandatesQuery(ThingsQuery):
    """Which mandates."""

    status = Choice(MandateStatus, about="Whether it may be charged.", load_default=None)


@blueprint.route("/payments")
@needs("billing:read")
@blueprint.arguments(PaymentsQuery, location="query")
@blueprint.response(200, page(PaymentSchema))
def list_payments(query: dict[str, Any]) -> Response:
    """List payments, the newest first."""
    return list_things(billing.payments, "payments", query, each(serialise.payment))


@blueprint.route("/payments/<any_text:ref>")
@needs("billing:read")
@blueprint.response(200, PaymentSchema)
def get_payment(ref: str) -> Response:
    """Show a payment."""
    return jsonify(serialise.payment(find(billing.payments, ref, "payment")))


@blueprint.route("/refunds")
@needs("billing:read")
@blueprint.arguments(RefundsQuery, location="query")
@blueprint.response(200, page(RefundSchema))
def list_refunds(query: dict[str, Any]) -> Response:
    """List refunds, the newest first."""
    return list_things(billing.refunds, "refunds", query, each(serialise.refund))


@blueprint.route("/refunds/<any_text:ref>")
@needs("billing:read")
@blueprint.response(200, RefundSchema)
def get_refund(ref: str) -> Response:
    """Show a refund."""
    return jsonify(serialise.refund(find(billing.refunds, ref, "refund")))


@blueprint.route("/disputes")
@needs("billing:read")
@blueprint.arguments(DisputesQuery, location="query")
@blueprint.response(200, page(DisputeSchema))
def list_disputes(query: dict[str, Any]) -> Response:
    """List disputes, the newest first."""
    return list_things(billing.disputes, "disputes", query, each(serialise.dispute))


@blueprint.route("/disputes/<any_text:ref>")
@needs("billing:read")
@blueprint.response(200, DisputeSchema)
def get_dispute(ref: str) -> Response:
    """Show a dispute."""
    return jsonify(serialise.dispute(find(billing.disputes, ref, "dispute")))


@blueprint.route("/credit-notes")
@needs("billing:read")
@blueprint.arguments(CreditNotesQuery, location="query")
@blueprint.response(200, page(CreditNoteSchema))
def list_credit_notes(query: dict[str, Any]) -> Response:
    """List credit notes, the newest first."""
    return list_things(billing.credit_notes, "credit_notes", query, each(serialise.credit_note))


@blueprint.route("/credit-notes/<any_text:ref>")
@needs("billing:read")
@blueprint.response(200, CreditNoteSchema)
def get_credit_note(ref: str) -> Response:
    """Show a credit note."""
    return jsonify(serialise.credit_note(find(billing.credit_notes, ref, "credit note")))


@blueprint.route("/mandates")
@needs("billing:read")
@blueprint.arguments(MandatesQuery, location="query")
@blueprint.response(200, page(MandateSchema))
def list_mandates(query: dict[str, Any]) -> Response:
    """List mandates, the newest first."""
    return list_things(billing.mandates, "mandates", query, each(serialise.mandate))


@blueprint.route("/mandates/<any_text:ref>")
@needs("billing:read")
@blueprint.response(200, MandateSchema)
def get_mandate(ref: str) -> Response:
    """Show a mandate."""
    return jsonify(serialise.mandate(find(billing.mandates, ref, "mandate")))
