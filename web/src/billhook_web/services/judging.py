"""Decisions kept: made anew when something becomes known, and when its time has come; written, entered and told.

What a decision is made from and when it counts as another one is said in :mod:`billhook_web.services.looking`. Customers
judged together share every query and every write, however many they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billhook.effects import CancelSubscription
from billhook.model import SubscriptionStatus
from billhook_web.db import Tx, lock
from billhook_web.services.access_policies import PolicyBook
from billhook_web.services.cases import Case, dossiers, gather
from billhook_web.services.looking import Change, Look, is_fresh
from billhook_web.services.publishing import ACCESS_CHANGED, Happening
from billhook_web.stores import access, accounts, billing, outbox
from billhook_web.stores.access import Cause, Stored
from billhook_web.stores.ledger import About

_LIVE = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)


class Publish(Protocol):
    """Sends events to the integrator's endpoints, from the transaction they became true in."""

    def __call__(self, tx: Tx, happened: Sequence[Happening]) -> object:
        """Write the messages; they leave after the commit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Braced:
    """Whom facts that are about to be known may concern, by what they are about; effects planned until then."""

    concerned: Mapping[About, set[str]]
    effects: tuple[int, ...] = ()


class Judge:
    """Makes and keeps decisions, in the caller's transaction."""

    def __init__(self, *, book: PolicyBook, publish: Publish) -> None:
        self._book = book
        self._publish = publish

    def brace(self, tx: Tx, abouts: Iterable[About], *, now: datetime, act: bool = True) -> Braced:
        """Enter every change by the clock until now for whom new facts may concern, before those are known.

        :param act: False while the past is told again: nothing is sent or planned.
        """
        concerned = {about: _concerned(tx, about) for about in set(abouts)}
        everybody = _with_dependents(tx, {name for names in concerned.values() for name in names})
        lock(tx, (f"customer/{customer_id}" for customer_id in everybody))
        behind = [look for look in self._looks(tx, everybody, now=now) if look.is_behind()]
        known = dossiers(tx, [look.customer_id for look in behind])
        for look in behind:
            look.catch_up(known[look.customer_id])
        return Braced(concerned=concerned, effects=self._keep(tx, behind, act=act))

    def told(
        self, tx: Tx, new: Iterable[tuple[str, About]], *, braced: Braced, now: datetime, act: bool = True
    ) -> tuple[int, ...]:
        """Judge everybody again whom new facts of the ledger concern; return the effects to wake.

        :param new: the keys of the facts and what they are about.    :param act: as for :meth:`brace`.
        """
        keys: dict[str, set[str]] = {}
        for key, about in new:
            for customer_id in _concerned(tx, about) | braced.concerned.get(about, set()):
                keys.setdefault(customer_id, set()).add(key)
        everybody = _with_dependents(tx, set(keys))
        lock(tx, (f"customer/{customer_id}" for customer_id in everybody))
        of_all = {key for each in keys.values() for key in each}
        looks, known = self._looks(tx, everybody, now=now), dossiers(tx, sorted(everybody))
        for look in looks:
            facts = tuple(sorted(keys.get(look.customer_id, of_all)))
            look.judge(known[look.customer_id], cause=Cause.FACT, facts=facts)
        return braced.effects + self._keep(tx, looks, act=act)

    def settle(self, tx: Tx, customer_id: str, *, now: datetime, act: bool = True) -> tuple[int, ...]:
        """Enter what changed by the clock until now, and have the decision read as of now."""
        return self._judge(tx, customer_id, cause=Cause.TIME, now=now, act=act)

    def settle_due(self, tx: Tx, customer_ids: Iterable[str], *, now: datetime) -> tuple[int, ...]:
        """Enter what changed for those whose time has come, and judge those again for whom another policy counts.

        Who is up to date is left alone. The customers must be locked.
        """
        looks = [look for look in self._looks(tx, set(customer_ids), now=now) if look.is_due()]
        known = dossiers(tx, [look.customer_id for look in looks])
        for look in looks:
            look.settle(known[look.customer_id])
        return self._keep(tx, looks, act=True)

    def reassess(self, tx: Tx, customer_id: str, *, now: datetime) -> tuple[int, ...]:
        """Judge a customer again because another policy counts now."""
        return self._judge(tx, customer_id, cause=None, now=now, act=True)

    def fresh(self, tx: Tx, customer_id: str, *, now: datetime) -> Stored | None:
        """Return the stored decision if it is still the one for now."""
        stored = access.get(tx, customer_id)
        return stored if stored is not None and is_fresh(stored, now) else None

    def answer(self, tx: Tx, customer_id: str, *, now: datetime) -> Stored | None:
        """Return the decision for now, made again; None: the customer is not known."""
        stored = access.get(tx, customer_id)
        if stored is None and accounts.get_customer(tx, customer_id) is None:
            return None
        lock(tx, [f"customer/{customer_id}"])
        self.settle(tx, customer_id, now=now)
        return access.get(tx, customer_id)

    def case(self, tx: Tx, customer_id: str, *, at: datetime | None = None) -> Case:
        """Gather what a decision is made from, under the policy of now or of an instant."""
        return gather(tx, self._book, customer_id, at=at)

    def _judge(
        self, tx: Tx, customer_id: str, *, cause: Cause | None, now: datetime, act: bool
    ) -> tuple[int, ...]:
        (look,) = self._looks(tx, {customer_id}, now=now)
        known = dossiers(tx, [customer_id])[customer_id]
        look.judge(known, cause=cause or look.cause_anew())
        return self._keep(tx, [look], act=act)

    def _looks(self, tx: Tx, customer_ids: set[str], *, now: datetime) -> list[Look]:
        """Read what is stored of some customers, and which policies counted since then."""
        names = sorted(customer_ids)
        if not names:
            return []
        stored = access.many(tx, names)
        since = min((each.settled_at for each in stored.values()), default=now)
        assigned = self._book.assigned(tx, names, since=min(since, now))
        return [Look(name, stored=stored.get(name), assigned=assigned, now=now) for name in names]

    def _keep(self, tx: Tx, looks: Sequence[Look], *, act: bool) -> tuple[int, ...]:
        """Write what came of some looks, enter it, tell it; plan what the rules do, and return what was planned."""
        access.put(tx, *(look.stored for look in looks if look.stored is not None and look.is_changed))
        changes = [change for look in looks for change in look.changes]
        access.add_transitions(tx, (change.transition for change in changes))
        if not act:
            return ()
        self._publish(tx, [_happening(change) for change in changes])
        return tuple(effect for change in changes for effect in _cancel(tx, change))


