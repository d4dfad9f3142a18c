"""Keeping each customer's decision about access: made anew when something becomes known, and when its time has come.

A change counts when the standing, the state, the access or what may be changed differs, of the customer or of a
subscription; then the version grows by one. When a timer runs late, every change it missed is entered first, at the
instant it was true, by what was known then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from billhook_web.stores.access import Cause, Known, Stored, Transition
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
        self.book = book
        self._publish = publish

    def told(
        self, tx: Tx, new: Iterable[tuple[str, About]], *, now: datetime, act: bool = True
    ) -> tuple[int, ...]:
        """Judge everybody again whom new facts of the ledger concern; as :meth:`heard` for each.

        :param new: the keys of the facts and what they are about.
        """
        concerned: dict[str, list[str]] = {}
        for key, about in new:
            for customer_id in _concerned(tx, about):
                concerned.setdefault(customer_id, []).append(key)
        lock(tx, (f"customer/{customer_id}" for customer_id in concerned))
        return tuple(
            effect
            for customer_id, keys in sorted(concerned.items())
            for effect in self.heard(tx, customer_id, new=[key for key in keys if key], now=now, act=act)
        )

    def heard(
        self, tx: Tx, customer_id: str, *, new: Sequence[str], now: datetime, act: bool = True
    ) -> tuple[int, ...]:
        """Judge a customer again because these facts became known; return the effects to wake.

        :param new: keys of the facts in the ledger that were not known before.
        :param act: False while the past is told again: nothing is sent or planned.
        """
        return self._look(tx, customer_id, cause=Cause.FACT, new=frozenset(new), now=now, act=act)

    def settle(self, tx: Tx, customer_id: str, *, now: datetime, act: bool = True) -> tuple[int, ...]:
        """Enter what changed by the clock until now."""
        return self._look(tx, customer_id, cause=Cause.TIME, new=frozenset(), now=now, act=act)

    def reassess(self, tx: Tx, customer_id: str, *, now: datetime) -> tuple[int, ...]:
        """Judge a customer again because another policy counts now, or something changed for who pays for them."""
        stored = access.get(tx, customer_id)
        cause = Cause.FACT if stored is None or stored.policy == access.OUTDATED else Cause.POLICY
        return self._look(tx, customer_id, cause=cause, new=frozenset(), now=now, act=True)

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
        return gather(tx, self.book, customer_id, at=at)

    def _look(
        self, tx: Tx, customer_id: str, *, cause: Cause, new: frozenset[str], now: datetime, act: bool
    ) -> tuple[int, ...]:
        known = access.known(tx, customer_id)
        enter = _Entering(tx, now=now, publish=self._publish if act else None)
        stored = access.get(tx, customer_id)
        if stored is not None:
            before = [each for each in known if each.key not in new]
            stored = self._catch_up(tx, stored, before, enter, now=now)
        case = gather(tx, self.book, customer_id, known=known)
        decision = case.decide(now)
        changed = stored is None or essence(stored.body) != essence(decision.to_json())
        enter.decision(stored, case, decision, cause=cause, facts=tuple(sorted(new)))
        if not (act and changed):
            return ()
        access.outdate_dependents(tx, customer_id)
        return tuple(self._cancel(tx, decision, now=now))

    def _catch_up(
        self, tx: Tx, stored: Stored, known: Sequence[Known], enter: _Entering, *, now: datetime
    ) -> Stored:
        """Enter each change since the last look that came by the clock or by another policy, by what was known then."""
        for changed_at in policies.changes(tx, stored.customer_id, after=stored.settled_at, until=now):
            stored = self._tick(tx, stored, known, enter, until=changed_at)
            case = gather(tx, self.book, stored.customer_id, known=known, at=changed_at)
            stored = enter.decision(stored, case, case.decide(changed_at), cause=Cause.POLICY)
        return self._tick(tx, stored, known, enter, until=now)

    def _tick(
        self, tx: Tx, stored: Stored, known: Sequence[Known], enter: _Entering, *, until: datetime
    ) -> Stored:
        if stored.next_change_at is None or stored.next_change_at > until:
            return stored
        case = gather(tx, self.book, stored.customer_id, known=known, at=stored.settled_at)
        coming: datetime | None = stored.next_change_at
        for _ in range(MOST_CHANGES):
            if coming is None or coming > until:
                break
            stored = enter.decision(stored, case, case.decide(coming), cause=Cause.TIME)
            coming = stored.next_change_at
        return stored

    def _cancel(self, tx: Tx, decision: Decision, *, now: datetime) -> list[int]:
        """Plan what the matching rule does to the customer's subscriptions."""
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
                now=now,
            )
            for each in billing.subscriptions.of_customer(tx, decision.customer)
            if each.status in _LIVE
        ]
        return [effect for effect in planned if effect is not None]


class _Entering:
    """Writes decisions and the history of their changes."""

    def __init__(self, tx: Tx, *, now: datetime, publish: Publish | None) -> None:
        self._tx = tx
        self._now = now
        self._publish = publish

    def decision(
        self,
        stored: Stored | None,
        case: Case,
        decision: Decision,
        *,
        cause: Cause,
        facts: tuple[str, ...] = (),
    ) -> Stored:
        """Store a decision; when it is another than before, with a new version, in the history, and told."""
        body = decision.to_json()
        changed = stored is None or essence(stored.body) != essence(body)
        version = (stored.version if stored else 0) + changed
        at = decision.at if cause is Cause.TIME else decision.since or decision.at
        kept = Stored(
            customer_id=decision.customer,
            version=version,
            body=body,
            policy=case.in_force.mark,
            changed_at=at if changed or stored is None else stored.changed_at,
            settled_at=decision.at,
            next_change_at=decision.next_change_at,
            fresh_until=_fresh_until(case.account, decision),
            payer=payer_of(case.account, decision.at),
        )
        access.put(self._tx, kept)
        if changed:
            self._tell(kept, old=stored, at=at, cause=cause, facts=facts)
        return kept

    def _tell(
        self, kept: Stored, *, old: Stored | None, at: datetime, cause: Cause, facts: tuple[str, ...]
    ) -> None:
        transition = Transition(
            customer_id=kept.customer_id,
            version=kept.version,
            at=at,
            recorded_at=self._now,
            cause=cause,
            body=kept.body,
            facts=facts,
        )
        access.add_transition(self._tx, transition)
        if self._publish is not None:
            data = {
                "customer": kept.customer_id,
                "version": kept.version,
                "cause": cause,
                "old": old.body if old else None,
                "new": kept.body,
            }
            self._publish(
                self._tx, type="access.changed", customer_id=kept.customer_id, data=data, now=self._now
            )


def _concerned(tx: Tx, about: About) -> set[str]:
    """Whose access a fact may change: its customer's, its invoice's, its payment's."""
    invoice = billing.invoices.get(tx, about.invoice) if about.invoice else None
    payment = billing.payments.get(tx, about.payment) if about.payment else None
    named = (about.customer_id, invoice and invoice.customer_id, payment and payment.customer_id)
    return {customer_id for customer_id in named if customer_id}


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
