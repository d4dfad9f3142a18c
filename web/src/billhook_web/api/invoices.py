"""Invoices: as their billing engine states them and as they were really paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, jsonify

from billhook.errors import Unsupported
from billhook.model import Invoice, PaymentStatus
from billhook.provider import SupportsInvoicePdf
from billhook_web.api import serialise
from billhook_web.api.describing import page
from billhook_web.api.fields import Choice
from billhook_web.api.host import ask, host, needs, note_action, runtime
from billhook_web.api.parsing import Blueprint
from billhook_web.api.schemas import CollectionSchema, InvoiceDetailSchema, InvoiceSchema
from billhook_web.api.things import ThingsQuery, find, list_things, read_ref
from billhook_web.db import Tx
from billhook_web.services.reattempt import reattempt
from billhook_web.stores import billing, lookup

PDF_RETRY_SECONDS = 5

blueprint = Blueprint("invoices", __name__, description="Requests for payment.")


class InvoicesQuery(ThingsQuery):
    """Which invoices."""

    status = Choice(PaymentStatus, about="The payment_status.", load_default=None)


@blueprint.route("/invoices")
@needs("billing:read")
@blueprint.arguments(InvoicesQuery, location="query")
@blueprint.response(200, page(InvoiceSchema))
def list_invoices(query: dict[str, Any]) -> Response:
    """List invoices, the newest first."""
    return list_things(billing.invoices, "invoices", query, _write)


@blueprint.route("/invoices/<any_text:ref>")
@needs("billing:read")
@blueprint.response(200, InvoiceDetailSchema)
def get_invoice(ref: str) -> Response:
    """Show an invoice with its payments, refunds, disputes and credit notes."""
    invoice = find(billing.invoices, ref, "invoice")
    with runtime().db.read() as tx:
        (plain,) = _write(tx, [invoice])
        parts = serialise.invoice_parts(runtime().recorder.snapshot(tx, invoice.ref))
    return jsonify({**plain, **parts})


@blueprint.route("/invoices/<any_text:ref>/pdf")
@needs("billing:read")
@blueprint.response(200, {"type": "string", "format": "binary"}, content_type="application/pdf")
@blueprint.alt_response(202, description="It is being made; ask again after Retry-After.", success=True)
def get_invoice_pdf(ref: str) -> Response:
    """Return the billing engine's PDF of an invoice."""
    invoice = find(billing.invoices, ref, "invoice")
    engine = runtime().connections.engine(invoice.ref.connection)
    if not isinstance(engine, SupportsInvoicePdf):
        raise Unsupported(f"{engine.info.title} has no PDFs of invoices.")
    pdf = ask(invoice.ref.connection, lambda: engine.invoice_pdf(invoice.ref))
    if pdf is None:
        return Response(status=202, headers={"Retry-After": str(PDF_RETRY_SECONDS)})
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in invoice.number or invoice.ref.id)
    headers = {"Content-Disposition": f'inline; filename="{name}.pdf"'}
    return Response(pdf, content_type="application/pdf", headers=headers)


@blueprint.route("/invoices/<any_text:ref>/collect", methods=["POST"])
@needs("billing:write")
@blueprint.response(202, CollectionSchema)
def collect_invoice(ref: str) -> Response:
    """Ask for another attempt to collect, now; when one is under way, that one is named."""
    invoice = read_ref(ref, "invoice")
    asked = reattempt(
        runtime().db, runtime().clock, invoice, note=lambda tx: note_action(tx, "invoice.collect", invoice)
    )
    if asked.effect is not None:
        host().wake.effects([asked.effect])
    response = jsonify(
        invoice=str(invoice), attempt=asked.attempt, planned=asked.planned, effect=asked.effect
    )
    response.status_code = 202
    return response


def _write(tx: Tx, values: Sequence[Invoice]) -> list[dict[str, Any]]:
    refs = [value.ref for value in values]
    attempts, tokens = lookup.attempts_of_each(tx, refs), lookup.pay_tokens(tx, refs)
    public_url = runtime().configuration.host.public_url
    return [
        serialise.invoice(
            value,
            attempts=attempts[value.ref],
            pay_url=f"{public_url}/pay/{tokens[value.ref]}" if value.ref in tokens else None,
        )
        for value in values
    ]
