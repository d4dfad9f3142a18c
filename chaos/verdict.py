"""What must be true afterwards. The sandboxes count what was really done; the host's books must say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from billhook.model import Invoice, Payment, Ref, Refund, RefundStatus
from billhook_lago.sandbox import LagoSandbox
from billhook_web.db import Database
from billhook_web.stores import billing, inbox, outbox
from billhook_web.stores.inbox import InboxRow, InboxStatus
from billhook_web.stores.outbox import OPEN, EffectRow, EffectStatus
from chaos.payers import Payer

EVERYTHING = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Books:
    """The host's rows, read once."""

    deliveries: tuple[InboxRow, ...]
    effects: tuple[EffectRow, ...]
    invoices: dict[str, Invoice]
    payments: tuple[Payment, ...]
    refunds: tuple[Refund, ...]

    @classmethod
    def read(cls, url: str) -> Books:
        """Read everything."""
        db = Database(url)
        try:
            with db.read() as tx:
                return cls(
                    deliveries=tuple(inbox.page(tx, limit=EVERYTHING)),
                    effects=tuple(outbox.page(tx, limit=EVERYTHING)),
                    invoices={each.ref.id: each for each in billing.invoices.all(tx)},
                    payments=billing.payments.all(tx),
                    refunds=billing.refunds.all(tx),
                )
        finally:
            db.close()

    def unfinished(self) -> list[str]:
        """Name what is not at its end, and why."""
        waiting = [row for row in self.deliveries if row.status is InboxStatus.RECEIVED]
        open_ = [row for row in self.effects if row.status in OPEN]
        return [
            *(f"delivery {row.id} ({row.type}): {row.error}" for row in waiting),
            *(f"effect {row.key} {row.status}, attempt {row.attempts}: {row.error}" for row in open_),
        ]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything a check may look at. ``accepted``: what the host answered with 2xx."""

    books: Books
    lago: LagoSandbox
    payer: Payer
    accepted: set[tuple[str, str, bytes]]


Check = Callable[[Evidence], Iterator[str]]


def every_accepted_delivery_is_kept_once_and_processed(seen: Evidence) -> Iterator[str]:
    rows: dict[tuple[str, bytes], list[InboxRow]] = {}
    for row in seen.books.deliveries:
        rows.setdefault((row.connection, row.body), []).append(row)
    sent = Counter((connection, body) for connection, _, body in seen.accepted)
    for delivery, times in sent.items():
        found = rows.get(delivery, [])
        if not 1 <= len(found) <= times:
            yield f"{delivery[0]} was told 2xx for {times} deliveries, {len(found)} rows: {delivery[1][:80]!r}"
        yield from (f"delivery {row.id} is {row.status}" for row in found if row.status != "processed")


def no_invoice_is_charged_twice(seen: Evidence) -> Iterator[str]:
    for invoice, charges in seen.payer.charges().items():
        if len(charges) > 1:
            yield f"{invoice} was charged {len(charges)} times: {[each.payment for each in charges]}"


def no_paid_invoice_can_be_paid_again(seen: Evidence) -> Iterator[str]:
    yield from seen.payer.asks_again()


def every_invoice_is_paid_and_recorded_once(seen: Evidence) -> Iterator[str]:
    recorded = Counter(payment["reference"] for payment in seen.lago.payments)
    charged = seen.payer.charges()
    for document in seen.lago.invoices:
        charges = charged.get(document["lago_id"], [])
        if not charges:
            yield f"{document['lago_id']} was never paid"
        for charge in charges:
            times = recorded.pop(charge.payment, 0)
            if times != 1:
                yield f"{charge.payment} is recorded {times} times in the billing engine"
            if charge.amount != document["total_amount_cents"]:
                yield f"{charge.payment} took {charge.amount} for {document['lago_id']}"
        if document["payment_status"] != "succeeded":
            yield f"{document['lago_id']} is {document['payment_status']} in the billing engine"
    yield from (f"{reference} is recorded, and nobody paid it" for reference in recorded)


def every_refund_is_made_once_and_documented_once(seen: Evidence) -> Iterator[str]:
    made = Counter((each.invoice, each.amount) for each in seen.payer.returns())
    notes = Counter((each["lago_invoice_id"], each["refund_amount_cents"]) for each in seen.lago.credit_notes)
    yield from (f"refund of {amount} on {invoice} has no credit note" for invoice, amount in made - notes)
    yield from (f"credit note of {amount} on {invoice} has no refund" for invoice, amount in notes - made)
    for note in seen.lago.credit_notes:
        if note["refund_status"] != "succeeded":
            yield f"credit note {note['lago_id']} says its refund is {note['refund_status']}"


def both_books_agree(seen: Evidence) -> Iterator[str]:
    ours, returned = seen.books.invoices, Counter[Ref]()
    for refund in seen.books.refunds:
        if refund.status is RefundStatus.SUCCEEDED and refund.amount is not None:
            returned[refund.payment] += refund.amount.minor
    for document in seen.lago.invoices:
        invoice = ours.get(document["lago_id"])
        total = document["total_amount_cents"]
        if invoice is None:
            yield f"the host does not know invoice {document['lago_id']}"
        elif (invoice.total, invoice.paid, invoice.balance, invoice.engine_status) != (
            total,
            total,
            0,
            "succeeded",
        ):
            yield f"{document['lago_id']}: total {total}, ours {invoice.total}/{invoice.paid}/{invoice.balance}"
    theirs = Counter[str]()
    for made in seen.payer.returns():
        theirs[made.payment] += made.amount
    for payment in seen.books.payments:
        if not payment.refunded == returned[payment.ref] == theirs[payment.ref.id]:
            yield f"{payment.ref}: {payment.refunded} refunded, the provider says {theirs[payment.ref.id]}"


def nothing_is_stuck_or_given_up(seen: Evidence) -> Iterator[str]:
    yield from seen.books.unfinished()
    for row in seen.books.effects:
        if row.status is EffectStatus.DEAD:
            yield f"effect {row.key} is dead: {row.error}"
    for delivery in seen.books.deliveries:
        if delivery.status is InboxStatus.DEAD:
            yield f"delivery {delivery.id} ({delivery.type}) is dead: {delivery.error}"


CHECKS: tuple[Check, ...] = (
    every_accepted_delivery_is_kept_once_and_processed,
    no_invoice_is_charged_twice,
    no_paid_invoice_can_be_paid_again,
    every_invoice_is_paid_and_recorded_once,
    every_refund_is_made_once_and_documented_once,
    both_books_agree,
    nothing_is_stuck_or_given_up,
)


def effects_by_kind(books: Books) -> dict[str, Any]:
    """Count the effects by kind and outcome, and the tries they took."""
    return dict(Counter(f"{row.kind}: {row.status}" for row in books.effects).most_common())
