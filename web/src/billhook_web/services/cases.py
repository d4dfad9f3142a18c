"""Everything a customer's decision about access is made from: facts, time zone, who pays, which policy counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from billhook.access import Account, Decision, Policy
from billhook.access.facts import Delegated
from billhook.accounting import access_facts
from billhook_web.db import Tx
from billhook_web.services.access_policies import InForce, PolicyBook
from billhook_web.stores import access_batches

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """All that is known of a customer, whichever policy counts. ``heard``: anything was ever said about them."""

    account: Account
    payers: Mapping[str, Account]
    heard: bool

    def case(self, in_force: InForce) -> Case:
        """Return the case that this makes under what counts at some instant."""
        return Case(account=self.account, payers=self.payers, in_force=in_force, heard=self.heard)


def gather(tx: Tx, book: PolicyBook, customer_id: str, *, at: datetime | None = None) -> Case:
    """Return a customer's case from all that is known.

    :param at: when the policy counted; None: now.
    """
    in_force = book.assigned(tx, [customer_id], since=at).in_force(customer_id, at=at)
    return dossiers(tx, [customer_id])[customer_id].case(in_force)


def gather_all(tx: Tx, book: PolicyBook, customer_ids: Sequence[str]) -> list[Case]:
    """Return the cases of many customers as of now, in the order asked; the same few queries however many they are."""
    assigned, known = book.assigned(tx, customer_ids), dossiers(tx, customer_ids)
    return [known[name].case(assigned.in_force(name)) for name in customer_ids]


def dossiers(tx: Tx, customer_ids: Sequence[str]) -> dict[str, Dossier]:
    """Return all that is known of each customer; the same few queries however many they are."""
    accounts, heard = _accounts(tx, customer_ids)
    known = dict(accounts)
    for _ in range(PAYERS_DEEP):
        missing = {name for account in known.values() for name in _named(account)} - known.keys()
        if not missing:
            break
        known |= _accounts(tx, sorted(missing))[0]
    return {
        name: Dossier(account=account, payers=_payers(account, known), heard=name in heard)
        for name, account in accounts.items()
    }


def _accounts(tx: Tx, customer_ids: Sequence[str]) -> tuple[dict[str, Account], set[str]]:
    """Return the account of each customer, and of whom anything was ever said."""
    entries, paid = access_batches.entries(tx, customer_ids), access_batches.payments_of(tx, customer_ids)
    zones = access_batches.timezones(tx, customer_ids)
    accounts = {
        name: Account(id=name, facts=access_facts(entries[name], paid[name]), timezone=_zone(zones.get(name)))
        for name in customer_ids
    }
    return accounts, {name for name in customer_ids if entries[name]}


def _zone(name: str | None) -> ZoneInfo:
    """Return the customer's time zone; UTC when it is not known, or no zone of that name exists."""
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def _payers(account: Account, known: Mapping[str, Account]) -> dict[str, Account]:
    """Return the accounts of those who ever paid for the customer, and of those who paid for them."""
    found: dict[str, Account] = {}
    wanted = _named(account)
    for _ in range(PAYERS_DEEP):
        fetched = {
            name: known[name] for name in sorted(wanted - {account.id} - found.keys()) if name in known
        }
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
