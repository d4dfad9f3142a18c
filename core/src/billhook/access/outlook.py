"""What happens by itself from here: with the facts known so far, the decision at every later instant.

A new fact makes a new outlook. Within one, everything is a step function of time whose steps are computed, so the next
change is the first step at which the outcome really differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from billhook.access.book import Book
from billhook.access.conditions import Rulebook, Times
from billhook.access.debts import Debts
from billhook.access.lifecycle import LIVE, USABLE, Step, SubscriptionState, prepaid_until, state_at, steps
from billhook.access.rules import CLEAR, Access, CancelEffect, Policy, Rule

_ORDER: Final = {state: place for place, state in enumerate((*LIVE, "pending", "expired", "ended"))}
"""Which state speaks for the customer when several give the same access: the most alive."""


class Outcome(NamedTuple):
    """One subscription at an instant. ``rule`` None: nothing lowers it."""

    lifecycle: str
    rule: Rule | None
    state: str
    access: Access


class Head(NamedTuple):
    """The customer at an instant: what ``since`` is about."""

    standing: str
    state: str
    access: Access
    block_changes: bool
    cancel: CancelEffect


class Signature(NamedTuple):
    """What makes two decisions differ: the customer's part, and each subscription's state and access."""

    head: Head
    subscriptions: tuple[tuple[str, str, Access], ...]


class Prospect(NamedTuple):
    """One subscription under an outlook.

    ``own_times`` None: the customer's standing applies; ``shielded_until``: only its own debts count before that.
    """

    subscription: SubscriptionState
    life: tuple[Step, ...]
    debts: Debts | None = None
    own_times: Times | None = None
    shielded_until: datetime | None = None


class Outlook:
    """The account's decisions from now on if no new fact arrives. The books must have passed to ``now``."""

    def __init__(self, policy: Policy, rulebook: Rulebook, own: Book, payer: Book, now: datetime) -> None:
        self.policy = policy
        self._now = now
        self._rulebook = rulebook
        self.own = own
        self.payer = payer
        self.times = rulebook.times(payer.debts, payer.ledger, payer.tags)
        self.prospects = tuple(self._prospect(each) for each in own.subscriptions.values())

    def rule_at(self, at: datetime, times: Times | None = None) -> Rule | None:
        """Return the first rule whose conditions hold at ``at``."""
        for rule, time in zip(self.policy.rules, self.times if times is None else times, strict=True):
            if time is not None and time <= at:
                return rule
        return None

    def outcomes(self, at: datetime) -> dict[str, Outcome]:
        """Return where each subscription stands."""
        standing = self.rule_at(at)
        return {each.subscription.id: self._outcome(each, at, standing) for each in self.prospects}

    def head(self, at: datetime, outcomes: dict[str, Outcome] | None = None) -> Head:
        """Return where the customer stands."""
        rule = self.rule_at(at)
        found = self.outcomes(at) if outcomes is None else outcomes
        state, access = self._rollup(rule, list(found.values()))
        if rule is None:
            return Head(CLEAR, state, access, False, "none")
        return Head(rule.state, state, access, rule.block_changes, rule.cancel)

    def signature(self, at: datetime) -> Signature:
        """Return everything that makes a decision differ from another."""
        outcomes = self.outcomes(at)
        return Signature(
            self.head(at, outcomes),
            tuple((name, each.state, each.access) for name, each in outcomes.items()),
        )

    def speaker(self, at: datetime) -> str | None:
        """Return the subscription whose state is the customer's while nothing is owed."""
        outcomes = self.outcomes(at)
        return min(outcomes, key=lambda name: self._rank(outcomes[name]), default=None)

    def breaks(self, after: datetime, until: datetime | None = None) -> list[datetime]:
        """Return the instants after ``after`` (and before ``until``) at which something may change, in order."""
        found = {
            time
            for time in self._instants()
            if time is not None and time > after and (until is None or time < until)
        }
        return sorted(found)

    def next_change(self, at: datetime) -> tuple[datetime, Signature] | None:
        """Return the first instant after ``at`` at which the decision differs, and what it is then; None: never."""
        present = self.signature(at)
        for time in self.breaks(at):
            then = self.signature(time)
            if then != present:
                return time, then
        return None

    def _instants(self) -> Iterator[datetime | None]:
        yield from self.times
        for prospect in self.prospects:
            for begins, _ in prospect.life:
                yield begins
            yield prospect.shielded_until
            if prospect.own_times is not None:
                yield from prospect.own_times

    def _prospect(self, subscription: SubscriptionState) -> Prospect:
        life = steps(subscription, self.policy, self._now)
        owing = any(time is not None for time in self.times)
        if self.payer is not self.own or not owing:
            return Prospect(subscription, life)
        if self.policy.rollup == "worst" and not self.policy.prepaid_survives:
            return Prospect(subscription, life)
        debts = self.own.debts_of(subscription.id)
        times = self._rulebook.times(debts, self.own.ledger, self.own.tags)
        shield = None if self.policy.rollup == "per_subscription" else prepaid_until(subscription, self._now)
        if self.policy.rollup == "worst" and shield is None:
            return Prospect(subscription, life)
        return Prospect(subscription, life, debts, times, shield)

    def rule_for(self, prospect: Prospect, at: datetime) -> tuple[Rule | None, Debts]:
        """Return the rule that applies to one subscription, and the debts it was judged by."""
        alone = prospect.shielded_until is None or at < prospect.shielded_until
        if prospect.own_times is not None and prospect.debts is not None and alone:
            return self.rule_at(at, prospect.own_times), prospect.debts
        return self.rule_at(at), self.payer.debts

    def _outcome(self, prospect: Prospect, at: datetime, standing: Rule | None) -> Outcome:
        rule = standing if prospect.own_times is None else self.rule_for(prospect, at)[0]
        lifecycle = state_at(prospect.life, at)
        own = Access.FULL if lifecycle in USABLE else Access.NONE
        if rule is None or rule.state == CLEAR or lifecycle not in LIVE:
            return Outcome(lifecycle, None, lifecycle, own)
        return Outcome(lifecycle, rule, rule.state, _lower(own, rule.access))

    def _rollup(self, rule: Rule | None, outcomes: list[Outcome]) -> tuple[str, Access]:
        standing = None if rule is None or rule.state == CLEAR else rule
        if not outcomes:
            # Nothing was agreed on: only what is owed can speak.
            return (CLEAR, Access.FULL) if standing is None else (standing.state, standing.access)
        speaker = min(outcomes, key=self._rank)
        if standing is None or self.policy.rollup == "per_subscription":
            return speaker.state, speaker.access
        return standing.state, speaker.access

    def _rank(self, outcome: Outcome) -> tuple[bool, int, int]:
        """Order subscriptions by who speaks for the customer: a live one, then by access, then the most alive."""
        worst = self.policy.rollup == "worst"
        access = outcome.access.rank if worst else -outcome.access.rank
        return outcome.lifecycle not in LIVE, access, _ORDER[outcome.lifecycle]


def _lower(one: Access, other: Access) -> Access:
    return one if one.rank <= other.rank else other
