"""Everything known about one account after the facts so far."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from billhook.access.debts import Debts
from billhook.access.facts import (
    AccessFact,
    Account,
    Canceled,
    Delegated,
    Finalized,
    LifecycleChanged,
    Started,
    TagChanged,
)
from billhook.access.ledger import InvoiceState, Ledger, LedgerFact
from billhook.access.lifecycle import SubscriptionState
from billhook.access.rules import Policy


class Book:
    """The invoices, debts, subscriptions, tags and payer of one account; grows fact by fact, in time order."""

    def __init__(self, account: Account, policy: Policy) -> None:
        self.id = account.id
        self.zone: ZoneInfo = account.timezone
        self.policy = policy
        self.ledger = Ledger(policy)
        self.debts = Debts(policy, self.zone)
        self.tags: set[str] = set()
        self.pays: str | None = None
        self.subscriptions: dict[str, SubscriptionState] = {}
        self._debts_of: dict[str, Debts] = {}
        self._billed: dict[str, SubscriptionState] = {}  # also those that only invoices mention so far

    def apply(self, fact: AccessFact) -> None:
        """Apply the next fact in time."""
        match fact:
            case TagChanged(type="customer.tagged"):
                self.tags.add(fact.tag)
            case TagChanged():
                self.tags.discard(fact.tag)
            case Delegated():
                self.pays = fact.pays
            case Started() | Canceled() | LifecycleChanged():
                subscription = self._subscription(fact.subscription)
                self.subscriptions[fact.subscription] = subscription
                subscription.apply(fact, self.zone)
                subscription.confirm(self.policy, fact.at)
            case _:
                self._enter(fact)

    def pass_to(self, now: datetime) -> None:
        """Leave behind what matters only to instants before now; nothing is asked about those any more."""
        self.debts.pass_to(now)
        for debts in self._debts_of.values():
            debts.pass_to(now)
        for subscription in self.subscriptions.values():
            subscription.pass_to(now)

    def debts_of(self, subscription: str) -> Debts:
        """Return the open invoices of one subscription, and those of the account as a whole."""
        known = self._debts_of.get(subscription)
        if known is None:
            mine = [each for each in self.debts.open.values() if _concerns(each, subscription)]
            known = Debts(self.policy, self.zone, mine, subscription=subscription)
            self._debts_of[subscription] = known
        return known

    def _enter(self, fact: LedgerFact) -> None:
        if isinstance(fact, Finalized):
            self._let_go(fact)
        for invoice in self.ledger.apply(fact):
            self.debts.update(invoice)
            for owner, debts in self._debts_of.items():
                debts.update(invoice, counts=_concerns(invoice, owner))
            document = invoice.document
            if document is None:
                continue
            for name in self._billed_by(document):
                subscription = self._subscription(name)
                if document is fact or invoice.id not in subscription.invoices:
                    subscription.add_period(document, invoice, self.zone)
                subscription.touch(invoice)
                subscription.confirm(self.policy, fact.at)

    def _billed_by(self, document: Finalized) -> tuple[str, ...]:
        """Return whose period an invoice pays for: of those it names, else of all, if it is for a period."""
        if document.subscriptions or document.period is None:
            return document.subscriptions
        return tuple(self._billed)

    def _let_go(self, fact: Finalized) -> None:
        known = self.ledger.invoices.get(fact.invoice)
        if known is not None and known.document is not None:
            for name in self._billed_by(known.document):
                self._subscription(name).forget(fact.invoice)

    def _subscription(self, name: str) -> SubscriptionState:
        if name not in self._billed:
            self._billed[name] = new = SubscriptionState(name)
            for invoice in self.ledger.invoices.values():
                document = invoice.document
                if document is not None and not document.subscriptions and document.period is not None:
                    new.add_period(document, invoice, self.zone)
                    new.touch(invoice)
        return self._billed[name]


def _concerns(invoice: InvoiceState, subscription: str) -> bool:
    """Tell whether a subscription answers for an invoice: its own, or one of the account as a whole."""
    document = invoice.document
    return document is not None and (not document.subscriptions or subscription in document.subscriptions)
