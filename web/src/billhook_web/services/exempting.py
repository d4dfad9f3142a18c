"""What an operator decides about a customer's access besides policies: tags, who pays, debts that are given up.

Each is a fact like any other, with who said it and why. It is kept in the inbox, so that it is there when the ledger is
made again, and the decision is made anew in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from billhook.clock import Clock
from billhook.errors import Conflict, NotFound, Refused
from billhook.events import (
    CustomerDelegated,
    CustomerTagged,
    CustomerUntagged,
    Event,
    InvoiceReinstated,
    InvoiceWrittenOff,
)
from billhook.model import PaymentStatus, Ref
from billhook.projections import WRITTEN_OFF
from billhook.projections.order import order, time_of
from billhook_web.db import Database, Tx, lock
from billhook_web.services.receivers import Note
from billhook_web.services.recording import Recorder
from billhook_web.stores import accounts, billing, ledger

OURS: Final = "billhook"
"""The connection of facts that operators state here."""

LONGEST_REF: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A tag a customer carries, or who pays, or a debt given up: who said so, why, and since when."""

    what: str | None
    by: str | None
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Exempted:
    """What it came to: what is so now, whether that is new, and the effects to wake."""

    said: Said | None
    changed: bool = False
    effects: tuple[int, ...] = ()


class Exempting:
    """States such facts. Saying what is so already changes nothing."""

    def __init__(self, *, db: Database, clock: Clock, recorder: Recorder) -> None:
        self._db = db
        self._clock = clock
        self._recorder = recorder

    def tags(self, customer_id: str) -> Sequence[Said]:
        """Return the tags a customer carries, by name. Raises :class:`NotFound`."""
        with self._db.read() as tx:
            _check(tx, customer_id)
            return _tags(tx, customer_id)

    def tag(self, customer_id: str, tag: str, *, by: str, reason: str, note: Note) -> Exempted:
        """Put a tag on a customer. Raises :class:`NotFound`."""
        with self._db.begin() as tx:
            ref, now = self._hold(tx, customer_id), self._clock.now()
            there = _tag(tx, customer_id, tag)
            if there is not None:
                return Exempted(said=there)
            fact = CustomerTagged(at=now, ref=ref, customer_id=customer_id, tag=tag, by=by, reason=reason)
            note(tx, "customer.tag", customer_id, tag=tag, reason=reason)
            effects = self._recorder.hear(tx, [fact], now=now).effects
            return Exempted(said=_tag(tx, customer_id, tag), changed=True, effects=effects)

    def untag(self, customer_id: str, tag: str, *, by: str, reason: str, note: Note) -> Exempted:
        """Take a tag off a customer. Raises :class:`NotFound`."""
        with self._db.begin() as tx:
            ref, now = self._hold(tx, customer_id), self._clock.now()
            if _tag(tx, customer_id, tag) is None:
                return Exempted(said=None)
            fact = CustomerUntagged(at=now, ref=ref, customer_id=customer_id, tag=tag, by=by, reason=reason)
            note(tx, "customer.untag", customer_id, tag=tag, reason=reason)
            return Exempted(said=None, changed=True, effects=self._recorder.hear(tx, [fact], now=now).effects)

    def payer(self, customer_id: str) -> Said:
        """Return who pays for a customer; ``what`` None: the customer does. Raises :class:`NotFound`."""
        with self._db.read() as tx:
            row = _check(tx, customer_id)
            return _payer(tx, customer_id) or Said(what=None, by=None, reason=None, at=row)

    def delegate(self, customer_id: str, pays: str | None, *, by: str, reason: str, note: Note) -> Exempted:
        """Let another customer pay; None: the customer pays again.

        :raises NotFound: there is no such customer.    :raises Refused: this one cannot pay for them; names ``pays``.
        """
        with self._db.begin() as tx:
            ref, now = self._hold(tx, customer_id), self._clock.now()
            before = _payer(tx, customer_id)
            if (before.what if before else None) == pays:
                return Exempted(said=before)
            _check_payer(tx, customer_id, pays)
            fact = CustomerDelegated(
                at=now, ref=ref, customer_id=customer_id, pays=pays, by=by, reason=reason
            )
            note(tx, "customer.payer", customer_id, pays=pays, reason=reason)
            effects = self._recorder.hear(tx, [fact], now=now).effects
            return Exempted(said=_payer(tx, customer_id), changed=True, effects=effects)

    def write_off(self, invoice: Ref, *, by: str, reason: str, note: Note) -> Exempted:
        """Give a debt up.

        :raises NotFound: there is no such invoice.    :raises Conflict: nothing is owed on it.
        """
        with self._db.begin() as tx:
            now = self._clock.now()
            lock(tx, [f"invoice/{invoice}"])
            found = billing.invoices.get(tx, invoice)
            if found is None:
                raise NotFound("There is no such invoice here.")
            if WRITTEN_OFF in found.flags:
                return Exempted(said=_written_off(tx, invoice))
            if found.payment_status is PaymentStatus.SUCCEEDED:
                raise Conflict("Nothing is owed on this invoice: it is paid.")
            fact = InvoiceWrittenOff(at=now, ref=invoice, customer_id=found.customer_id, by=by, reason=reason)
            note(tx, "invoice.write_off", invoice, reason=reason)
            effects = self._recorder.hear(tx, [fact], now=now).effects
            return Exempted(said=_written_off(tx, invoice), changed=True, effects=effects)

    def reinstate(self, invoice: Ref, *, by: str, reason: str, note: Note) -> Exempted:
        """Ask for a debt again that was given up. Raises :class:`NotFound`."""
        with self._db.begin() as tx:
            now = self._clock.now()
            lock(tx, [f"invoice/{invoice}"])
            found = billing.invoices.get(tx, invoice)
            if found is None:
                raise NotFound("There is no such invoice here.")
            if WRITTEN_OFF not in found.flags:
                return Exempted(said=None)
            fact = InvoiceReinstated(at=now, ref=invoice, customer_id=found.customer_id, by=by, reason=reason)
            note(tx, "invoice.reinstate", invoice, reason=reason)
            return Exempted(said=None, changed=True, effects=self._recorder.hear(tx, [fact], now=now).effects)

    def _hold(self, tx: Tx, customer_id: str) -> Ref:
        _check(tx, customer_id)
        ref = Ref(OURS, customer_id)
        if len(str(ref)) > LONGEST_REF:
            raise Refused(
                f"The id is too long for this: at most {LONGEST_REF - len(OURS) - 1} characters.", field="id"
            )
        lock(tx, [f"customer/{customer_id}"])
        return ref


