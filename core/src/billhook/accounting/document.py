"""One invoice: what it asked for and when, and what its billing engine says was paid by other ways than ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from billhook.access import facts as access
from billhook.events import (
    EngineCollectionFailed,
    InvoiceEvent,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceReinstated,
    InvoiceVoided,
    InvoiceWrittenOff,
)
from billhook.model import InvoiceStatus, Payment, PaymentStatus, Period, Ref
from billhook.projections.order import time_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An invoice as it was issued; ``views`` is how the engine saw it since, oldest first. Amounts in minor units."""

    ref: Ref
    at: datetime
    amount: int
    currency: str
    issued_on: date
    due_on: date
    subscriptions: tuple[str, ...]
    period: Period | None
    views: tuple[InvoiceObserved, ...]

    @classmethod
    def of(cls, events: Sequence[InvoiceEvent]) -> Document | None:
        """Read the invoice from everything said about it, in order; None while it is a draft."""
        views = tuple(
            event
            for event in events
            if isinstance(event, InvoiceObserved) and event.status is not InvoiceStatus.DRAFT
        )
        finalized = [event for event in events if isinstance(event, InvoiceFinalized)]
        if finalized:
            return cls._issued(finalized, views)
        return cls._seen(views) if views else None

    @classmethod
    def _issued(cls, finalized: Sequence[InvoiceFinalized], views: tuple[InvoiceObserved, ...]) -> Document:
        """Said again after a payment the amount is lower, and some bodies leave things out: take the fullest."""
        first = finalized[0]
        at = time_of(first)
        issued_on = first.issued_on or at.astimezone(UTC).date()
        return cls(
            ref=first.ref,
            at=at,
            amount=max(event.due for event in finalized),
            currency=first.currency,
            issued_on=issued_on,
            due_on=next((event.due_on for event in finalized if event.due_on), issued_on),
            subscriptions=next((event.subscriptions for event in finalized if event.subscriptions), ()),
            period=next((event.period for event in finalized if event.period), None),
            views=views,
        )

    @classmethod
    def _seen(cls, views: tuple[InvoiceObserved, ...]) -> Document:
        first = views[0]
        day = time_of(first).astimezone(UTC).date()
        return cls(
            ref=first.ref,
            at=time_of(first),
            amount=first.due + first.paid,
            currency=first.currency,
            issued_on=day,
            due_on=day,
            subscriptions=(),
            period=None,
            views=views,
        )


def document_facts(
    document: Document, events: Sequence[InvoiceEvent], payments: Sequence[Payment]
) -> Iterator[access.AccessFact]:
    """Translate an invoice; ``payments`` are ours that paid it, as projected."""
    span = access.Span(start=document.period.start, end=document.period.end) if document.period else None
    yield access.Finalized(
        at=document.at,
        invoice=str(document.ref),
        amount=document.amount,
        currency=document.currency,
        issue_date=document.issued_on,
        due_date=document.due_on,
        subscriptions=document.subscriptions,
        period=span,
    )
    yield from _amended(document)
    yield from _marks(document, events)
    yield from _engine_failures(document, events)
    yield from _paid_elsewhere(document, payments)


def _amended(document: Document) -> Iterator[access.AccessFact]:
    """What is due changes by credit notes and corrections; the engine's newest sum says by how much."""
    amount = document.amount
    for at, view in _last_views(document).items():
        stated = view.due + view.paid
        if stated != amount and view.status is not InvoiceStatus.VOIDED:
            yield access.Amended(
                type="invoice.adjusted", at=at, invoice=str(document.ref), amount=stated - amount
            )
            amount = stated


def _marks(document: Document, events: Sequence[InvoiceEvent]) -> Iterator[access.AccessFact]:
    for event in events:
        kind: access.MarkType | None = None
        match event:
            case InvoiceVoided() | InvoiceObserved(status=InvoiceStatus.VOIDED):
                kind = "invoice.voided"
            case InvoiceWrittenOff():
                kind = "invoice.written_off"
            case InvoiceReinstated():
                kind = "invoice.reinstated"
            case _:
                pass
        if kind is not None:
            yield access.Marked(type=kind, at=max(time_of(event), document.at), invoice=str(document.ref))


