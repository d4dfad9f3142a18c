"""What would keep a coming change from happening: invoices to pay, payments to confirm, a subscription to reactivate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from billhook.access.explain import judged, money_of
from billhook.access.ledger import InvoiceState
from billhook.access.outlook import Outlook, Prospect
from billhook.access.rules import CLEAR

MOST_PREVENTIONS: Final = 20
"""A longer list helps nobody; the oldest come first."""


def preventions(outlook: Outlook, at: datetime, change_at: datetime) -> tuple[str, ...]:
    """Return what would keep the change at ``change_at`` from happening, in words, the oldest debt first."""
    found: dict[str, None] = {}
    before, after = outlook.outcomes(at), outlook.outcomes(change_at)
    for prospect in outlook.prospects:
        name = prospect.subscription.id
        if before[name].lifecycle != after[name].lifecycle:
            found |= dict.fromkeys(_keep_alive(prospect, after[name].lifecycle))
        if before[name].rule != after[name].rule:
            found |= dict.fromkeys(islice(_pay_off(outlook, change_at, name), MOST_PREVENTIONS))
    if outlook.rule_at(at) != outlook.rule_at(change_at):
        found |= dict.fromkeys(islice(_pay_off(outlook, change_at, None), MOST_PREVENTIONS))
    return tuple(found)[:MOST_PREVENTIONS]


def _keep_alive(prospect: Prospect, becomes: str) -> Iterator[str]:
    subscription = prospect.subscription
    match becomes:
        case "ended":
            yield f"reactivate subscription {subscription.id}"
        case "expired" | "pending":
            first = subscription.first_invoice()
            if first is not None and first.is_open:
                yield from _settle(first)
        case _:
            return


def _pay_off(outlook: Outlook, at: datetime, subscription: str | None) -> Iterator[str]:
    """Yield what would take the rule's debts away that matches at ``at``."""
    rule, debts = judged(outlook, at, subscription)
    if rule is None or rule.state == CLEAR:
        return
    crossing: list[Callable[[str], datetime | None]] = []
    when = rule.when
    if when.overdue_days is not None:
        days = when.overdue_days
        crossing.append(lambda name: debts.overdue_from(name, days))
    if when.unpaid_days is not None:
        age = when.unpaid_days
        crossing.append(lambda name: debts.aged_from(name, age))
    if when.payment_failed_days is not None:
        since = when.payment_failed_days
        crossing.append(lambda name: debts.failed_from(name, since))
    for _, name in debts.by_due:
        times = [crossed(name) for crossed in crossing] or [debts.unpaid_from(name)]
        if any(time is not None and time <= at for time in times):
            yield from _settle(debts.open[name])


def _settle(invoice: InvoiceState) -> Iterator[str]:
    for name, payment in invoice.payments.items():
        share = payment.shares[invoice.id]
        if share.pending_since is not None or share.waiting:
            yield f"confirm payment {name}"
    yield f"pay invoice {invoice.id} of {money_of(invoice)}"
