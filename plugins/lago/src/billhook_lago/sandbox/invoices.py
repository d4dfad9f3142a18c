"""``/invoices``: list, read, one-off, payment status, retry, PDF, void, dispute.

``PUT`` changes ``payment_status`` without any rule and without touching what was paid: Lago's most expensive trap.
"""

from __future__ import annotations

from datetime import timedelta

from werkzeug.wrappers import Response

from billhook_lago.sandbox import invoicing
from billhook_lago.sandbox.answers import ApiError, invalid, not_allowed, not_found, paged, rooted
from billhook_lago.sandbox.calls import Call, Rule, Schema, cents, choose, day, require
from billhook_lago.sandbox.documents import INVOICE_FULL, invoice_json
from billhook_lago.sandbox.metadata import replace_metadata
from billhook_lago.sandbox.state import AddOn, Fee, Invoice, Json
from billhook_lago.sandbox.world import World

_PAYMENT_STATUSES = ("pending", "succeeded", "failed")
_SECTION = dict.fromkeys(("skip_invoice_custom_sections", "invoice_custom_section_codes"))
_METHOD = dict.fromkeys(("payment_method_type", "payment_method_id"))
_FEE = ("add_on_code", "name", "invoice_display_name", "unit_amount_cents", "units", "description")
_ONE_OFF: Schema = {
    **dict.fromkeys(("external_customer_id", "billing_entity_code", "currency", "skip_psp")),
    "fees": [dict.fromkeys((*_FEE, "from_datetime", "to_datetime", "tax_codes"))],
    "invoice_custom_section": _SECTION,
    "payment_method": _METHOD,
}
_UPDATE: Schema = {"payment_status": None, "metadata": [dict.fromkeys(("id", "key", "value"))]}
_SIMPLE = ("external_customer_id", "status", "payment_status", "payment_overdue", "invoice_type", "currency")
_FILTERS = (*_SIMPLE, "statuses", "payment_statuses", "issuing_date_from", "issuing_date_to", "amount_from")
_MORE = ("amount_to", "partially_paid", "payment_dispute_lost", "search_term", "metadata")
_LISTED = ("customer", "metadata", "applied_taxes")


