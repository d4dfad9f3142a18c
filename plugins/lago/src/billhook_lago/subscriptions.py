"""Starting, changing and ending Lago subscriptions.

Lago has one POST for starting and for changing the plan: a dearer plan replaces the old one at once, a cheaper one at
the period's end. Repeating it is harmless. What is addressed by ``external_id`` is the active row, unless a pending
one is asked for by name.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from billhook.clock import Clock
from billhook.errors import Conflict, NotFound
from billhook.model import Subscription, SubscriptionStatus
from billhook.provider import CancelWhen
from billhook_lago import agreements
from billhook_lago.agreements import RowStatus
from billhook_lago.client import LagoClient, readable
from billhook_lago.reading import Json, instant, obj, text_or_none

_ALL: Final = [status.value for status in RowStatus]
_PENDING: Final = {"status": RowStatus.PENDING.value}


class Subscriptions:
    """The subscriptions of one Lago organisation."""

    def __init__(self, connection: str, client: LagoClient, clock: Clock) -> None:
        self._connection = connection
        self._client = client
        self._clock = clock

    def of_customer(self, customer_id: str) -> list[Subscription]:
        """Return every row of a customer; without asking Lago would leave out all but the active ones."""
        params = {"external_customer_id": customer_id, "status[]": _ALL}
        rows = list(self._client.pages("subscriptions", "subscriptions", params=params))
        with readable():
            return [self._read(row, superseded=_superseded(row, rows)) for row in rows]

    def start(self, *, customer_id: str, plan: str, external_id: str) -> Subscription:
        """Start a subscription, or move it to ``plan``; the same again returns what is there."""
        terms = {"external_customer_id": customer_id, "plan_code": plan, "external_id": external_id}
        return self._answer(self._client.post("subscriptions", body={"subscription": terms}))

    def cancel_pending_change(self, external_id: str) -> None:
        """Call off a scheduled plan change; without one nothing happens."""
        live = self._live(external_id)
        if text_or_none(live, "next_plan_code") is None:
            return
        try:
            # Without the status Lago would end the live subscription.
            self._client.delete("subscriptions", external_id, params=_PENDING)
        except NotFound:
            return  # it was called off or came into force in between

    def cancel(self, subscription: Subscription, *, when: CancelWhen | datetime) -> Subscription:
        """End it now, at the period's end, or at an instant."""
        match when:
            case CancelWhen.NOW:
                return self._end_now(subscription)
            case CancelWhen.PERIOD_END:
                return self.schedule_end(subscription.external_id, at=self._last_second(subscription))
            case datetime():
                return self.schedule_end(subscription.external_id, at=when)

    def schedule_end(self, external_id: str, *, at: datetime | None) -> Subscription:
        """Set when it ends; None takes a scheduled end back. Lago looks at the day only, in the customer's zone."""
        ending_at = None if at is None else _written(at)
        body = {"subscription": {"ending_at": ending_at}}
        return self._answer(self._client.put("subscriptions", external_id, body=body))

    def _end_now(self, subscription: Subscription) -> Subscription:
        pending = subscription.status is SubscriptionStatus.PENDING
        try:
            answer = self._client.delete(
                "subscriptions", subscription.external_id, params=_PENDING if pending else None
            )
        except NotFound:
            status = RowStatus.CANCELED if pending else RowStatus.TERMINATED
            return self._ended_before(subscription, status)
        return self._answer(answer)

    def _ended_before(self, subscription: Subscription, status: RowStatus) -> Subscription:
        """Return the row when it is over already, as after an answer that got lost; raises NotFound."""
        params = {"status": status.value}
        ended = self._answer(self._client.get("subscriptions", subscription.external_id, params=params))
        if ended.ref != subscription.ref:
            raise NotFound("the subscription is not active at Lago", code="subscription_not_found")
        return ended

    def _last_second(self, subscription: Subscription) -> datetime:
        """Return the current period's last second, which is what Lago takes for "at the period's end".

        It refuses today; on the period's last day the first instant of the next one says the same.
        """
        end = self._period_end(subscription)
        last = end - timedelta(seconds=1)
        return last if last.date() > self._clock.now().date() else end

    def _period_end(self, subscription: Subscription) -> datetime:
        with readable():
            live = agreements.updated(self._connection, self._live(subscription.external_id))
        if live.current_period is None:
            raise Conflict("Lago does not say when the period ends; choose a day", field="when")
        return live.current_period.end

    def _live(self, external_id: str) -> Json:
        answer = self._client.get("subscriptions", external_id)
        with readable():
            return obj(answer, "subscription")

    def _answer(self, answer: Json) -> Subscription:
        with readable():
            return self._read(obj(answer, "subscription"))

    def _read(self, row: Json, *, superseded: bool = False) -> Subscription:
        return agreements.subscription(self._connection, row, now=self._clock.now(), superseded=superseded)


def _superseded(row: Json, rows: list[Json]) -> bool:
    """Say whether the agreement went on after a row: the next one to start is the new half of a plan change."""
    started_at = instant(row, "started_at")
    later = [
        (began, other)
        for other in rows
        if other.get("external_id") == row.get("external_id")
        and started_at is not None
        and (began := instant(other, "started_at")) is not None
        and began > started_at
    ]
    following = min(later, key=lambda pair: pair[0], default=None)
    return following is not None and text_or_none(following[1], "previous_plan_code") is not None


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
