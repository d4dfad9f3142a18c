"""Where a subscription stands in its own life, whatever is owed: a short list of steps in time.

With the facts known, a subscription goes through few states by itself: a trial ends, an activation times out, what
was prepaid elapses. :func:`steps` says when.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from billhook.access.calendar import instant_of
from billhook.access.debts import ALWAYS
from billhook.access.facts import Canceled, Finalized, LifecycleChanged, Started
from billhook.access.ledger import InvoiceState
from billhook.access.rules import Policy

LIVE: Final = ("active", "trialing", "canceling", "paused")
"""Begun and not over, the most alive first."""

USABLE: Final = frozenset({"active", "trialing", "canceling"})
"""States in which the subscription itself gives full access."""

Step = tuple[datetime, str]
Issued = tuple[date, datetime, str]
"""Where an invoice comes in the order of issue: its date, when it was said, its id."""


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """The period of one invoice."""

    start: datetime
    end: datetime
    invoice: str


@dataclass(slots=True)
class Chain:
    """How far the periods from the first on are settled for good, so that they need not be looked at again.

    ``begun``: the first period of the present agreement is among them.
    """

    number: int = 0
    begun: bool = False
    invoices: set[str] = field(default_factory=set)
    reach: datetime | None = None
    paid_end: datetime | None = None


@dataclass(slots=True)
class SubscriptionState:
    """One subscription after the last fact about it.

    ``late_at``: its first invoice was paid after it had expired. ``renewed_at``: it was canceled or over, and began
    anew then; None: it goes on from its start.
    """

    id: str
    started_at: datetime | None = None
    trial_ends_at: datetime | None = None
    waiting_since: datetime | None = None
    activated_at: datetime | None = None
    late_at: datetime | None = None
    canceled: Canceled | None = None
    ended: bool = False
    renewed_at: datetime | None = None
    paused_at: datetime | None = None
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    invoices: dict[str, InvoiceState] = field(default_factory=dict)
    in_flight: dict[str, InvoiceState] = field(default_factory=dict)
    chain: Chain = field(default_factory=Chain)
    issued: list[Issued] = field(default_factory=list)

    def apply(self, fact: Started | Canceled | LifecycleChanged, zone: ZoneInfo) -> None:
        """Apply the next fact in time."""
        self.chain = Chain()
        match fact:
            case Started():
                self._start(fact, zone)
            case Canceled():
                ends = None if fact.ends_at is None else instant_of(fact.ends_at, zone)
                self.canceled = replace(fact, ends_at=ends)
            case LifecycleChanged(type="subscription.reactivated"):
                self._reactivate(fact.at)
            case LifecycleChanged(type="subscription.paused"):
                self.paused_at = self.paused_at or fact.at
            case LifecycleChanged(type="subscription.resumed"):
                self._resume(fact.at)
            case LifecycleChanged(type="subscription.ended"):
                self.ended = True
            case _:
                raise ValueError(f"{fact.type!r} is not about a subscription")

    def forget(self, invoice: str) -> None:
        """Take an invoice out that a later document gives to other subscriptions."""
        self.chain = Chain()
        self.invoices.pop(invoice, None)
        self.in_flight.pop(invoice, None)
        self.issued = [each for each in self.issued if each[2] != invoice]
        self.links = [link for link in self.links if link.invoice != invoice]

    def add_period(self, document: Finalized, invoice: InvoiceState, zone: ZoneInfo) -> None:
        """Note an invoice of this subscription; a document told again replaces what it said before."""
        if document.invoice in self.invoices:
            self.forget(document.invoice)
        self.invoices[document.invoice] = invoice
        insort(self.issued, (document.issue_date, document.at, document.invoice))
        if document.period is not None:
            start = instant_of(document.period.start, zone)
            end = instant_of(document.period.end, zone)
            link = Link(start, end, document.invoice)
            if bisect_left(self.links, link) < self.chain.number:
                self.chain = Chain()
            insort(self.links, link)

    def touch(self, invoice: InvoiceState) -> None:
        """Note that an invoice of this subscription may stand differently now."""
        if invoice.id in self.chain.invoices:
            self.chain = Chain()
        if invoice.is_open and invoice.covered_until is not None:
            self.in_flight[invoice.id] = invoice
        else:
            self.in_flight.pop(invoice.id, None)

    def pass_to(self, now: datetime) -> None:
        """Forget the debits in flight that lapse by now: what is asked from here on, they do not cover."""
        covers = [(name, each.covered_until) for name, each in self.in_flight.items()]
        for name, lapse in covers:
            if lapse is None or lapse <= now:
                del self.in_flight[name]

    def confirm(self, policy: Policy, at: datetime) -> None:
        """Note that the first invoice is fully paid, when it is: in time, or too late."""
        if policy.activate_on != "payment_confirmed" or self.activated_at is not None:
            return
        first = self.first_invoice()
        if first is None or not first.is_settled or self.started_at is None:
            return
        deadline = self.deadline(policy)
        if deadline is not None and at >= deadline:
            self.late_at = self.late_at or at
        else:
            self.activated_at = at

    def first_invoice(self) -> InvoiceState | None:
        """Return the invoice whose payment activates the subscription: the earliest that was not voided."""
        standing = (self.invoices[name] for _, _, name in self.issued)
        return next((each for each in standing if not each.voided), None)

    def deadline(self, policy: Policy) -> datetime | None:
        """Return when a pending subscription expires; None: never."""
        if self.waiting_since is None or policy.activation_timeout is None:
            return None
        begins = max(self.waiting_since, self.trial_ends_at or self.waiting_since)
        return begins + policy.activation_timeout

    def _start(self, fact: Started, zone: ZoneInfo) -> None:
        trial = None if fact.trial_ends_at is None else instant_of(fact.trial_ends_at, zone)
        over = self.ended or self.canceled is not None
        if self.started_at is None or over:
            self.renewed_at = fact.at if over else None
            self.started_at = self.waiting_since = fact.at
            self.trial_ends_at = trial
            self.canceled, self.ended, self.paused_at = None, False, None
        elif trial is not None:
            self.trial_ends_at = trial  # told again, for another plan: the agreement goes on

    def _reactivate(self, at: datetime) -> None:
        if self.ended or self.canceled is not None:
            self.renewed_at = at
        self.canceled, self.ended = None, False
        if self.activated_at is None:
            self.waiting_since, self.late_at = at, None

    def _resume(self, at: datetime) -> None:
        if self.paused_at is not None:
            self.pauses.append((self.paused_at, at))
            self.paused_at = None


def steps(subscription: SubscriptionState, policy: Policy, now: datetime) -> tuple[Step, ...]:
    """Return the states of a subscription in time if nothing new happens; the last that has begun is the present one.

    :param now: nothing is asked about what was before.
    """
    life = _before_cancel(subscription, policy)
    if subscription.ended:
        return ((ALWAYS, "ended"),)
    if subscription.canceled is None:
        return life
    end = cancel_takes_effect(subscription, subscription.canceled, policy, now)
    kept = tuple((at, "canceling" if state in USABLE else state) for at, state in life if at < end)
    return (*kept, (end, "ended"))


def state_at(life: tuple[Step, ...], at: datetime) -> str:
    """Return the state that has begun last."""
    return next((state for begins, state in reversed(life) if begins <= at), "pending")


def _before_cancel(subscription: SubscriptionState, policy: Policy) -> tuple[Step, ...]:
    if subscription.started_at is None:
        return ((ALWAYS, "pending"),)
    life: list[Step] = []
    active_from = ALWAYS
    if subscription.trial_ends_at is not None:
        life.append((ALWAYS, "trialing"))
        active_from = subscription.trial_ends_at
    if policy.activate_on == "subscription_started" or subscription.activated_at is not None:
        life.append((active_from, "active"))
    else:
        life.append((active_from, "pending"))
        deadline = subscription.deadline(policy)
        if deadline is not None:
            life.append((deadline, "expired"))
    if subscription.paused_at is not None:
        return tuple((at, "paused" if state in USABLE else state) for at, state in life)
    return tuple(life)


def cancel_takes_effect(
    subscription: SubscriptionState, canceled: Canceled, policy: Policy, now: datetime
) -> datetime:
    """Return when a canceled subscription ends if nothing new happens, never before it was canceled."""
    match canceled.mode:
        case "immediate":
            return canceled.at
        case "at" if canceled.ends_at is not None:
            return max(canceled.at, _as_instant(canceled))
        case _:
            if policy.on_cancel == "immediate":
                return canceled.at
            return max(canceled.at, prepaid_until(subscription, now) or canceled.at)


def _as_instant(canceled: Canceled) -> datetime:
    if not isinstance(canceled.ends_at, datetime):
        raise AssertionError("dates are resolved before they are applied")
    return canceled.ends_at


def paid_through(subscription: SubscriptionState, at: datetime) -> datetime | None:
    """Return the end of the last period that is paid without a gap since the first one, as it stands at ``at``.

    The first one is that of the present agreement: what an earlier one left open, and the time between, is no gap. A
    trial counts as paid, a debit in flight as long as the policy trusts it. A pause is no gap, nor is the period of an
    invoice that was voided or written off; neither is paid itself. None: nothing is prepaid.
    """
    chain, links = subscription.chain, subscription.links
    if chain.number == 0:
        chain.reach = chain.paid_end = subscription.trial_ends_at
        if links:
            chain.reach = _later(chain.reach, links[0].start)
    reach, paid_end, begun, for_good = chain.reach, chain.paid_end, chain.begun, True
    for link in islice(links, chain.number, None):
        if not begun and (subscription.renewed_at is None or link.end > subscription.renewed_at):
            begun, reach = True, _later(reach, link.start)
        gap = reach is None or (link.start > reach and not _paused_over(subscription, reach, link.start))
        if gap and begun:
            break
        invoice = subscription.invoices[link.invoice]
        paid = invoice.is_settled or (invoice.is_open and not invoice.unpaid_at(at))
        if paid and not gap:
            paid_end = _later(paid_end, link.end)
        if not gap and (paid or not invoice.counts):
            reach = _later(reach, link.end)
        for_good = for_good and not invoice.is_open
        if for_good:
            chain.number, chain.begun, chain.reach, chain.paid_end = chain.number + 1, begun, reach, paid_end
            chain.invoices.add(link.invoice)
    return paid_end


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def prepaid_until(subscription: SubscriptionState, now: datetime) -> datetime | None:
    """Return the first instant that is not prepaid any more if nothing new happens; None: nothing is prepaid.

    Debits in flight that lapse before then take their periods with them. What is not prepaid by now any more may have
    ended at any instant before.
    """
    covers = (each.covered_until for each in subscription.in_flight.values())
    lapses = sorted({lapse for lapse in covers if lapse is not None and lapse > now})
    until = paid_through(subscription, now)
    for lapse in lapses:
        if until is None or until <= lapse:
            return until
        shorter = paid_through(subscription, lapse)
        if shorter is None or shorter <= lapse:
            return lapse
        until = shorter
    return until


def _paused_over(subscription: SubscriptionState, start: datetime, end: datetime) -> bool:
    return any(paused <= start and resumed >= end for paused, resumed in subscription.pauses)