def _check(tx: Tx, customer_id: str) -> datetime:
    row = accounts.get_customer(tx, customer_id)
    if row is None:
        raise NotFound("There is no such customer here.")
    return row.created_at


def _stated(tx: Tx, ref: Ref, *kinds: type[Event]) -> list[Event]:
    said = [fact for fact in ledger.about_subject(tx, str(ref)) if isinstance(fact, kinds)]
    return sorted(said, key=order)


def _tags(tx: Tx, customer_id: str) -> list[Said]:
    found: dict[str, Said] = {}
    for fact in _stated(tx, Ref(OURS, customer_id), CustomerTagged, CustomerUntagged):
        if isinstance(fact, CustomerTagged):
            found.setdefault(fact.tag, Said(what=fact.tag, by=fact.by, reason=fact.reason, at=time_of(fact)))
        elif isinstance(fact, CustomerUntagged):
            found.pop(fact.tag, None)
    return [found[tag] for tag in sorted(found)]


def _tag(tx: Tx, customer_id: str, tag: str) -> Said | None:
    return next((said for said in _tags(tx, customer_id) if said.what == tag), None)


def _payer(tx: Tx, customer_id: str) -> Said | None:
    said = [
        Said(what=fact.pays, by=fact.by, reason=fact.reason, at=time_of(fact))
        for fact in _stated(tx, Ref(OURS, customer_id), CustomerDelegated)
        if isinstance(fact, CustomerDelegated)
    ]
    return said[-1] if said else None


def _check_payer(tx: Tx, customer_id: str, pays: str | None) -> None:
    seen, payer = {customer_id}, pays
    while payer is not None:
        if payer in seen:
            raise Refused("They would pay for each other, in a circle.", field="pays")
        if not accounts.existing(tx, [payer]):
            raise Refused("There is no such customer here; register it first.", field="pays")
        seen.add(payer)
        said = _payer(tx, payer)
        payer = said.what if said else None


def _written_off(tx: Tx, invoice: Ref) -> Said | None:
    last = _stated(tx, invoice, InvoiceWrittenOff)
    return next(
        (
            Said(what=str(invoice), by=fact.by, reason=fact.reason, at=time_of(fact))
            for fact in reversed(last)
            if isinstance(fact, InvoiceWrittenOff)
        ),
        None,
    )
