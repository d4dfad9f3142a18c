"""The life of subscriptions: start, bill, change plan, end; and what the passing of time does to all of it.

Lago's hourly clock jobs become :func:`tick`, which plays everything that has become due in the order of its
instants, so a jump over three months gives the same invoices as ninety small steps.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from billhook_lago.sandbox import invoicing
from billhook_lago.sandbox.invoicing import Split
from billhook_lago.sandbox.periods import part_cents, period_of
from billhook_lago.sandbox.state import Fee, Invoice, Subscription
from billhook_lago.sandbox.world import World

_Event = tuple[datetime, int, Callable[[], None]]
_DAY = timedelta(days=1)


def start(
    world: World, subscription: Subscription, *, at: datetime, reason: str = "subscription_starting"
) -> None:
    """Activate a subscription at ``at`` and bill what is due in advance."""
    subscription.status = "active"
    subscription.started_at = at
    previous = subscription.previous
    subscription.first_started_at = at if previous is None else previous.first_started_at
    trial_end = subscription.trial_ends_at
    in_trial = trial_end is not None and trial_end > at
    subscription.unbilled_from = trial_end if in_trial else at
    world.announce.subscription("subscription.started", subscription)
    if not in_trial and subscription.plan.pay_in_advance:
        _bill(world, subscription, at=at, reason=reason)


def upgrade(world: World, old: Subscription, new: Subscription) -> None:
    """Replace ``old`` by ``new`` at once: credit for unused prepaid days, one invoice for the rest."""
    at = world.now()
    cancel_next(world, old)
    old.next, new.previous = new, old
    _end(world, old, at=at)
    credit_unused(world, old, at=at, mode="credit")
    if not old.plan.pay_in_advance:
        _bill_arrears(world, old, until=at, reason="upgrading")
    start(world, new, at=at, reason="upgrading")


def terminate(world: World, subscription: Subscription, *, at: datetime) -> None:
    """End an active subscription at ``at``; a pending plan change dies with it, silently."""
    cancel_next(world, subscription)
    _end(world, subscription, at=at)
    if subscription.plan.pay_in_advance:
        mode = subscription.on_termination_credit_note or "credit"
        subscription.on_termination_credit_note = mode
        credit_unused(world, subscription, at=at + _DAY, mode=mode)
    elif subscription.on_termination_invoice == "generate":
        _bill_arrears(world, subscription, until=at, reason="subscription_terminating")


def cancel(world: World, subscription: Subscription) -> None:
    """Cancel a row that has not started."""
    subscription.status = "canceled"
    subscription.canceled_at = world.now()


def cancel_next(world: World, subscription: Subscription) -> None:
    """Cancel a pending plan change, without any webhook."""
    if subscription.next is not None and subscription.next.status == "pending":
        cancel(world, subscription.next)
        subscription.next = None


def period_end(subscription: Subscription, at: datetime) -> datetime:
    """Return the end of the billing period that ``at`` falls into."""
    return _period(subscription, at)[1]


def tick(world: World) -> int:
    """Play everything that has become due by now; return how many things happened."""
    count = 0
    while (event := _next_event(world)) is not None:
        event[2]()
        count += 1
    return count


def _next_event(world: World) -> _Event | None:
    now = world.now()
    events = [event for row in world.ledger.subscriptions for event in _subscription_events(world, row)]
    events += [event for invoice in world.ledger.invoices for event in _invoice_events(world, invoice)]
    due = [event for event in events if event[0] <= now]
    return min(due, key=lambda event: event[:2]) if due else None


def _subscription_events(world: World, row: Subscription) -> list[_Event]:
    if row.status == "pending" and row.previous is None:
        return [(row.subscription_at, 0, lambda: start(world, row, at=row.subscription_at))]
    if row.status != "active":
        return []
    events: list[_Event] = []
    if row.trial_ends_at is not None and row.trial_ended_at is None:
        events.append((row.trial_ends_at, 1, lambda: _end_trial(world, row)))
    if row.ending_at is not None:
        # Lago compares dates: the day of ``ending_at`` ends it, whatever the hour.
        at = row.ending_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        events.append((at, 2, lambda: terminate(world, row, at=max(at, row.started_at or at))))
    if row.next is not None and row.next.status == "pending":
        events.append((row.next.subscription_at, 3, lambda: _downgrade(world, row)))
    if (billed_at := _bills_at(row)) is not None:
        events.append((billed_at, 4, lambda: _bill(world, row, at=billed_at, reason="subscription_periodic")))
    return events


def _invoice_events(world: World, invoice: Invoice) -> list[_Event]:
    if invoice.status == "draft":
        days = invoicing.grace_days(world, invoice.customer)
        return [(invoice.created_at + timedelta(days=days), 5, lambda: invoicing.finalize(world, invoice))]
    settled = invoice.status != "finalized" or invoice.payment_status == "succeeded"
    if settled or invoice.payment_overdue or invoice.payment_dispute_lost_at is not None:
        return []
    return [(invoicing.overdue_at(invoice), 6, lambda: invoicing.mark_overdue(world, invoice))]


def _end_trial(world: World, row: Subscription) -> None:
    row.trial_ended_at = row.trial_ends_at
    world.announce.subscription("subscription.trial_ended", row)


def _downgrade(world: World, old: Subscription) -> None:
    new = old.next
    if new is None:
        return
    at = new.subscription_at
    _end(world, old, at=at)
    if not old.plan.pay_in_advance:
        _bill_arrears(world, old, until=at, reason="subscription_terminating")
    start(world, new, at=at, reason="subscription_periodic")


def _end(world: World, row: Subscription, *, at: datetime) -> None:
    row.status = "terminated"
    row.terminated_at = at
    world.announce.subscription("subscription.terminated", row)


def _period(row: Subscription, at: datetime) -> tuple[datetime, datetime]:
    anchor = row.subscription_at if row.billing_time == "anniversary" else None
    return period_of(at, interval=row.plan.interval, anchor=anchor)


def _bills_at(row: Subscription) -> datetime | None:
    if row.unbilled_from is None:
        return None
    return row.unbilled_from if row.plan.pay_in_advance else period_end(row, row.unbilled_from)


def _bill(world: World, row: Subscription, *, at: datetime, reason: str) -> None:
    if row.unbilled_from is None:
        raise ValueError("only a started subscription is billed")
    _invoice_stretch(
        world, row, (row.unbilled_from, period_end(row, row.unbilled_from)), at=at, reason=reason
    )


def _bill_arrears(world: World, row: Subscription, *, until: datetime, reason: str) -> None:
    if row.unbilled_from is not None and row.unbilled_from < until:
        _invoice_stretch(world, row, (row.unbilled_from, until), at=until, reason=reason)


def _invoice_stretch(
    world: World, row: Subscription, stretch: tuple[datetime, datetime], *, at: datetime, reason: str
) -> None:
    begin, end = stretch
    cents = part_cents(row.plan.amount_cents, start=begin, end=end, period=_period(row, begin))
    fee = invoicing.new_fee(world, subscription=row, cents=cents, start=begin, end=end)
    row.unbilled_from = end
    invoicing.issue(
        world, row.customer, [fee], kind="subscription", reason=reason, currency=row.plan.currency, at=at
    )


def credit_unused(world: World, row: Subscription, *, at: datetime, mode: str) -> None:
    """Give back the prepaid days from ``at`` on.

    ``refund`` returns what was paid and credits the rest; ``offset`` lowers what is still due, the rest is credited.
    """
    billed = _fee_covering(world, row, at)
    if billed is None or mode == "skip":
        return
    invoice, fee = billed
    cents = part_cents(fee.amount_cents, start=at, end=fee.end, period=(fee.start, fee.end))
    total = cents + invoicing.item_taxes([(fee, cents)])
    if total <= 0:
        return
    refund = min(total, invoice.paid_cents) if mode == "refund" else 0
    offset = min(total, invoice.due_cents) if mode == "offset" else 0
    split = Split(credit=total - refund - offset, refund=refund, offset=offset)
    invoicing.credit(world, invoice, [(fee, cents)], split, reason="order_change")


def _fee_covering(world: World, row: Subscription, at: datetime) -> tuple[Invoice, Fee] | None:
    for invoice in reversed(world.ledger.invoices):
        for fee in invoice.fees:
            if invoice.status == "finalized" and fee.subscription is row and fee.start <= at < fee.end:
                return invoice, fee
    return None
