"""Which access policy counts for a customer and their subscriptions: now, or at an instant in the past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from billhook.access import Account, Decision, Policy, parse_policy
from billhook.policy import RULES, AccessPolicy, PolicyContext
from billhook_web.db import Tx
from billhook_web.stores import policies
from billhook_web.stores.policies import DEFAULT, Assignment

log = structlog.get_logger(__name__)

CUSTOMER = "customer:"
SUBSCRIPTION = "subscription:"

NO_RULES: Final = Policy()
"""What counts until somebody activates a document: only what a subscription's own life says."""

REMEMBERED = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What counts for one customer. ``mark``: the newest assignment by then that was for everybody or for them."""

    policy: Bound
    subscriptions: Mapping[str, Bound]
    mark: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A policy with the document it is to judge by."""

    policy: AccessPolicy
    document: Policy
    _current: ContextVar[Policy]

    def decide(self, account: Account, at: datetime, payers: Mapping[str, Account]) -> Decision:
        """Judge an account at an instant."""
        token = self._current.set(self.document)
        try:
            return self.policy.decide(account, at, payers)
        finally:
            self._current.reset(token)


class PolicyBook:
    """Looks policies up: those of plugins by name, documents (which the built-in ``rules`` judge by) in the database."""

    def __init__(self) -> None:
        self._offered: Mapping[str, AccessPolicy] = {}
        self._current: ContextVar[Policy] = ContextVar("document", default=NO_RULES)
        self._documents: dict[int, Policy] = {}

    def context(self) -> PolicyContext:
        """Return what policies are made with: they read the document that counts for whoever they judge."""
        return PolicyContext(document=self._current.get)

    def offer(self, offered: Mapping[str, AccessPolicy]) -> None:
        """Take in the policies there are, by name; ``rules`` must be one of them."""
        self._offered = offered

    def names(self) -> tuple[str, ...]:
        """Return the names of the policies there are."""
        return tuple(sorted(self._offered))

    def rules(self, document: Policy) -> Bound:
        """Return the built-in rules with a document that need not be stored."""
        return self._bound(RULES, document)

    def assigned(self, tx: Tx, customer_ids: Sequence[str], *, since: datetime | None = None) -> Assigned:
        """Return what counts for some customers, to be asked for any instant from ``since`` on; None: for now only."""
        return Assigned(self, tx, policies.counting(tx, customer_ids, since=since))

    def bound(self, tx: Tx, assignment: Assignment | None) -> Bound | None:
        """Return what an assignment makes count; None: nothing of its own, or what it names is not there."""
        if assignment is None:
            return None
        document = self._document(tx, assignment.policy_id)
        if assignment.plugin is None:
            return None if document is None else self.rules(document)
        if assignment.plugin not in self._offered:
            log.error("access.policy_missing", policy=assignment.plugin, scope=assignment.scope)
            return None
        return self._bound(assignment.plugin, document or NO_RULES)

    def _bound(self, name: str, document: Policy) -> Bound:
        return Bound(policy=self._offered[name], document=document, _current=self._current)

    def _document(self, tx: Tx, policy_id: int | None) -> Policy | None:
        """Return a stored document, which never changes: it is read once."""
        if policy_id is None:
            return None
        if policy_id not in self._documents:
            row = policies.get(tx, policy_id)
            if row is None:
                return None
            if len(self._documents) >= REMEMBERED:
                self._documents.clear()
            self._documents[policy_id] = parse_policy(row.document)
        return self._documents[policy_id]


class Assigned:
    """What counts for some customers, read once: asked for many of them, and for many instants, it reads nothing more."""

    def __init__(self, book: PolicyBook, tx: Tx, assignments: Sequence[Assignment]) -> None:
        self._book = book
        self._tx = tx
        self._general = [each for each in assignments if each.scope == DEFAULT]
        self._own: dict[str, list[Assignment]] = {}
        for each in assignments:
            if each.scope != DEFAULT and each.customer_id is not None:
                self._own.setdefault(each.customer_id, []).append(each)

    @property
    def default_mark(self) -> int:
        """The number of the newest assignment that counts for everybody; 0: none was ever made."""
        return self._general[-1].id if self._general else 0

    def changes(self, customer_id: str, *, after: datetime, until: datetime) -> Sequence[datetime]:
        """Return when another policy came to count for a customer: ``after`` excluded, ``until`` included."""
        return sorted({each.at for each in self._of(customer_id) if after < each.at <= until})

    def in_force(self, customer_id: str, *, at: datetime | None = None) -> InForce:
        """Return what counts for a customer, now or at an instant; without any assignment there are no rules."""
        made = [each for each in self._of(customer_id) if at is None or each.at <= at]
        newest = {each.scope: self._book.bound(self._tx, each) for each in _newest(made)}
        general = newest.get(DEFAULT) or self._book.rules(NO_RULES)
        return InForce(
            policy=newest.get(f"{CUSTOMER}{customer_id}") or general,
            subscriptions={
                scope.removeprefix(SUBSCRIPTION): found
                for scope, found in sorted(newest.items())
                if scope.startswith(SUBSCRIPTION) and found is not None
            },
            mark=max((each.id for each in made), default=0),
        )

    def _of(self, customer_id: str) -> list[Assignment]:
        return [*self._general, *self._own.get(customer_id, ())]


def _newest(assignments: Iterable[Assignment]) -> Iterable[Assignment]:
    """Return the newest of each scope; they come oldest first."""
    return {each.scope: each for each in assignments}.values()
