"""``/payments``: record money taken elsewhere. Needs a premium licence; not idempotent, as in Lago."""

from __future__ import annotations

from werkzeug.wrappers import Response

from billhook_lago.sandbox import invoicing
from billhook_lago.sandbox.answers import feature_unavailable, invalid, not_found, paged, rooted
from billhook_lago.sandbox.calls import Call, Rule, Schema, cents, instant, require
from billhook_lago.sandbox.documents import payment_json
from billhook_lago.sandbox.state import Payment
from billhook_lago.sandbox.world import World

_SCHEMA: Schema = dict.fromkeys(("invoice_id", "amount_cents", "reference", "paid_at"))
_REFERENCE_LIMIT = 40


class Payments:
    """The payment endpoints."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rules(self) -> list[Rule]:
        """Return the routes."""
        return [
            ("POST", "/payments", self.create),
            ("GET", "/payments", self.find_all),
            ("GET", "/payments/<payment_id>", self.get),
        ]

    def create(self, call: Call) -> Response:
        """Record a payment; only one that completes the total changes the invoice's payment status."""
        body = call.root("payment", _SCHEMA)
        if not self._world.account.premium:
            raise feature_unavailable()
        require(body, "invoice_id", "amount_cents", "reference")
        if len(str(body["reference"])) > _REFERENCE_LIMIT:
            raise invalid(reference="value_is_too_long")
        invoice = self._world.ledger.invoice(str(body["invoice_id"]))
        if invoice is None:
            raise not_found("invoice")
        if invoice.status != "finalized":
            raise feature_unavailable()  # Lago's bare "forbidden", which carries this code by default
        amount, paid_at = cents(body, "amount_cents"), instant(body, "paid_at")
        if not 0 < amount <= invoice.due_cents:
            raise invalid(amount_cents="value_is_out_of_range")
        payment = Payment(
            id=self._world.ledger.new_id(),
            invoice=invoice,
            amount_cents=amount,
            reference=str(body["reference"]),
            created_at=paid_at or self._world.now(),
        )
        self._world.ledger.payments.append(payment)
        invoice.paid_cents += amount
        invoice.updated_at = self._world.now()
        if invoice.due_cents == 0:
            invoicing.set_payment_status(self._world, invoice, "succeeded")
        return rooted("payment", payment_json(payment))

    def find_all(self, call: Call) -> Response:
        """List payments, newest first."""
        call.only_filters("invoice_id", "external_customer_id")
        rows = [row for row in reversed(self._world.ledger.payments) if _wanted(row, call)]
        return paged("payments", [payment_json(row) for row in rows], call.query)

    def get(self, call: Call) -> Response:
        """Return one payment."""
        for payment in self._world.ledger.payments:
            if payment.id == call.args["payment_id"]:
                return rooted("payment", payment_json(payment))
        raise not_found("payment")


def _wanted(payment: Payment, call: Call) -> bool:
    have = {"invoice_id": payment.invoice.id, "external_customer_id": payment.invoice.customer.external_id}
    return all(not call.values(name) or value in call.values(name) for name, value in have.items())
