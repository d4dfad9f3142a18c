"""One look at a customer's access: from what is stored and what is known, the decision and every change on the way to it.

Nothing is read or written here. So many looks share what they read, and write what came of them together.

A change counts when the standing, the state, the access or what may be changed differs, of the customer or of a
subscription; then the version grows by one. When a timer runs late, every change it missed is entered first, at the
instant it was true, by what was known then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from billhook.access import Account, Decision
from billhook.access.facts import PaymentChanged
from billhook_web.services.access_policies import Assigned
from billhook_web.services.cases import Case, Dossier, payer_of
from billhook_web.stores.access import OUTDATED, Cause, Stored, Transition

MOST_CHANGES = 1000
"""Changes entered at once for a customer nobody looked at for long; the next look goes on from there."""

_AN_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision that is another than the one before. ``old``: the one before as JSON; None: it is the first."""

    decision: Decision
    transition: Transition
    old: Mapping[str, Any] | None


class Look:
    """One look: ``stored`` is the decision as it is now, ``changes`` what is to be entered in the history and told."""

    def __init__(self, customer_id: str, *, stored: Stored | None, assigned: Assigned, now: datetime) -> None:
        self.customer_id = customer_id
        self.stored = stored
        self.changes: list[Change] = []
        self._before = stored
        self._assigned = assigned
        # Two processes' clocks may differ: what is decided never goes back in time.
        self._now = max(now, stored.settled_at) if stored else now

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to write."""
        return self.stored is not self._before

    def is_behind(self) -> bool:
        """Say whether anything changed by the clock, or by another policy, since the decision was made."""
        stored = self.stored
        return stored is not None and (
            _due(stored, self._now) is not None or bool(self._policies_since(stored))
        )

    def is_due(self) -> bool:
        """Say whether the decision changes by now, was made before the policies of now, or never was made."""
        stored = self.stored
        return stored is None or self._is_outdated(stored) or _due(stored, self._now) is not None

    def cause_anew(self) -> Cause:
        """Return why a decision is made again that no fact and no clock asks for."""
        known = self.stored is not None and self.stored.policy != OUTDATED
        return Cause.POLICY if known else Cause.FACT

    def catch_up(self, known: Dossier) -> None:
        """Enter each change since the last look that came by the clock or by another policy, at its own instant."""
        if self.stored is None:
            return
        for at in self._policies_since(self.stored):
            self._tick(known, until=at)
            case = self._case(known, at)
            self._enter(case, case.decide(at), cause=Cause.POLICY)
        self._tick(known, until=self._now)

    def judge(self, known: Dossier, *, cause: Cause, facts: tuple[str, ...] = ()) -> None:
        """Catch up, then decide by everything that is known now.

        :param facts: the keys of the facts that are new.
        """
        self.catch_up(known)
        case = self._case(known, self._now)
        self._enter(case, case.decide(self._now), cause=cause, facts=facts)

    def settle(self, known: Dossier) -> None:
        """Catch up; then decide by now if another policy counts, or the decision does not read as of now."""
        if self.stored is not None and self._is_outdated(self.stored):
            self.judge(known, cause=self.cause_anew())
            return
        self.catch_up(known)
        if self.stored is None or not is_fresh(self.stored, self._now):
            self.judge(known, cause=Cause.TIME)

    def _is_outdated(self, stored: Stored) -> bool:
        return stored.policy < self._assigned.default_mark

    def _policies_since(self, stored: Stored) -> Sequence[datetime]:
        return self._assigned.changes(self.customer_id, after=stored.settled_at, until=self._now)

    def _case(self, known: Dossier, at: datetime) -> Case:
        return known.case(self._assigned.in_force(self.customer_id, at=at))

    def _tick(self, known: Dossier, *, until: datetime) -> None:
        stored = self.stored
        if stored is None or not (due := _due(stored, until)):
            return
        case = self._case(known, stored.settled_at)
        for _ in range(MOST_CHANGES):
            stored = self._enter(case, case.decide(due), cause=Cause.TIME)
            if not (due := _due(stored, until)):
                break

    def _enter(self, case: Case, decision: Decision, *, cause: Cause, facts: tuple[str, ...] = ()) -> Stored:
        """Take a decision; when it is another than before, with a new version, and as a change.

        Before anything was heard of a customer there is no history: the decision is version 0.
        """
        old = self.stored if self.stored is not None and self.stored.version else None
        body = decision.to_json()
        differs = old is None or essence(old.body) != essence(body)
        changed = case.heard and differs
        at = _true_since(old, case, decision, cause) if changed else decision.at
        self.stored = Stored(
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
        if changed:
            self._note(decision, self.stored, old, cause, facts)
        return self.stored

    def _note(
        self, decision: Decision, new: Stored, old: Stored | None, cause: Cause, facts: tuple[str, ...]
    ) -> None:
        transition = Transition(
            customer_id=new.customer_id,
            version=new.version,
            at=new.changed_at,
            recorded_at=self._now,
            cause=cause,
            body=new.body,
            facts=facts,
        )
        self.changes.append(
            Change(decision=decision, transition=transition, old=None if old is None else old.body)
        )


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
