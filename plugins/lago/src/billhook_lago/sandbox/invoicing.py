"""Making and settling invoices and credit notes: numbers, due dates, spent credit, payment status.

A finalized invoice of nothing is paid at once. Credit notes with a balance are spent on the next invoice in their
currency, oldest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billhook_lago.sandbox.state import (
    AppliedCredit,
    CreditNote,
    CreditNoteItem,
    Customer,
    Fee,
    Invoice,
    Subscription,
)
from billhook_lago.sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How a credit note gives back: to later invoices, as a refund, or against what this invoice still owes."""

    credit: int = 0
    refund: int = 0
    offset: int = 0


def issue(
    world: World, customer: Customer, fees: list[Fee], *, kind: str, reason: str, currency: str, at: datetime
) -> Invoice:
    """Create an invoice dated ``at`` and announce it; a grace period keeps it a draft and dates it to its end."""
    number = 1 + sum(1 for invoice in world.ledger.invoices if invoice.customer is customer)
    term = int(customer.fields["net_payment_term"] or 0)
    grace = grace_days(world, customer) if kind == "subscription" else 0
    dated = at.date() + timedelta(days=grace)
    invoice = Invoice(
        id=world.ledger.new_id(),
        customer=customer,
        sequential_id=number,
        number=f"{world.account.number_prefix}-{customer.sequential_id:03}-{number:03}",
        invoice_type=kind,
        reason=reason,
        currency=currency,
        issuing_date=dated,
        payment_due_date=dated + timedelta(days=term),
        net_payment_term=term,
        created_at=world.now(),
        updated_at=world.now(),
        fees=fees,
        status="draft",
    )
    world.ledger.invoices.append(invoice)
    if grace:
        world.announce.invoice("invoice.drafted", invoice)
    else:
        finalize(world, invoice)
    return invoice


def finalize(world: World, invoice: Invoice) -> None:
    """Fix a draft: spend credit notes, announce it, and settle it when nothing is due."""
    invoice.status = "finalized"
    invoice.updated_at = world.now()
    _spend_credit(world, invoice)
    if invoice.due_cents == 0:
        invoice.payment_status = "succeeded"
        invoice.settled_at = world.now()
    one_off = invoice.invoice_type == "one_off"
    world.announce.invoice("invoice.one_off_created" if one_off else "invoice.created", invoice)


def grace_days(world: World, customer: Customer) -> int:
    """Return how many days a subscription invoice stays a draft; premium only."""
    days = customer.billing_configuration["invoice_grace_period"]
    return int(days or 0) if world.account.premium else 0


def set_payment_status(world: World, invoice: Invoice, status: str) -> None:
    """Change the payment status; any change is allowed, an unchanged one is not announced."""
    if invoice.payment_status == status:
        return
    invoice.payment_status = status
    invoice.updated_at = world.now()
    invoice.settled_at = world.now() if status == "succeeded" else None
    if status == "succeeded":
        invoice.payment_overdue = False
    world.announce.invoice("invoice.payment_status_updated", invoice)


def lose_dispute(world: World, invoice: Invoice) -> None:
    """Record that the bank took the money back: status and paid amount stay as they are."""
    invoice.payment_dispute_lost_at = world.now()
    invoice.payment_overdue = False
    invoice.updated_at = world.now()
    world.announce.dispute_lost(invoice)


def mark_overdue(world: World, invoice: Invoice) -> None:
    """Flip an invoice to overdue and announce it once."""
    if not invoice.payment_overdue:
        invoice.payment_overdue = True
        invoice.updated_at = world.now()
        world.announce.invoice("invoice.payment_overdue", invoice)


def new_fee(world: World, *, subscription: Subscription, cents: int, start: datetime, end: datetime) -> Fee:
    """Return the subscription fee for ``[start, end)``, taxed at the account's rate."""
    plan = subscription.plan
    return Fee(
        id=world.ledger.new_id(),
        item_type="subscription",
        item_id=subscription.id,
        code=plan.code,
        name=plan.invoice_display_name or plan.name,
        amount_cents=cents,
        taxes_cents=tax_of(cents, world.account.tax_rate),
        taxes_rate=world.account.tax_rate,
        start=start,
        end=end,
        subscription=subscription,
    )


def tax_of(cents: int, rate: float) -> int:
    """Return the tax of ``rate`` percent on ``cents``, half a cent up."""
    hundredths = round(rate * 100)
    return (2 * cents * hundredths + 10_000) // 20_000


def credit(
    world: World,
    invoice: Invoice,
    items: list[tuple[Fee, int]],
    split: Split,
    *,
    reason: str,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
) -> CreditNote:
    """Create a credit note over ``items`` (fee and net cents) and announce it."""
    number = 1 + len(world.ledger.credit_notes_of(invoice))
    note = CreditNote(
        id=world.ledger.new_id(),
        invoice=invoice,
        sequential_id=number,
        number=f"{invoice.number}-CN{number:03}",
        issuing_date=world.now().date(),
        items=[CreditNoteItem(id=world.ledger.new_id(), fee=fee, amount_cents=cents) for fee, cents in items],
        taxes_cents=item_taxes(items),
        reason=reason,
        description=description,
        credit_cents=split.credit,
        refund_cents=split.refund,
        offset_cents=split.offset,
        balance_cents=split.credit,
        credit_status="available" if split.credit else "consumed",
        refund_status="pending" if split.refund else None,
        created_at=world.now(),
        updated_at=world.now(),
        metadata=metadata,
    )
    world.ledger.credit_notes.append(note)
    _offset(world, invoice, split.offset)
    world.announce.credit_note("credit_note.created", note)
    return note


def item_taxes(items: list[tuple[Fee, int]]) -> int:
    """Return the tax that comes back with the items, in proportion to each fee's own."""
    return sum(
        (2 * fee.taxes_cents * cents + fee.amount_cents) // (2 * fee.amount_cents)
        for fee, cents in items
        if fee.amount_cents
    )


def overdue_at(invoice: Invoice) -> datetime:
    """Return the instant from which the invoice is overdue: the due day must be over."""
    due = invoice.payment_due_date
    return datetime(due.year, due.month, due.day, tzinfo=UTC) + timedelta(days=1)


def _offset(world: World, invoice: Invoice, cents: int) -> None:
    if not cents:
        return
    invoice.offset_cents += cents
    if invoice.due_cents == 0:
        set_payment_status(world, invoice, "succeeded")


def _spend_credit(world: World, invoice: Invoice) -> None:
    for note in world.ledger.credit_notes:
        spendable = note.invoice.customer is invoice.customer and note.invoice.currency == invoice.currency
        cents = min(note.balance_cents, invoice.due_cents) if spendable else 0
        if cents <= 0 or note.credit_status != "available":
            continue
        invoice.credits.append(AppliedCredit(id=world.ledger.new_id(), credit_note=note, amount_cents=cents))
        note.balance_cents -= cents
        if note.balance_cents == 0:
            note.credit_status = "consumed"
