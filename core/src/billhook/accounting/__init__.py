"""What the ledger says of a customer, as the facts that access is judged by: pure, and blind to the order of arrival.

Amounts follow the projections (:mod:`billhook.projections`), so an answer about access never contradicts the invoice
that is shown. Invoices and payments go by their refs, subscriptions by their agreement's id (``external_id``), which
stays the same over plan changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from billhook.access import facts as access
from billhook.accounting.agreement import agreement_facts
from billhook.accounting.document import Document, document_facts
from billhook.accounting.money_moved import payment_facts
from billhook.events import (
    CustomerDelegated,
    CustomerTagged,
    CustomerUntagged,
    DisputeChanged,
    Event,
    InvoiceEvent,
    PaymentEvent,
    RefundChanged,
    SubscriptionEvent,
)
from billhook.model import Payment, Ref
from billhook.projections.order import order, time_of

__all__ = ["Entry", "access_facts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact of the ledger and the invoice it was placed under, if any."""

    event: Event
    invoice: Ref | None = None


def access_facts(entries: Iterable[Entry], payments: Mapping[Ref, Payment]) -> tuple[access.AccessFact, ...]:
    """Translate everything known of one customer, oldest first.

    :param payments: the customer's payments as projected: which of them count, and for how much.
    """
    known = sorted(entries, key=lambda entry: order(entry.event))
    found = [*_of_customer(known), *_of_agreements(known), *_of_invoices(known, payments)]
    return tuple(sorted(dict.fromkeys(found), key=lambda fact: (fact.at, isinstance(fact, access.Reversed))))


def _of_customer(entries: Iterable[Entry]) -> Iterator[access.AccessFact]:
    for entry in entries:
        event = entry.event
        match event:
            case CustomerTagged():
                yield access.TagChanged(type="customer.tagged", at=time_of(event), tag=event.tag)
            case CustomerUntagged():
                yield access.TagChanged(type="customer.untagged", at=time_of(event), tag=event.tag)
            case CustomerDelegated():
                yield access.Delegated(at=time_of(event), pays=event.pays)
            case _:
                pass


def _of_agreements(entries: Iterable[Entry]) -> Iterator[access.AccessFact]:
    agreements: dict[str, list[SubscriptionEvent]] = {}
    for entry in entries:
        if isinstance(entry.event, SubscriptionEvent):
            agreements.setdefault(entry.event.external_id, []).append(entry.event)
    for agreement, events in agreements.items():
        yield from agreement_facts(agreement, events)


def _of_invoices(entries: Iterable[Entry], payments: Mapping[Ref, Payment]) -> Iterator[access.AccessFact]:
    documents: dict[Ref, list[InvoiceEvent]] = {}
    moves: dict[Ref, list[PaymentEvent | RefundChanged | DisputeChanged]] = {}
    owners: dict[Ref, Ref] = {ref: payment.invoice for ref, payment in payments.items() if payment.invoice}
    for entry in entries:
        event = entry.event
        if isinstance(event, InvoiceEvent):
            documents.setdefault(event.ref, []).append(event)
        elif isinstance(event, PaymentEvent):
            moves.setdefault(event.ref, []).append(event)
            if entry.invoice is not None:
                owners.setdefault(event.ref, entry.invoice)
        elif isinstance(event, RefundChanged | DisputeChanged):
            moves.setdefault(event.payment, []).append(event)
    for invoice, events in documents.items():
        document = Document.of(events)
        if document is None:
            continue
        mine = [payments[ref] for ref in sorted(owners) if owners[ref] == invoice and ref in payments]
        yield from document_facts(document, events, mine)
        for payment in mine:
            yield from payment_facts(payment, moves.get(payment.ref, ()), document)