def _engine_failures(document: Document, events: Sequence[InvoiceEvent]) -> Iterator[access.AccessFact]:
    for event in events:
        if isinstance(event, EngineCollectionFailed):
            at = time_of(event)
            yield access.PaymentChanged(
                type="payment.failed",
                at=at,
                payment=f"{document.ref}/engine/failed/{access.written(at)}",
                invoice=str(document.ref),
                amount=document.amount,
                currency=document.currency,
                decline=event.code,
            )


def _paid_elsewhere(document: Document, payments: Sequence[Payment]) -> Iterator[access.AccessFact]:
    """What the engine counts as paid beyond our payments: by hand, by bank transfer, by its own provider.

    The engine's count holds ours once it was told, so only what goes beyond them is another payment.
    """
    lost_at = next((view.dispute_lost_at for view in document.views if view.dispute_lost_at), None)
    elsewhere = _Elsewhere(document)
    ours = 0
    for at, by_engine, by_us in _counts(document, payments):
        if lost_at is not None and at > lost_at:
            break
        ours += by_us
        yield from elsewhere.settle(at, by_engine, ours)
    if lost_at is not None and not any(payment.disputed for payment in payments):
        yield from elsewhere.lost(lost_at)
        for payment in payments:
            if counts(payment, document) and payment.at <= lost_at:
                yield access.Disputed(
                    type="dispute.lost", at=lost_at, payment=str(payment.ref), amount=payment.applied.minor
                )


def _counts(document: Document, payments: Sequence[Payment]) -> list[tuple[datetime, int | None, int]]:
    """List each moment the engine's count (None: it did not) or ours changed, and by how much ours did."""
    ours: dict[datetime, int] = {}
    for payment in payments:
        if counts(payment, document):
            at = max(payment.at, document.at)
            ours[at] = ours.get(at, 0) + payment.applied.minor
    engine = {
        at: view.due + view.paid if view.payment_status is PaymentStatus.SUCCEEDED else view.paid
        for at, view in _last_views(document).items()
    }
    return [(at, engine.get(at), ours.get(at, 0)) for at in sorted({*ours, *engine})]


def _last_views(document: Document) -> dict[datetime, InvoiceObserved]:
    """Return the last view of each instant, from the invoice's own on: equal steps of one instant would be one fact."""
    return {max(time_of(view), document.at): view for view in document.views}


def counts(payment: Payment, document: Document) -> bool:
    """Tell whether a payment settles the invoice, as the projection has it: flagged ones wait for a person."""
    return (
        payment.status is PaymentStatus.SUCCEEDED
        and not payment.flags
        and payment.applied.currency == document.currency
        and payment.applied.minor > 0
    )


class _Elsewhere:
    """Payments made elsewhere, made up from the engine's count: each rise is one, each fall takes back."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._by_engine = 0
        self._made: list[tuple[str, int]] = []
        self._number = 0

    def settle(self, at: datetime, by_engine: int | None, ours: int) -> Iterator[access.AccessFact]:
        """Bring what is counted elsewhere to what the engine has beyond ours."""
        if by_engine is not None:
            self._by_engine = by_engine
        beyond = max(0, self._by_engine - ours)
        have = sum(amount for _, amount in self._made)
        if beyond > have:
            yield self._pay(at, beyond - have)
        elif beyond < have:
            yield from self._take_back(at, have - beyond)

    def lost(self, at: datetime) -> Iterator[access.AccessFact]:
        """The engine's own provider lost a dispute: all of it is gone."""
        for payment, amount in self._made:
            yield access.Disputed(type="dispute.lost", at=at, payment=payment, amount=amount)

    def _pay(self, at: datetime, amount: int) -> access.AccessFact:
        self._number += 1
        payment = f"{self._document.ref}/engine/{self._number}"
        self._made.append((payment, amount))
        return access.PaymentChanged(
            type="payment.succeeded",
            at=at,
            payment=payment,
            invoice=str(self._document.ref),
            amount=amount,
            currency=self._document.currency,
        )

    def _take_back(self, at: datetime, amount: int) -> Iterator[access.AccessFact]:
        while amount > 0:
            payment, made = self._made.pop()
            part = min(made, amount)
            if made > part:
                self._made.append((payment, made - part))
            yield access.Reversed(at=at, payment=payment, amount=part, cause="correction")
            amount -= part