class Invoices:
    """The invoice endpoints."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rules(self) -> list[Rule]:
        """Return the routes."""
        one = "/invoices/<invoice_id>"
        return [
            ("GET", "/invoices", self.find_all),
            ("POST", "/invoices", self.create),
            ("GET", one, self.get),
            ("PUT", one, self.update),
            ("POST", f"{one}/retry_payment", self.retry_payment),
            ("POST", f"{one}/download", self.download),
            ("POST", f"{one}/download_pdf", self.download),
            ("POST", f"{one}/void", self.void),
            ("PUT", f"{one}/finalize", self.finalize),
            ("POST", f"{one}/lose_dispute", self.lose_dispute),
            ("POST", f"{one}/payment_url", self.payment_url),
        ]

    def find_all(self, call: Call) -> Response:
        """List invoices, newest first; rows carry neither fees nor subscriptions."""
        call.only_filters(*_FILTERS, *_MORE)
        rows = [row for row in reversed(self._world.ledger.invoices) if _wanted(row, call)]
        now, account = self._world.now(), self._world.account
        return paged("invoices", [invoice_json(account, row, *_LISTED, now=now) for row in rows], call.query)

    def create(self, call: Call) -> Response:
        """Make a one-off invoice from add-ons."""
        body = call.root("invoice", _ONE_OFF)
        require(body, "external_customer_id", "fees")
        customer = self._world.ledger.customer(body["external_customer_id"])
        if customer is None:
            raise not_found("customer")
        currency = body.get("currency") or customer.currency
        if currency is None or customer.currency not in (None, currency):
            raise invalid(currency="currencies_does_not_match" if currency else "value_is_mandatory")
        customer.fields["currency"] = currency
        fees = [self._one_off_fee(entry) for entry in body["fees"]]
        invoice = invoicing.issue(
            self._world,
            customer,
            fees,
            kind="one_off",
            reason="one_off",
            currency=currency,
            at=self._world.now(),
        )
        return self._answer(invoice)

    def get(self, call: Call) -> Response:
        """Return one invoice with everything."""
        return self._answer(self._find(call))

    def update(self, call: Call) -> Response:
        """Set the payment status (no transition rules) or replace the metadata."""
        body = call.root("invoice", _UPDATE)
        invoice = self._find(call)
        status = choose(body, "payment_status", _PAYMENT_STATUSES)
        if invoice.status == "voided":
            raise not_allowed("update_on_voided_invoice")
        if status is not None and invoice.status == "draft":
            raise not_allowed("payment_status_update_on_draft_invoice")
        invoice.metadata = replace_metadata(
            self._world, invoice.metadata, body.get("metadata"), value_limit=140
        )
        if status is not None:
            invoicing.set_payment_status(self._world, invoice, status)
        return self._answer(invoice)

    def retry_payment(self, call: Call) -> Response:
        """Answer 200 with nothing; without a native provider the failure webhook follows."""
        if call.body:
            call.root("payment_method", _METHOD)
        invoice = self._find(call)
        if invoice.status != "finalized" or invoice.payment_status == "succeeded":
            raise not_allowed("invalid_status")
        self._world.announce.no_provider(invoice)
        return Response(status=200)

    def download(self, call: Call) -> Response:
        """Answer the invoice with its PDF's address; the first time 200 with nothing, the PDF is announced."""
        invoice = self._find(call)
        if invoice.status != "finalized":
            raise not_found("invoice")
        if invoice.has_file:
            return rooted("invoice", invoice_json(self._world.account, invoice, now=self._world.now()))
        invoice.has_file = True
        self._world.announce.invoice("invoice.generated", invoice)
        return Response(status=200)

    def void(self, call: Call) -> Response:
        """Void a finalized invoice of which nothing was paid."""
        if call.body:  # generate_credit_note and its amounts
            raise invalid(**dict.fromkeys(call.body, "not_played_by_the_sandbox"))
        invoice = self._find(call)
        if invoice.status != "finalized" or invoice.paid_cents or invoice.payment_status == "succeeded":
            raise not_allowed("not_voidable")
        invoice.status = "voided"
        invoice.voided_at = invoice.updated_at = self._world.now()
        invoice.payment_overdue = False
        self._world.announce.invoice("invoice.voided", invoice)
        return self._answer(invoice)

    def finalize(self, call: Call) -> Response:
        """Finalize a draft now."""
        invoice = self._find(call)
        if invoice.status != "draft":
            raise not_found("invoice")
        invoicing.finalize(self._world, invoice)
        return self._answer(invoice)

    def lose_dispute(self, call: Call) -> Response:
        """Record a lost dispute on a finalized invoice; a second time changes nothing."""
        invoice = self._find(call)
        if invoice.status != "finalized":
            raise not_allowed("not_disputable")
        if invoice.payment_dispute_lost_at is None:
            invoicing.lose_dispute(self._world, invoice)
        return self._answer(invoice)

    def payment_url(self, call: Call) -> Response:
        """Refuse: the sandboxed organisation has no native payment provider."""
        self._find(call)
        raise invalid(base="no_linked_payment_provider")

    def _one_off_fee(self, entry: Json) -> Fee:
        add_on = next((a for a in self._world.ledger.add_ons if a.code == entry.get("add_on_code")), None)
        if add_on is None:
            raise ApiError(404, code="add_on_not_found")
        units = int(entry.get("units") or 1)
        return self._add_on_fee(
            add_on, entry, units, units * cents(entry, "unit_amount_cents", add_on.amount_cents)
        )

    def _add_on_fee(self, add_on: AddOn, entry: Json, units: int, amount: int) -> Fee:
        world = self._world
        return Fee(
            id=world.ledger.new_id(),
            item_type="add_on",
            item_id=add_on.id,
            code=add_on.code,
            name=entry.get("invoice_display_name") or add_on.name,
            amount_cents=amount,
            taxes_cents=invoicing.tax_of(amount, world.account.tax_rate),
            taxes_rate=world.account.tax_rate,
            start=world.now(),
            end=world.now() + timedelta(seconds=1),
            units=units,
            description=entry.get("description"),
        )

    def _find(self, call: Call) -> Invoice:
        invoice = self._world.ledger.invoice(call.args["invoice_id"])
        if invoice is None:
            raise not_found("invoice")
        return invoice

    def _answer(self, invoice: Invoice) -> Response:
        now = self._world.now()
        return rooted(
            "invoice", invoice_json(self._world.account, invoice, *INVOICE_FULL, "metadata", now=now)
        )


def _wanted(invoice: Invoice, call: Call) -> bool:
    return _in_lists(invoice, call) and _in_ranges(invoice, call) and _in_texts(invoice, call)


def _in_lists(invoice: Invoice, call: Call) -> bool:
    lost = invoice.payment_dispute_lost_at is not None
    partially = 0 < invoice.paid_cents < invoice.total_cents
    have = {
        ("external_customer_id",): invoice.customer.external_id,
        ("status", "statuses"): invoice.status,
        ("payment_status", "payment_statuses"): invoice.payment_status,
        ("payment_overdue",): str(invoice.payment_overdue).lower(),
        ("payment_dispute_lost",): str(lost).lower(),
        ("partially_paid",): str(partially).lower(),
        ("invoice_type",): invoice.invoice_type,
        ("currency",): invoice.currency,
    }
    return all(not call.values(*names) or value in call.values(*names) for names, value in have.items())


def _in_ranges(invoice: Invoice, call: Call) -> bool:
    query = call.query
    return (
        ("issuing_date_from" not in query or invoice.issuing_date >= day(query["issuing_date_from"]))
        and ("issuing_date_to" not in query or invoice.issuing_date <= day(query["issuing_date_to"]))
        and ("amount_from" not in query or invoice.total_cents >= int(query["amount_from"]))
        and ("amount_to" not in query or invoice.total_cents <= int(query["amount_to"]))
    )


def _in_texts(invoice: Invoice, call: Call) -> bool:
    term = call.query.get("search_term", "").casefold()
    pairs = {entry["key"]: entry["value"] for entry in invoice.metadata}
    wanted = {name[9:-1]: value for name, value in call.query.items() if name.startswith("metadata[")}
    found = not term or term in f"{invoice.number} {invoice.id} {invoice.customer.external_id}".casefold()
    return found and all(pairs.get(key) == value for key, value in wanted.items())