def _happening(change: Change) -> Happening:
    new = change.transition
    data = {
        "customer": new.customer_id,
        "version": new.version,
        "cause": new.cause,
        "old": change.old,
        "new": new.body,
    }
    return Happening(type=ACCESS_CHANGED, customer_id=new.customer_id, data=data, at=new.recorded_at)


def _cancel(tx: Tx, change: Change) -> list[int]:
    """Plan what the rule that came to match does to the customer's subscriptions."""
    decision = change.decision
    if decision.cancel == "none" or decision.since is None:
        return []
    planned = [
        outbox.add(
            tx,
            CancelSubscription(
                customer_id=decision.customer,
                subscription=each.ref,
                at_once=decision.cancel == "immediate",
                standing=decision.standing,
                since=decision.since,
            ),
            now=change.transition.recorded_at,
        )
        for each in billing.subscriptions.of_customer(tx, decision.customer)
        if each.status in _LIVE
    ]
    return [effect for effect in planned if effect is not None]


def _concerned(tx: Tx, about: About) -> set[str]:
    """Whose access a fact may change: its customer's, its invoice's, its payment's."""
    invoice = billing.invoices.get(tx, about.invoice) if about.invoice else None
    payment = billing.payments.get(tx, about.payment) if about.payment else None
    named = (about.customer_id, invoice and invoice.customer_id, payment and payment.customer_id)
    return {customer_id for customer_id in named if customer_id}


def _with_dependents(tx: Tx, customer_ids: set[str]) -> set[str]:
    """Add everybody for whom one of them pays, directly or through others."""
    found, wanted = set(customer_ids), set(customer_ids)
    while wanted:
        wanted = access.dependents(tx, wanted) - found
        found |= wanted
    return found
