"""Applying facts: enter them in the ledger, compute what they touch anew, and plan what has to happen next.

All of it in the caller's transaction. The order in which facts arrive does not matter: whatever a fact touches is
computed from *all* facts known about it (:mod:`billhook.projections`), and effects are planned from the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from billhook.events import (
    CreditNoteIssued,
    Event,
    InvoiceEvent,
    MandateChanged,
    PaymentEvent,
    fact_key,
)
from billhook.model import Ref, Snapshot
from billhook.plugins import Registry
from billhook_web.db import Tx, lock
from billhook_web.services.connections import Connections
from billhook_web.services.judging import Braced, Judge
from billhook_web.services.personal import without_personal_data
from billhook_web.services.projecting import Projector, attempt_of, payment_of, stands_alone, take_turns
from billhook_web.stores import accounts, billing, inbox, ledger, outbox, told
from billhook_web.stores.ledger import About, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying facts came to: how many were new, and the effects that were planned.

    ``said`` is all that was said, as it is kept. ``about_erased``: some of it is about a person whose personal data was
    erased, and was taken out.
    """

    new: int
    effects: tuple[int, ...]
    said: tuple[Statement, ...] = ()
    about_erased: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A statement and what it is about. ``erased``: a person whose data was erased, so it is kept without."""

    said: Statement
    about: About
    inbox_id: int | None = None
    erased: bool = False


class Recorder:
    """Enters facts and keeps the projections."""

    def __init__(self, connections: Connections, registry: Registry, judge: Judge | None = None) -> None:
        self._connections = connections
        self._projector = Projector(connections)
        self._registry = registry
        self._judge = judge

    def apply(
        self,
        tx: Tx,
        events: Iterable[Event],
        *,
        now: datetime,
        inbox_id: int | None = None,
        plan: bool = True,
    ) -> Applied:
        """Apply facts; undated ones get ``now``. Facts that are known already change nothing.

        ``plan`` False: what has to happen because of them was planned when they were first heard.
        """
        said = [Statement.of(event, heard_at=now) for event in events]
        return self.enter(tx, said, now=now, inbox_id=inbox_id, plan=plan)

    def enter(
        self,
        tx: Tx,
        said: Iterable[Statement],
        *,
        now: datetime,
        inbox_id: int | None = None,
        plan: bool = True,
        known_at: datetime | None = None,
    ) -> Applied:
        """As :meth:`apply`, for facts that are dated and have their keys.

        ``known_at`` is when they count as known for decisions about access; None: ``now``.
        """
        placed = [replace(each, inbox_id=inbox_id) for each in self._place(tx, said)]
        return self._enter(tx, placed, now=now, plan=plan, known_at=known_at)

    def hear(self, tx: Tx, events: Iterable[Event], *, now: datetime) -> Applied:
        """Apply facts that came without a delivery, in answer to a question of ours.

        What is new in them is kept in the inbox like a delivery, so that the ledger can be made again from there.
        """
        placed = self._place(tx, [Statement.of(event, heard_at=now) for event in events])
        known = ledger.known(tx, [each.said.key for each in placed])
        new = [each.said for each in placed if each.said.key not in known]
        kept_in: dict[str, int | None] = {}
        for connection in sorted({said.fact.ref.connection for said in new}):
            text = told.write(said for said in new if said.fact.ref.connection == connection)
            key = sha256(f"{now.isoformat()} {text}".encode()).hexdigest()
            kept_in[connection] = inbox.add_told(
                tx, connection=connection, key=f"told/{key}", told=text, now=now
            )
        placed = [replace(each, inbox_id=kept_in.get(each.said.fact.ref.connection)) for each in placed]
        return self._enter(tx, placed, now=now)

    def recompute(self, tx: Tx, changed: Iterable[tuple[Event, About]], *, now: datetime) -> None:
        """Compute anew what facts of the ledger touch that were changed there; nothing happens because of it."""
        for fact, about in changed:
            self._projector.project(tx, fact, about, now=now)

    def _enter(
        self,
        tx: Tx,
        placed: Sequence[_Placed],
        *,
        now: datetime,
        plan: bool = True,
        known_at: datetime | None = None,
    ) -> Applied:
        braced = self._braced(tx, placed, now=known_at or now, act=plan)
        new = [
            each for each in placed if ledger.add(tx, each.said, each.about, inbox_id=each.inbox_id, now=now)
        ]
        for each in _last_of_each(new):
            self._projector.project(tx, each.said.fact, each.about, now=now)
        effects = tuple(self._planned(tx, new, now=now)) if plan else ()
        if self._judge is not None:
            told = [(each.said.key, each.about) for each in new]
            effects += self._judge.told(tx, told, braced=braced, now=known_at or now, act=plan)
        return Applied(
            new=len(new),
            effects=effects,
            said=tuple(each.said for each in placed),
            about_erased=any(each.erased for each in placed),
        )

    def _braced(self, tx: Tx, placed: Iterable[_Placed], *, now: datetime, act: bool) -> Braced:
        """Have decisions about access brought up to now by what was known before."""
        placed = list(placed)
        if self._judge is None or not placed:
            return Braced(concerned={})
        known = ledger.known(tx, [each.said.key for each in placed])
        abouts = [each.about for each in placed if each.said.key not in known]
        return self._judge.brace(tx, abouts, now=now, act=act)

    def adopt(self, tx: Tx, payment: Ref, invoice: Ref, *, now: datetime) -> tuple[int, ...]:
        """Tie a payment to the invoice an attempt made it for, when its facts name none; return effects to wake.

        A provider may tell of a payment before it answered the call that made it, or with metadata of another's.
        """
        lock(tx, [f"payment/{payment}"])
        lock(tx, [f"invoice/{invoice}"])
        about = About(subject=str(payment), connection=payment.connection, invoice=str(invoice))
        braced = self._judge.brace(tx, [about], now=now) if self._judge is not None else None
        if not ledger.tie(tx, str(payment), str(invoice)):
            return braced.effects if braced else ()
        self._projector.project_invoice(tx, invoice)
        own = [fact for fact in ledger.about_payment(tx, str(payment)) if isinstance(fact, PaymentEvent)]
        snapshot = self._snapshot_of(tx, about)
        effects = tuple(effect for fact in own for effect in self._plan(tx, fact, snapshot, now=now))
        if self._judge is None or braced is None:
            return effects
        new = [(fact_key(fact), about) for fact in own]
        return effects + self._judge.told(tx, new, braced=braced, now=now)

    def snapshot(self, tx: Tx, invoice: Ref) -> Snapshot:
        """Return an invoice with everything that hangs on it."""
        found = billing.invoices.get(tx, invoice)
        payments = billing.payments.of_invoice(tx, invoice)
        refs = [payment.ref for payment in payments]
        customer = accounts.get_customer(tx, found.customer_id) if found and found.customer_id else None
        return Snapshot(
            customer=customer.customer if customer else None,
            invoice=found,
            payments=payments,
            refunds=billing.refunds.of_payments(tx, refs),
            disputes=billing.disputes.of_payments(tx, refs),
            credit_notes=billing.credit_notes.of_invoice(tx, invoice),
            attempts=billing.attempts_of(tx, invoice),
        )

    # --- placing: what is this fact about? -----------------------------------------------------------------------

    def _place(self, tx: Tx, said: Iterable[Statement]) -> list[_Placed]:
        """Find what each statement is about, and lock that; take out what must not be known of an erased customer."""
        said = list(said)
        take_turns(tx, [each.fact for each in said])
        placed = [_Placed(said=each, about=self._about(tx, each.fact)) for each in said]
        lock(tx, (f"invoice/{each.about.invoice}" for each in placed if each.about.invoice))
        lock(tx, (f"customer/{each.about.customer_id}" for each in placed if each.about.customer_id))
        if not accounts.any_erased(tx):
            return placed
        return [_without_personal_data(each) if _is_erased(tx, each) else each for each in placed]

    def _about(self, tx: Tx, fact: Event) -> About:
        ref = fact.ref
        invoice = self._invoice_named_by(tx, fact)
        known = billing.invoices.get(tx, invoice) if invoice else None
        customer_id = getattr(fact, "customer_id", None) or (known.customer_id if known else None)
        if isinstance(fact, MandateChanged):
            customer_id = self._connections.customer_of(fact.metadata)
        payment = payment_of(fact)
        return About(
            subject=str(ref),
            connection=ref.connection,
            payment=str(payment) if payment else None,
            invoice=str(invoice) if invoice else None,
            customer_id=customer_id,
        )

    def _invoice_named_by(self, tx: Tx, fact: Event) -> Ref | None:
        if isinstance(fact, PaymentEvent):
            attempt = attempt_of(tx, [fact])
            return self._connections.invoice_of(fact.metadata) or (attempt.invoice if attempt else None)
        if isinstance(fact, CreditNoteIssued):
            return fact.invoice
        return fact.ref if isinstance(fact, InvoiceEvent) else None

    # --- planning: what has to happen? ---------------------------------------------------------------------------

    def _planned(self, tx: Tx, entered: Iterable[_Placed], *, now: datetime) -> Iterator[int]:
        """Plan what each fact calls for, looking at how things stand after all of them."""
        snapshots: dict[About | str, Snapshot] = {}
        for each in entered:
            place = each.about.invoice or each.about
            if place not in snapshots:
                snapshots[place] = self._snapshot_of(tx, each.about)
            yield from self._plan(tx, each.said.fact, snapshots[place], now=now)

    def _plan(self, tx: Tx, fact: Event, snapshot: Snapshot, *, now: datetime) -> list[int]:
        planned = (outbox.add(tx, effect, now=now) for effect in self._registry.effects_for(fact, snapshot))
        return [effect_id for effect_id in planned if effect_id is not None]

    def _snapshot_of(self, tx: Tx, about: About) -> Snapshot:
        invoice = Ref.parse(about.invoice) if about.invoice else None
        if invoice is None and about.payment is not None:
            payment = billing.payments.get(tx, about.payment)
            invoice = payment.invoice if payment else None
        if invoice is not None:
            return self.snapshot(tx, invoice)
        customer = accounts.get_customer(tx, about.customer_id) if about.customer_id else None
        return Snapshot(
            customer=customer.customer if customer else None,
            subscription=billing.subscriptions.get(tx, about.subject),
        )


def _last_of_each(entered: Sequence[_Placed]) -> list[_Placed]:
    """Return one fact of each thing that is computed anew: all are in the ledger by now, so once is enough."""
    last: dict[tuple[bool, str], _Placed] = {}
    for each in reversed(entered):
        about = each.about
        alone = stands_alone(each.said.fact)
        thing = about.subject if alone else about.payment or about.invoice or about.subject
        last.setdefault((alone, thing), each)
    return list(reversed(last.values()))


def _is_erased(tx: Tx, placed: _Placed) -> bool:
    """Say whether a fact is about an erased customer: named, or known by its payment or by the id at its provider."""
    fact, about = placed.said.fact, placed.about
    return accounts.is_erased(
        tx,
        customer_id=about.customer_id,
        payment=about.payment,
        provider_id=(about.connection, getattr(fact, "provider_customer", None)),
    )


def _without_personal_data(placed: _Placed) -> _Placed:
    return replace(placed, said=without_personal_data(placed.said), erased=True)
