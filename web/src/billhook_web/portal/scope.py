"""What is the signed-in customer's: the one place where the portal reads, so that nothing of another's is ever reached.

Everything is asked of the store with the customer's id. A thing that is named by its ref and belongs to somebody else is
:class:`~billhook.errors.NotFound`, exactly as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

from billhook.clock import new_token
from billhook.errors import NotFound
from billhook.model import Customer, Invoice, InvoiceStatus, Mandate, Payment, Ref, Subscription
from billhook_web.runtime import Runtime
from billhook_web.stores import accounts, billing, portal
from billhook_web.stores.access import Stored
from billhook_web.stores.billing import Filter, Projection

T = TypeVar("T", Invoice, Payment, Subscription, Mandate)

MOST_OWED: Final = 50
"""Unpaid invoices that are listed at a time."""


class Mine:
    """Everything one customer may see. Views get it from :func:`billhook_web.portal.visiting.visit`."""

    def __init__(self, runtime: Runtime, customer_id: str) -> None:
        self._runtime = runtime
        self._db = runtime.db
        self.customer_id = customer_id

    def customer(self) -> Customer:
        """Return who this is; raises :class:`NotFound` when they are gone."""
        with self._db.read() as tx:
            row = accounts.get_customer(tx, self.customer_id)
        if row is None or row.erased_at is not None:
            raise NotFound("There is no such customer here.")
        return row.customer

    def invoices(
        self, *, limit: int = 50, after: tuple[datetime, str] | None = None, status: str | None = None
    ) -> Sequence[Invoice]:
        """List invoices, newest first. ``after``: the last row of the page before, as (at, ref)."""
        wanted = Filter(customer_id=self.customer_id, status=status, limit=limit, after=after)
        with self._db.read() as tx:
            return billing.invoices.page(tx, wanted)

    def invoice(self, ref: str) -> Invoice:
        """Return one invoice; raises :class:`NotFound`."""
        return self._one(billing.invoices, ref)

    def owed(self) -> Sequence[Invoice]:
        """List invoices that are issued and not paid in full, the newest first, at most :data:`MOST_OWED`."""
        with self._db.read() as tx:
            found = portal.owed_invoices(tx, self.customer_id, limit=MOST_OWED)
        return [each for each in found if each.status is InvoiceStatus.FINALIZED and each.balance > 0]

    def pay_token(self, ref: str) -> str:
        """Return the token of an invoice's stable pay link, made when it has none yet; raises :class:`NotFound`."""
        invoice = self.invoice(ref)
        with self._db.begin() as tx:
            now = self._runtime.clock.now()
            return billing.pay_token(tx, invoice.ref, candidate=new_token(), now=now)

    def payments(self, *, limit: int = 50) -> Sequence[Payment]:
        """List payments, newest first."""
        with self._db.read() as tx:
            return billing.payments.page(tx, Filter(customer_id=self.customer_id, limit=limit))

    def payment(self, ref: str) -> Payment:
        """Return one payment; raises :class:`NotFound`."""
        return self._one(billing.payments, ref)

    def subscriptions(self) -> Sequence[Subscription]:
        """List subscriptions, also those that ended."""
        with self._db.read() as tx:
            return billing.subscriptions.of_customer(tx, self.customer_id)

    def mandates(self) -> Sequence[Mandate]:
        """List mandates that were ever given."""
        with self._db.read() as tx:
            return billing.mandates.of_customer(tx, self.customer_id)

    def access(self) -> Stored | None:
        """Return the decision whether they may use the product now; None: nothing is known."""
        return self._runtime.deciding.answer(self.customer_id)

    def _one(self, projection: Projection[T], ref: str) -> T:
        parsed = _ref(ref)
        with self._db.read() as tx:
            found = projection.get(tx, parsed) if parsed else None
        if found is None or found.customer_id != self.customer_id:
            raise NotFound("There is nothing of this name here.")
        return found


def _ref(text: str) -> Ref | None:
    try:
        return Ref.parse(text)
    except ValueError:
        return None
