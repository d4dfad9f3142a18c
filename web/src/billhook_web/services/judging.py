"""Keeping each customer's decision about access: made anew when something becomes known, and when its time has come.

A change counts when the standing, the state, the access or what may be changed differs, of the customer or of a
subscription; then the version grows by one. When a timer runs late, every change it missed is entered first, at the
instant it was true, by what was known then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Protocol

from billhook.access import Account, Decision
from billhook.access.facts import PaymentChanged
from billhook.effects import CancelSubscription
from billhook.model import SubscriptionStatus
from billhook_web.db import Tx, lock
from billhook_web.services.access_policies import PolicyBook
from billhook_web.services.cases import Case, gather, payer_of
from billhook_web.stores import access, accounts, billing, outbox, policies
from billhook_web.stores.access import Cause, Stored, Transition
from billhook_web.stores.ledger import About

MOST_CHANGES = 1000
"""Changes entered at once for a customer nobody looked at for long; the next look goes on from there."""

_LIVE = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)
_AN_HOUR = timedelta(hours=1)


class Publish(Protocol):
    """Sends an event to the integrator's endpoints, from the transaction it became true in."""

    def __call__(
        self, tx: Tx, *, type: str, customer_id: str, data: Mapping[str, Any], now: datetime
    ) -> object:
        """Write the message; it leaves after the commit."""
        ...


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
        effects: list[int] = []
        for customer_id in sorted(everybody):
            look = self._looking(tx, customer_id, now=now, act=act)
            look.catch_up()
            effects += look.effects()
        return Braced(concerned=concerned, effects=tuple(effects))

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
        effects = list(braced.effects)
        for customer_id in sorted(everybody):
            look = self._looking(tx, customer_id, now=now, act=act)
            look.judge(cause=Cause.FACT, facts=tuple(sorted(keys.get(customer_id, of_all))))
            effects += look.effects()
        return tuple(effects)

    def settle(self, tx: Tx, customer_id: str, *, now: datetime, act: bool = True) -> tuple[int, ...]:
        """Enter what changed by the clock until now, and have the decision read as of now."""
        look = self._looking(tx, customer_id, now=now, act=act)
        look.judge(cause=Cause.TIME)
        return look.effects()

    def tick(self, tx: Tx, customer_id: str, *, now: datetime) -> tuple[int, ...]:
        """As :meth:`settle`, but a decision that is fresh once its changes are entered is left as it is."""
        look = self._looking(tx, customer_id, now=now, act=True)
        stored = look.catch_up()
        if stored is None or not is_fresh(stored, now):
            look.judge(cause=Cause.TIME)
        return look.effects()

    def reassess(self, tx: Tx, customer_id: str, *, now: datetime) -> tuple[int, ...]:
        """Judge a customer again because another policy counts now, or their decision was outdated."""
        stored = access.get(tx, customer_id)
        cause = Cause.FACT if stored is None or stored.policy == access.OUTDATED else Cause.POLICY
        look = self._looking(tx, customer_id, now=now, act=True)
        look.judge(cause=cause)
        return look.effects()

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

    def _looking(self, tx: Tx, customer_id: str, *, now: datetime, act: bool) -> _Look:
        return _Look(tx, self._book, customer_id, now=now, publish=self._publish if act else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Braced:
    """Whom facts that are about to be known may concern, by what they are about; effects planned until then."""

    concerned: Mapping[About, set[str]]
    effects: tuple[int, ...] = ()


class _Look:
    """One look at a customer: reads the case, writes the decision and the history of its changes."""

    def __init__(
        self, tx: Tx, book: PolicyBook, customer_id: str, *, now: datetime, publish: Publish | None
    ) -> None:
        self._tx = tx
        self._book = book
        self._customer_id = customer_id
        self._publish = publish
        self._stored = access.get(tx, customer_id)
        # Two processes' clocks may differ: what is decided never goes back in time.
        self._now = max(now, self._stored.settled_at) if self._stored else now
        self._changes: list[Decision] = []

    def catch_up(self) -> Stored | None:
        """Enter each change since the last look that came by the clock or by another policy, at its own instant."""
        if self._stored is None:
            return None
        since = self._stored.settled_at
        for at in policies.changes(self._tx, self._customer_id, after=since, until=self._now):
            self._tick(until=at)
            case = self._case(at)
            self._enter(case, case.decide(at), cause=Cause.POLICY)
        self._tick(until=self._now)
        return self._stored

    def judge(self, *, cause: Cause, facts: tuple[str, ...] = ()) -> None:
        """Catch up, then decide by everything that is known now."""
        self.catch_up()
        case = self._case(self._now)
        self._enter(case, case.decide(self._now), cause=cause, facts=facts)

    def effects(self) -> tuple[int, ...]:
        """Plan what the rules that came to match do to subscriptions; return what was planned."""
        if self._publish is None:
            return ()
        return tuple(effect for decision in self._changes for effect in self._cancel(decision))

    def _case(self, at: datetime) -> Case:
        return gather(self._tx, self._book, self._customer_id, at=at)

    def _tick(self, *, until: datetime) -> None:
        stored = self._stored
        if stored is None or not (due := _due(stored, until)):
            return
        case = self._case(stored.settled_at)
        for _ in range(MOST_CHANGES):
            stored = self._enter(case, case.decide(due), cause=Cause.TIME)
            if not (due := _due(stored, until)):
                break

    def _enter(self, case: Case, decision: Decision, *, cause: Cause, facts: tuple[str, ...] = ()) -> Stored:
        """Store a decision; when it is another than before, with a new version, in the history, and told.

        Before anything was heard of a customer there is no history: the decision is version 0.
        """
        old = self._stored if self._stored is not None and self._stored.version else None
        body = decision.to_json()
        differs = old is None or essence(old.body) != essence(body)
        changed = case.heard and differs
        at = _true_since(old, case, decision, cause) if changed else decision.at
        self._stored = Stored(
            customer_id=decision.customer,
            version=(old.version if old else 0) + changed,
            body=body,
            policy=case.in_force.mark,
            changed_at=at if changed or old is None else old.changed_at,
            settled_at=decision.at,
            next_change_at=_next_look(case, decision),
            fresh_until=_fresh_until(case.account, decision),
            payer=payer_of(case.account, decision.at),
        )
        access.put(self._tx, self._stored)
        if changed:
            self._changes.append(decision)
            self._tell(self._stored, old, cause, facts)
        return self._stored

    def _tell(self, new: Stored, old: Stored | None, cause: Cause, facts: tuple[str, ...]) -> None:
        transition = Transition(
            customer_id=new.customer_id,
            version=new.version,
            at=new.changed_at,
            recorded_at=self._now,
            cause=cause,
            body=new.body,
            facts=facts,
        )
        access.add_transition(self._tx, transition)
        if self._publish is not None:
            data = {
                "customer": new.customer_id,
                "version": new.version,
                "cause": cause,
                "old": old.body if old else None,
                "new": new.body,
            }
            self._publish(
                self._tx, type="access.changed", customer_id=new.customer_id, data=data, now=self._now
            )

    def _cancel(self, decision: Decision) -> list[int]:
        """Plan what the matching rule does to the customer's subscriptions."""
        if decision.cancel == "none" or decision.since is None:
            return []
        planned = [
            outbox.add(
                self._tx,
                CancelSubscription(
                    customer_id=decision.customer,
                    subscription=each.ref,
                    at_once=decision.cancel == "immediate",
                    standing=decision.standing,
                    since=decision.since,
                ),
                now=self._now,
            )
            for each in billing.subscriptions.of_customer(self._tx, decision.customer)
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


def _due(stored: Stored, until: datetime) -> datetime | None:
    """Return when the decision changes by itself, if it does by then."""
    at = stored.next_change_at
    return at if at is not None and at <= until else None


def _true_since(old: Stored | None, case: Case, decision: Decision, cause: Cause) -> datetime:
    """Return when a change became true, which is before we knew when a fact came late."""
    if old is not None and cause is not Cause.FACT:
        return decision.at
    if old is None or essence(old.body)[:-1] != essence(decision.to_json())[:-1]:
        return decision.since or decision.at
    told = [fact.at for fact in case.account.facts if fact.at <= decision.at]
    return max(told, default=decision.at)  # only a subscription of theirs changed


def _next_look(case: Case, decision: Decision) -> datetime | None:
    """Return when the decision changes by itself, or a fact that is known already becomes true."""
    accounts_ = (case.account, *case.payers.values())
    coming = (fact.at for each in accounts_ for fact in each.facts if fact.at > decision.at)
    found = [at for at in (decision.next_change_at, min(coming, default=None)) if at is not None]
    return min(found, default=None)


def is_fresh(stored: Stored, now: datetime) -> bool:
    """Say whether a stored decision may be told as the one for now."""
    ends = [each for each in (stored.next_change_at, stored.fresh_until) if each is not None]
    return stored.policy >= 0 and all(now < each for each in ends)


def essence(body: Mapping[str, Any]) -> Any:
    """Return what makes a decision another one: amounts, days and sentences may differ without it."""
    lines = {name: (line["state"], line["access"]) for name, line in body.get("subscriptions", {}).items()}
    return body["standing"], body["state"], body["access"], body["block_changes"], lines


def _fresh_until(account: Account, decision: Decision) -> datetime | None:
    """Return when a decision that did not change reads differently: days are counted from midnight to midnight.

    A debit in flight may lapse within the day: then it is looked at every hour.
    """
    if not account.facts:
        return None
    local = decision.at.astimezone(account.timezone)
    midnight = datetime.combine(local.date() + timedelta(days=1), time(), account.timezone).astimezone(UTC)
    pending = any(
        isinstance(fact, PaymentChanged) and fact.type == "payment.pending" for fact in account.facts
    )
    return min(midnight, decision.at + _AN_HOUR) if pending else midnight
