"""Decides: walks an account's facts in time, once, and answers for any instant.

At each instant that brings facts the books are brought up to date and a new :class:`Outlook` is made. In between,
changes happen only at the steps the outlook names. So the start of the present state is known without looking at days
in which nothing happens, and the next change without trying any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from types import MappingProxyType
from typing import Final

from billhook.access.book import Book
from billhook.access.conditions import Rulebook
from billhook.access.debts import ALWAYS, owed_at
from billhook.access.decision import Decision, Next, SubscriptionDecision
from billhook.access.explain import reasons_of_lifecycle, reasons_of_rule
from billhook.access.facts import AccessFact, Account, Delegated
from billhook.access.lifecycle import paid_through
from billhook.access.outlook import Head, Outlook, Signature
from billhook.access.prevention import preventions
from billhook.access.rules import Policy

NOBODY: Final[Mapping[str, Account]] = MappingProxyType({})

Entry = tuple[datetime, str, AccessFact]


def decide(
    account: Account, policy: Policy, at: datetime, *, payers: Mapping[str, Account] = NOBODY
) -> Decision:
    """Return the decision for an account at one instant, from the facts up to it.

    :param payers: the accounts that may pay for this one, by id.
    :raises ValueError: ``at`` has no offset.
    """
    return Timeline(account, policy, payers).decide(at)


def decide_many(
    account: Account, policy: Policy, instants: Sequence[datetime], *, payers: Mapping[str, Account] = NOBODY
) -> list[Decision]:
    """Return the decisions at many instants, in the order asked; the facts are walked through once."""
    timeline = Timeline(account, policy, payers)
    decided = {at: timeline.decide(at) for at in sorted(set(instants))}
    return [decided[at] for at in instants]


def transitions(
    account: Account,
    policy: Policy,
    start: datetime,
    end: datetime,
    *,
    payers: Mapping[str, Account] = NOBODY,
) -> Iterator[Decision]:
    """Yield the decision at every instant in ``start < at <= end`` at which it differs from the one before."""
    timeline = Timeline(account, policy, payers)
    for at in timeline.changes(start, end):
        yield timeline.decide(at)


class Timeline:
    """One account under one policy. Asking for instants in ascending order costs one walk through the facts."""

    def __init__(self, account: Account, policy: Policy, payers: Mapping[str, Account] = NOBODY) -> None:
        self.account = account
        self.policy = policy
        self._rulebook = Rulebook(policy)
        self._accounts = _reachable(account, payers)
        self._moments = _moments(self._accounts)
        self._rewind()

    def decide(self, at: datetime) -> Decision:
        """Return the decision at one instant, from the facts up to it; ValueError when ``at`` has no offset."""
        self._go_to(at)
        outlook = self._outlook
        head = outlook.head(at)
        following = outlook.next_change(at)
        owed = owed_at(self._books[self.account.id].debts, at)
        return Decision(
            customer=self.account.id,
            at=at.astimezone(UTC),
            standing=head.standing,
            state=head.state,
            access=head.access,
            block_changes=head.block_changes,
            cancel=head.cancel,
            since=self._since_at(at),
            reasons=reasons_of_rule(outlook, at) or reasons_of_lifecycle(outlook, outlook.speaker(at), at),
            next_change_at=following[0] if following else None,
            next=Next(state=following[1].head.state, access=following[1].head.access) if following else None,
            prevented_by=preventions(outlook, at, following[0]) if following else (),
            subscriptions=self._subscriptions(at),
            unpaid=owed.unpaid,
            overdue=owed.overdue,
            unpaid_invoices=owed.invoices,
            oldest_unpaid_on=owed.oldest_on,
        )

    def changes(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield every instant in ``start < at <= end`` at which the decision differs from the one just before."""
        self._go_to(start)
        present, now = self._outlook.signature(start), start
        while True:
            coming = self._moments[self._cursor][0] if self._cursor < len(self._moments) else None
            for time in self._outlook.breaks(now, coming):
                if time > end:
                    return
                present, differs = _step(present, self._outlook.signature(time))
                if differs:
                    yield time
                    self._go_to(time)
            if coming is None or coming > end:
                return
            self._go_to(coming)
            present, differs = _step(present, self._outlook.signature(coming))
            now = coming
            if differs:
                yield coming

    def _rewind(self) -> None:
        self._books = {name: Book(account, self.policy) for name, account in self._accounts.items()}
        self._cursor = 0
        self._now: datetime | None = None
        self._head: Head | None = None
        self._since: datetime | None = None
        self._outlook = self._look(ALWAYS)

    def _look(self, now: datetime) -> Outlook:
        own = self._books[self.account.id]
        payer = self._payer(own)
        for book in {own, payer}:
            book.pass_to(now)
        return Outlook(self.policy, self._rulebook, own, payer, now)

    def _payer(self, own: Book) -> Book:
        """Follow who pays to the end. A payer nobody knows, or a circle, leaves everyone to their own debts."""
        seen, book = {own.id}, own
        while book.pays is not None:
            if book.pays in seen or book.pays not in self._books:
                return own
            book = self._books[book.pays]
            seen.add(book.id)
        return book

    def _go_to(self, at: datetime) -> None:
        if at.tzinfo is None:
            raise ValueError("an instant needs an offset; pass datetime(..., tzinfo=UTC)")
        if self._now is not None and at < self._now:
            self._rewind()
        while self._cursor < len(self._moments) and self._moments[self._cursor][0] <= at:
            self._enter(*self._moments[self._cursor])
            self._cursor += 1

    def _enter(self, at: datetime, entries: list[Entry]) -> None:
        """Apply all facts of one instant, and keep account of when the present state began."""
        if self._now is not None and self._head is not None:
            self._head, self._since = self._after_breaks(self._now, at)
        for _, name, fact in entries:
            self._books[name].apply(fact)
        self._outlook = self._look(at)
        self._now = at
        head = self._outlook.head(at)
        own = any(name == self.account.id for _, name, _ in entries)
        if self._head is None and not own:
            return  # a payer's past, before there is anything to say about this account
        if head != self._head:
            self._head, self._since = head, at

    def _after_breaks(self, start: datetime, until: datetime) -> tuple[Head | None, datetime | None]:
        """Return the state just before ``until``, and since when, if no fact comes in after ``start``."""
        head, since = self._head, self._since
        for time in self._outlook.breaks(start, until):
            then = self._outlook.head(time)
            if then != head:
                head, since = then, time
        return head, since

    def _since_at(self, at: datetime) -> datetime | None:
        if self._now is None or self._head is None:
            return None
        head, since = self._after_breaks(self._now, at)
        return since if self._outlook.head(at) == head else at

    def _subscriptions(self, at: datetime) -> dict[str, SubscriptionDecision]:
        decided = {}
        for name, outcome in self._outlook.outcomes(at).items():
            reasons = reasons_of_lifecycle(self._outlook, name, at) + reasons_of_rule(self._outlook, at, name)
            subscription = self._books[self.account.id].subscriptions[name]
            decided[name] = SubscriptionDecision(
                state=outcome.state,
                access=outcome.access,
                paid_through=paid_through(subscription, at),
                reasons=reasons,
            )
        return decided


def _step(before: Signature, after: Signature) -> tuple[Signature, bool]:
    return after, after != before


def _reachable(account: Account, payers: Mapping[str, Account]) -> dict[str, Account]:
    """Return the account and every account it may follow to its payer, by id."""
    found, waiting = {account.id: account}, [account]
    while waiting:
        for fact in waiting.pop().facts:
            payer = payers.get(fact.pays or "") if isinstance(fact, Delegated) else None
            if payer is not None and payer.id not in found:
                found[payer.id] = payer
                waiting.append(payer)
    return found


def _moments(accounts: Mapping[str, Account]) -> list[tuple[datetime, list[Entry]]]:
    entries = [(fact.at, name, fact) for name, account in accounts.items() for fact in account.in_order()]
    entries.sort(key=lambda entry: entry[0])
    return [(at, list(group)) for at, group in groupby(entries, key=lambda entry: entry[0])]
