"""What was sent, and what waits: the log of deliveries, counts of what is open, and removing what is old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge, lt
from typing import Any

from sqlalchemy import and_, delete, exists, func, select

from billhook_web.db import Tx
from billhook_web.stores.endpoints import EndpointStatus
from billhook_web.stores.filtering import narrowed
from billhook_web.stores.outgoing import OPEN, UNDELIVERED, AttemptRow, DeliveryStatus
from billhook_web.stores.webhook_tables import webhook_attempts as attempts
from billhook_web.stores.webhook_tables import webhook_deliveries as deliveries
from billhook_web.stores.webhook_tables import webhook_endpoints as endpoints
from billhook_web.stores.webhook_tables import webhook_messages as messages


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One message to one endpoint and how far it has come. ``key`` and ``type`` are the message's."""

    id: int
    endpoint_id: int
    key: str
    type: str
    customer_id: str | None
    status: DeliveryStatus
    due_at: datetime
    attempts: int
    created_at: datetime
    finished_at: datetime | None
    error: str | None


def page(
    tx: Tx,
    *,
    endpoint_id: int | None = None,
    status: str | None = None,
    customer: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> Sequence[DeliveryRow]:
    """List deliveries, the newest first."""
    statement = narrowed(
        _shown().order_by(deliveries.c.id.desc()).limit(limit),
        (eq, deliveries.c.endpoint_id, endpoint_id),
        (eq, deliveries.c.status, status),
        (eq, deliveries.c.customer_id, customer),
        (ge, deliveries.c.created_at, since),
        (lt, deliveries.c.created_at, until),
        (lt, deliveries.c.id, before_id),
    )
    return [_row(row) for row in tx.execute(statement)]


def _shown() -> Any:
    d = deliveries.c
    columns = (
        d.id, d.endpoint_id, messages.c.key, messages.c.type, d.customer_id, d.status, d.due_at, d.attempts,
        d.created_at, d.finished_at, d.error,
    )  # fmt: skip
    return select(*columns).join(messages, messages.c.id == d.message_id)


def _row(row: Any) -> DeliveryRow:
    return DeliveryRow(**{**row._mapping, "status": DeliveryStatus(row.status)})


def attempts_of(tx: Tx, delivery_ids: Sequence[int]) -> Mapping[int, Sequence[AttemptRow]]:
    """Return the tries at each of these deliveries, the oldest first."""
    found: dict[int, list[AttemptRow]] = {each: [] for each in delivery_ids}
    a = attempts.c
    columns = (a.at, a.milliseconds, a.outcome, a.status_code, a.response, a.error)
    statement = select(a.delivery_id, *columns).where(a.delivery_id.in_(delivery_ids)).order_by(a.id)
    for row in tx.execute(statement):
        values = dict(row._mapping)
        found[values.pop("delivery_id")].append(AttemptRow(**values))
    return found


def undelivered(tx: Tx, endpoint_ids: Sequence[int]) -> Mapping[int, int]:
    """Count what is pending, waiting or held for each of these endpoints."""
    d = deliveries.c
    statement = select(d.endpoint_id, func.count()).where(
        d.endpoint_id.in_(endpoint_ids), d.status.in_(UNDELIVERED)
    )
    found = {endpoint_id: number for endpoint_id, number in tx.execute(statement.group_by(d.endpoint_id))}
    return {each: found.get(each, 0) for each in endpoint_ids}


def undelivered_by_status(tx: Tx) -> Mapping[str, int]:
    """Count everything that is undelivered."""
    d, e = deliveries.c, endpoints.c  # by way of the endpoints: the index begins with them
    statement = select(d.status, func.count()).join(endpoints, e.id == d.endpoint_id)
    rows = tx.execute(statement.where(d.status.in_(UNDELIVERED)).group_by(d.status))
    return {**dict.fromkeys(UNDELIVERED, 0), **{status: number for status, number in rows}}


def oldest_pending(tx: Tx) -> datetime | None:
    """Return since when the oldest message waits for an endpoint that is enabled; None: none waits."""
    d, e = deliveries.c, endpoints.c
    statement = select(func.min(d.created_at)).join(endpoints, e.id == d.endpoint_id)
    statement = statement.where(e.status == EndpointStatus.ENABLED, d.status == DeliveryStatus.PENDING)
    oldest: datetime | None = tx.execute(statement).scalar_one()
    return oldest


def prune(tx: Tx, *, before: datetime, limit: int) -> int:
    """Remove at most ``limit`` messages from before ``before`` with their deliveries and attempts; return how many.

    What is still to be delivered stays. What is held for an endpoint that nobody enabled again goes.
    """
    m, d = messages.c, deliveries.c
    ids = list(tx.execute(select(m.id).where(_is_old(before)).order_by(m.created_at).limit(limit)).scalars())
    if not ids:
        return 0
    of_them = select(d.id).where(d.message_id.in_(ids))
    tx.execute(delete(attempts).where(attempts.c.delivery_id.in_(of_them)))
    tx.execute(delete(deliveries).where(d.message_id.in_(ids)))
    tx.execute(delete(messages).where(m.id.in_(ids)))
    return len(ids)


def count_old(tx: Tx, *, before: datetime) -> int:
    """Count the messages that :func:`prune` would remove."""
    number: int = tx.execute(select(func.count()).select_from(messages).where(_is_old(before))).scalar_one()
    return number


def _is_old(before: datetime) -> Any:
    m, d = messages.c, deliveries.c
    return and_(m.created_at < before, ~exists().where(d.message_id == m.id, d.status.in_(OPEN)))
