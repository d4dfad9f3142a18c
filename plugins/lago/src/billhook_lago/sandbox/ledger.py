"""Every record of the Lago sandbox in one place, and the ids they get."""

from __future__ import annotations

from uuid import UUID, uuid5

from billhook_lago.sandbox.state import (
    AddOn,
    CreditNote,
    Customer,
    Invoice,
    Payment,
    Plan,
    Subscription,
    Usage,
)


class Ledger:
    """Every record, in the order of creation. Ids derive from ``seed``, so a run can be repeated exactly."""

    def __init__(self, seed: UUID) -> None:
        self._seed = seed
        self._issued = 0
        self.customers: list[Customer] = []
        self.plans: list[Plan] = []
        self.add_ons: list[AddOn] = []
        self.subscriptions: list[Subscription] = []
        self.invoices: list[Invoice] = []
        self.payments: list[Payment] = []
        self.credit_notes: list[CreditNote] = []
        self.usage: dict[str, Usage] = {}

    def new_id(self) -> str:
        """Return the next UUID."""
        self._issued += 1
        return str(uuid5(self._seed, str(self._issued)))

    def customer(self, external_id: str) -> Customer | None:
        """Return the living customer with this external id."""
        return next((c for c in self.customers if c.external_id == external_id and not c.deleted), None)

    def plan(self, code: str) -> Plan | None:
        """Return the plan with this code."""
        return next((plan for plan in self.plans if plan.code == code), None)

    def subscription(self, external_id: str, status: str) -> Subscription | None:
        """Return the newest row with this external id and status."""
        rows = (
            s for s in reversed(self.subscriptions) if s.external_id == external_id and s.status == status
        )
        return next(rows, None)

    def invoice(self, invoice_id: str) -> Invoice | None:
        """Return the invoice with this Lago id."""
        return next((invoice for invoice in self.invoices if invoice.id == invoice_id), None)

    def credit_notes_of(self, invoice: Invoice) -> list[CreditNote]:
        """Return the credit notes of one invoice."""
        return [note for note in self.credit_notes if note.invoice is invoice]
