"""Everything a customer's decision about access is made from: facts, time zone, who pays, which policy counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from billhook.access import Account, Decision, Policy
from billhook.access.facts import Delegated
from billhook.accounting import access_facts
from billhook_web.db import Tx
from billhook_web.services.access_policies import InForce, PolicyBook
from billhook_web.stores import access, accounts, billing
from billhook_web.stores.access import Known

PAYERS_DEEP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything a customer's decision is made from. ``heard``: anything was ever said about the customer."""

    account: Account
    payers: Mapping[str, Account]
    in_force: InForce
    heard: bool

    def decide(self, at: datetime) -> Decision:
        """Judge at an instant. A subscription with a policy of its own is judged by that; the customer is not."""
        decision = self.in_force.policy.decide(self.account, at, self.payers)
        for agreement, policy in self.in_force.subscriptions.items():
            other = policy.decide(self.account, at, self.payers)
            line = other.subscriptions.get(agreement)
            if line is not None:
                decision = replace(
                    decision,
                    subscriptions={**decision.subscriptions, agreement: line},
                    **_sooner(decision, other),
                )
        return decision

    def with_facts(
        self, account: Account, at: datetime, *, policy: Policy | None, book: PolicyBook
    ) -> Decision:
        """Judge an account with made-up facts instead of this one's, by another document or by what counts."""
        if policy is not None:
            return book.rules(policy).decide(account, at, self.payers)
        return replace(self, account=account).decide(at)


def gather(tx: Tx, book: PolicyBook, customer_id: str, *, at: datetime | None = None) -> Case:
    """Return a customer's case from all that is known.

    :param at: when the policy counted; None: now.
    """
    known = access.known(tx, customer_id)
    account = _account(tx, customer_id, known)
    return Case(
        account=account,
        payers=_payers(tx, account),
        in_force=book.in_force(tx, customer_id, at=at),
        heard=bool(known),
    )


def account_of(tx: Tx, customer_id: str) -> Account:
    """Return everything known of a customer, as access is judged by."""
    return _account(tx, customer_id, access.known(tx, customer_id))


def _account(tx: Tx, customer_id: str, known: Iterable[Known]) -> Account:
    paid = {payment.ref: payment for payment in billing.payments.of_customer(tx, customer_id)}
    row = accounts.get_customer(tx, customer_id)
    zone = _zone(row.customer.timezone if row else None)
    return Account(id=customer_id, facts=access_facts((each.entry for each in known), paid), timezone=zone)


def _zone(name: str | None) -> ZoneInfo:
    """Return the customer's time zone; UTC when it is not known, or no zone of that name exists."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _payers(tx: Tx, account: Account) -> dict[str, Account]:
    """Return the accounts of those who ever paid for the customer, and of those who paid for them."""
    found: dict[str, Account] = {}
    wanted = _named(account)
    for _ in range(PAYERS_DEEP):
        wanted = wanted - {account.id} - found.keys()
        if not wanted:
            break
        fetched = {name: account_of(tx, name) for name in sorted(wanted)}
        found |= fetched
        wanted = {name for each in fetched.values() for name in _named(each)}
    return found


def _named(account: Account) -> set[str]:
    return {fact.pays for fact in account.facts if isinstance(fact, Delegated) and fact.pays}


def payer_of(account: Account, at: datetime) -> str | None:
    """Return who pays for the customer at an instant; None: the customer does."""
    said = [fact for fact in account.in_order() if isinstance(fact, Delegated) and fact.at <= at]
    return said[-1].pays if said else None


def _sooner(decision: Decision, other: Decision) -> dict[str, Any]:
    """Return the next change of either: what comes of it for the customer is told only when it is the customer's."""
    mine, theirs = decision.next_change_at, other.next_change_at
    if theirs is None or (mine is not None and mine <= theirs):
        return {}
    return {"next_change_at": theirs, "next": None, "prevented_by": ()}
