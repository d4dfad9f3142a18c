"""Webhooks that leave: messages, their deliveries to each endpoint, and every attempt.

Of a customer's messages to one endpoint the first open one is ``pending`` and has a time; those behind it are
``waiting`` and have their turn when it is delivered or given up. A message about no customer is in nobody's way.
Functions that give somebody the turn, or take it, need the endpoint locked (:func:`billhook_web.stores.endpoints.lock`,
or ``all_for_planning``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, case, exists, func, insert, literal, null, or_, select, update

from billhook_web.db import Tx, skip_locked
from billhook_web.stores.endpoints import EndpointStatus
from billhook_web.stores.webhook_tables import webhook_attempts as attempts
from billhook_web.stores.webhook_tables import webhook_deliveries as deliveries
from billhook_web.stores.webhook_tables import webhook_endpoints as endpoints
from billhook_web.stores.webhook_tables import webhook_messages as messages


class DeliveryStatus(StrEnum):
    """How far a delivery has come."""

    PENDING = "pending"  # its turn, at due_at
    WAITING = "waiting"  # behind an earlier one of the same customer
    HELD = "held"  # its endpoint is disabled
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    CANCELED = "canceled"  # its endpoint was deleted


OPEN = (DeliveryStatus.PENDING, DeliveryStatus.WAITING)
UNDELIVERED = (*OPEN, DeliveryStatus.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that was taken for one attempt. ``attempts`` counts this one, and says whose it is."""

    id: int
    endpoint_id: int
    customer_id: str | None
    key: str
    body: str
    attempts: int
    failures: int
    failing_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One try. ``status_code``: None without an answer; ``response``: its beginning."""

    at: datetime
    milliseconds: int
    outcome: str
    status_code: int | None
    response: str | None
    error: str | None


def add_message(tx: Tx, *, key: str, kind: str, customer_id: str | None, body: str, now: datetime) -> int:
    """Write down what is to be told; return its place in the order."""
    values = {"key": key, "type": kind, "customer_id": customer_id, "body": body, "created_at": now}
    made: int = tx.execute(insert(messages).values(**values).returning(messages.c.id)).scalar_one()
    return made


def plan(
    tx: Tx, *, message_id: int, endpoint_id: int, customer_id: str | None, held: bool, now: datetime
) -> None:
    """Have a new message told to an endpoint: in its turn, or ``held`` until the endpoint is enabled."""
    others = _in_lane(endpoint_id, customer_id, OPEN)
    turn = case((exists(others), DeliveryStatus.WAITING), else_=DeliveryStatus.PENDING)
    status = literal(DeliveryStatus.HELD) if held else turn
    row = select(
        literal(message_id),
        literal(endpoint_id),
        literal(customer_id, deliveries.c.customer_id.type),
        status,
        literal(now, deliveries.c.due_at.type),
        literal(now, deliveries.c.created_at.type),
    )
    tx.execute(insert(deliveries).from_select(_PLANNED, row))


_PLANNED = ["message_id", "endpoint_id", "customer_id", "status", "due_at", "created_at"]


def _in_lane(endpoint_id: int, customer_id: str | None, statuses: Sequence[str]) -> Any:
    d = deliveries.alias("lane").c
    return select(d.id).where(
        d.endpoint_id == endpoint_id, d.customer_id == customer_id, d.status.in_(statuses)
    )


def _is_due(now: datetime) -> Any:
    d = deliveries.c
    free = or_(d.leased_until.is_(None), d.leased_until <= now)
    return and_(d.status == DeliveryStatus.PENDING, d.due_at <= now, free)


def due_endpoints(tx: Tx, *, now: datetime) -> list[tuple[int, datetime]]:
    """List endpoints something is due for, and since when: one look into an index for each that is enabled."""
    first = (
        select(deliveries.c.due_at)
        .where(deliveries.c.endpoint_id == endpoints.c.id, _is_due(now))
        .order_by(deliveries.c.due_at)
        .limit(1)
        .correlate(endpoints)
        .scalar_subquery()
    )
    e = endpoints.c
    awake = and_(e.status == EndpointStatus.ENABLED, or_(e.resume_at.is_(None), e.resume_at <= now))
    found = select(e.id, first.label("since")).where(awake).subquery()
    statement = select(found.c.id, found.c.since).where(found.c.since.is_not(None)).order_by(found.c.since)
    return [(row.id, row.since) for row in tx.execute(statement)]


def claim(tx: Tx, endpoint_id: int, *, now: datetime, lease: timedelta) -> Claimed | None:
    """Take the delivery to an endpoint that is due for longest, until the lease ends; None: nothing is due."""
    first = select(deliveries.c.id).where(deliveries.c.endpoint_id == endpoint_id, _is_due(now))
    first = skip_locked(first.order_by(deliveries.c.due_at, deliveries.c.id).limit(1), tx)
    taken = tx.execute(first).scalar_one_or_none()
    if taken is None:
        return None
    d = deliveries.c
    statement = update(deliveries).where(d.id == taken, _is_due(now))
    statement = statement.values(leased_until=now + lease, attempts=d.attempts + 1)
    row = tx.execute(
        statement.returning(
            d.id, d.endpoint_id, d.customer_id, d.message_id, d.attempts, d.failures, d.failing_since
        )
    ).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    said = tx.execute(
        select(messages.c.key, messages.c.body).where(messages.c.id == values.pop("message_id"))
    ).one()
    return Claimed(**values, key=said.key, body=said.body)


def _mine(taken: Claimed) -> Any:
    """What is true as long as nobody else took the delivery; it may have been held meanwhile."""
    d = deliveries.c
    still = d.status.in_((DeliveryStatus.PENDING, DeliveryStatus.HELD))
    return and_(d.id == taken.id, d.attempts == taken.attempts, still)


def finish(
    tx: Tx, taken: Claimed, *, status: DeliveryStatus, now: datetime, error: str | None = None
) -> None:
    """Close a delivery as delivered or given up, and give the next of its customer the turn."""
    values = {"status": status, "leased_until": None, "finished_at": now, "error": error}
    closed = tx.execute(update(deliveries).where(_mine(taken)).values(**values)).rowcount
    if closed and taken.customer_id is not None:
        _promote(tx, taken.endpoint_id, taken.customer_id, now=now)


def _promote(tx: Tx, endpoint_id: int, customer_id: str, *, now: datetime) -> None:
    next_ids = _in_lane(endpoint_id, customer_id, (DeliveryStatus.WAITING,))
    lane = next_ids.selected_columns.id.table
    following = next_ids.order_by(lane.c.message_id).limit(1).scalar_subquery()
    nobody = ~exists(_in_lane(endpoint_id, customer_id, (DeliveryStatus.PENDING,)))
    statement = update(deliveries).where(deliveries.c.id == following, nobody)
    tx.execute(statement.values(status=DeliveryStatus.PENDING, due_at=now))


def postpone(
    tx: Tx, taken: Claimed, *, now: datetime, due_at: datetime, error: str, counts: bool = True
) -> None:
    """Give a delivery back, to be tried again at ``due_at``; one that is held meanwhile stays so.

    :param counts: whether it was the receiver who failed.
    """
    d = deliveries.c
    values: dict[str, Any] = {"due_at": due_at, "leased_until": None, "error": error}
    if counts:
        values |= {"failures": d.failures + 1, "failing_since": func.coalesce(d.failing_since, now)}
    tx.execute(update(deliveries).where(_mine(taken)).values(**values))


def note_attempt(tx: Tx, delivery_id: int, attempt: AttemptRow) -> None:
    """Record one try."""
    values = {
        "delivery_id": delivery_id,
        "at": attempt.at,
        "milliseconds": attempt.milliseconds,
        "outcome": attempt.outcome,
        "status_code": attempt.status_code,
        "response": attempt.response,
        "error": attempt.error,
    }
    tx.execute(insert(attempts).values(**values))


def hasten(tx: Tx, endpoint_id: int, *, now: datetime) -> None:
    """Have everything whose turn it is tried now: the endpoint answers again."""
    d = deliveries.c
    later = and_(d.endpoint_id == endpoint_id, d.status == DeliveryStatus.PENDING, d.due_at > now)
    tx.execute(update(deliveries).where(later).values(due_at=now))


def hold(tx: Tx, endpoint_id: int) -> None:
    """Hold what is open for an endpoint."""
    statement = update(deliveries).where(
        deliveries.c.endpoint_id == endpoint_id, deliveries.c.status.in_(OPEN)
    )
    tx.execute(statement.values(status=DeliveryStatus.HELD, leased_until=None))


def release(tx: Tx, endpoint_id: int, *, now: datetime) -> int:
    """Let what was held go, in order; return how much."""
    held = and_(deliveries.c.endpoint_id == endpoint_id, deliveries.c.status == DeliveryStatus.HELD)
    number = tx.execute(update(deliveries).where(held).values(**_begun_again(now))).rowcount
    _settle_turns(tx, endpoint_id)
    return number


def cancel(tx: Tx, endpoint_id: int, *, now: datetime) -> None:
    """Give up what is undelivered: its endpoint is deleted."""
    mine = and_(deliveries.c.endpoint_id == endpoint_id, deliveries.c.status.in_(UNDELIVERED))
    values = {"status": DeliveryStatus.CANCELED, "leased_until": None, "finished_at": now}
    tx.execute(update(deliveries).where(mine).values(**values))


def again(tx: Tx, endpoint_id: int, *, key: str, now: datetime) -> bool:
    """Have one message told again, whatever came of it before; False: there is no such message for this endpoint."""
    found = select(messages.c.id).where(messages.c.key == key).scalar_subquery()
    d = deliveries.c
    mine = and_(d.endpoint_id == endpoint_id, d.message_id == found)
    number = tx.execute(update(deliveries).where(mine).values(**_begun_again(now))).rowcount
    _settle_turns(tx, endpoint_id)
    return number > 0


def again_since(
    tx: Tx, endpoint_id: int, *, since: datetime, kinds: Sequence[str], delivered_too: bool, now: datetime
) -> int:
    """Have messages from ``since`` on told again that were given up, and those of ``kinds`` never planned for this
    endpoint; with ``delivered_too`` also those it has. Return how many."""
    statuses = [DeliveryStatus.GIVEN_UP, *([DeliveryStatus.DELIVERED] if delivered_too else [])]
    d = deliveries.c
    mine = and_(d.endpoint_id == endpoint_id, d.created_at >= since, d.status.in_(statuses))
    number: int = tx.execute(update(deliveries).where(mine).values(**_begun_again(now))).rowcount
    m = messages.c
    planned = exists().where(d.message_id == m.id, d.endpoint_id == endpoint_id)
    pending = literal(DeliveryStatus.PENDING.value)
    missing = select(
        m.id, literal(endpoint_id), m.customer_id, pending, literal(now, d.due_at.type), m.created_at
    ).where(m.created_at >= since, m.type.in_(kinds), ~planned)
    number += tx.execute(
        insert(deliveries).from_select(_PLANNED, missing.order_by(m.id)),
        execution_options={"preserve_rowcount": True},
    ).rowcount
    _settle_turns(tx, endpoint_id)
    return number


def _begun_again(now: datetime) -> Mapping[str, Any]:
    return {
        "status": DeliveryStatus.PENDING,
        "due_at": now,
        "leased_until": None,
        "failures": 0,
        "failing_since": null(),
        "finished_at": null(),
        "error": null(),
    }


def _settle_turns(tx: Tx, endpoint_id: int) -> None:
    """Of each customer leave the turn to the earliest open message; one that is under way goes on."""
    d, earlier = deliveries.c, deliveries.alias("earlier").c
    behind = exists().where(
        earlier.endpoint_id == d.endpoint_id,
        earlier.customer_id == d.customer_id,
        earlier.status.in_(OPEN),
        earlier.message_id < d.message_id,
    )
    mine = and_(
        d.endpoint_id == endpoint_id, d.status == DeliveryStatus.PENDING, d.leased_until.is_(None), behind
    )
    tx.execute(update(deliveries).where(mine).values(status=DeliveryStatus.WAITING))
