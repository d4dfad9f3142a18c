"""Who receives our webhooks: their URLs, what they want to hear, how they do, and their sealed secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import eq, ge, lt
from typing import Any

from sqlalchemy import func, insert, select, update

from billhook_web.db import Tx
from billhook_web.stores.filtering import narrowed
from billhook_web.stores.webhook_tables import webhook_endpoints as table


class EndpointStatus(StrEnum):
    """Whether webhooks are sent there."""

    ENABLED = "enabled"
    DISABLED = "disabled"  # they are held until it is enabled again
    DELETED = "deleted"


class Because(StrEnum):
    """Why an endpoint is disabled."""

    OPERATOR = "operator"  # somebody asked for it
    GONE = "gone"  # it answered 410
    FAILING = "failing"  # nothing reached it for too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A receiver. No ``event_types``: it wants all. The secrets are sealed."""

    id: int
    url: str
    description: str
    event_types: tuple[str, ...]
    status: EndpointStatus
    reason: Because | None
    notice: str | None
    disabled_at: datetime | None
    failures: int  # in a row
    failing_since: datetime | None
    resume_at: datetime | None
    secret: str | None = field(repr=False)
    previous_secret: str | None = field(repr=False)
    previous_until: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def enabled(self) -> bool:
        """Whether webhooks are sent there."""
        return self.status is EndpointStatus.ENABLED

    def wants(self, kind: str) -> bool:
        """Whether it is told of events of this type."""
        return not self.event_types or kind in self.event_types


def purpose(endpoint_id: int) -> str:
    """Return what the secrets of an endpoint are sealed for."""
    return f"webhook-endpoint:{endpoint_id}"


def add(
    tx: Tx, *, url: str, description: str, event_types: Sequence[str], enabled: bool, now: datetime
) -> int:
    """Add an endpoint and return its id; it has no secret yet."""
    values = {
        "url": url,
        "description": description,
        "event_types": json.dumps(list(event_types)),
        "status": EndpointStatus.ENABLED if enabled else EndpointStatus.DISABLED,
        "reason": None if enabled else Because.OPERATOR,
        "disabled_at": None if enabled else now,
        "created_at": now,
        "updated_at": now,
    }
    made: int = tx.execute(insert(table).values(**values).returning(table.c.id)).scalar_one()
    return made


def get(tx: Tx, endpoint_id: int) -> Endpoint | None:
    """Return an endpoint; None when there is none, or it was deleted."""
    return _one(tx, select(table).where(table.c.id == endpoint_id))


def lock(tx: Tx, endpoint_id: int) -> Endpoint | None:
    """Return an endpoint that nobody else changes, or plans a delivery to, until the transaction ends.

    Whoever changes an endpoint and its deliveries takes this first, so that no two wait for each other.
    """
    return _one(tx, select(table).where(table.c.id == endpoint_id).with_for_update())


def all_for_planning(tx: Tx) -> list[Endpoint]:
    """Return every endpoint, as it stays until the transaction ends; others may plan at the same time."""
    statement = select(table).where(table.c.status.in_((EndpointStatus.ENABLED, EndpointStatus.DISABLED)))
    return [_row(row) for row in tx.execute(statement.order_by(table.c.id).with_for_update(read=True))]


def find_by_url(tx: Tx, url: str) -> Endpoint | None:
    """Return the endpoint with exactly this URL."""
    return _one(tx, select(table).where(table.c.url == url).order_by(table.c.id).limit(1))


def page(
    tx: Tx,
    *,
    status: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> Sequence[Endpoint]:
    """List endpoints, the newest first."""
    statement = narrowed(
        select(table)
        .where(table.c.status != EndpointStatus.DELETED)
        .order_by(table.c.id.desc())
        .limit(limit),
        (eq, table.c.status, status),
        (ge, table.c.created_at, since),
        (lt, table.c.created_at, until),
        (lt, table.c.id, before_id),
    )
    return [_row(row) for row in tx.execute(statement)]


def change(tx: Tx, endpoint_id: int, *, now: datetime, **values: Any) -> None:
    """Set columns of an endpoint."""
    if "event_types" in values:
        values["event_types"] = json.dumps(list(values["event_types"]))
    tx.execute(update(table).where(table.c.id == endpoint_id).values(**values, updated_at=now))


def disable(tx: Tx, endpoint_id: int, *, because: Because, notice: str | None, now: datetime) -> None:
    """Send nothing there any more."""
    change(
        tx, endpoint_id, now=now, status=EndpointStatus.DISABLED, reason=because, notice=notice, disabled_at=now,
        resume_at=None,
    )  # fmt: skip


def enable(tx: Tx, endpoint_id: int, *, now: datetime) -> None:
    """Send there again, as if nothing had failed."""
    change(
        tx, endpoint_id, now=now, status=EndpointStatus.ENABLED, reason=None, notice=None, disabled_at=None,
        failures=0, failing_since=None, resume_at=None,
    )  # fmt: skip


def delete(tx: Tx, endpoint_id: int, *, now: datetime) -> None:
    """Forget an endpoint and its secrets; the row stays for the log of what was sent."""
    change(
        tx, endpoint_id, now=now, status=EndpointStatus.DELETED, secret=None, previous_secret=None,
        previous_until=None, resume_at=None,
    )  # fmt: skip


def counts(tx: Tx) -> Mapping[str, int]:
    """Count endpoints by status, the deleted ones left out; ``failing`` are the enabled ones that failed last."""
    status, failing = table.c.status, func.count().filter(table.c.failures > 0)
    rows = tx.execute(
        select(status, func.count(), failing).where(status != EndpointStatus.DELETED).group_by(status)
    )
    found = {state: (number, failed) for state, number, failed in rows}
    enabled, failed = found.get(EndpointStatus.ENABLED, (0, 0))
    disabled, _ = found.get(EndpointStatus.DISABLED, (0, 0))
    return {"enabled": enabled, "failing": failed, "disabled": disabled}


def _one(tx: Tx, statement: Any) -> Endpoint | None:
    row = tx.execute(statement.where(table.c.status != EndpointStatus.DELETED)).one_or_none()
    return None if row is None else _row(row)


def _row(row: Any) -> Endpoint:
    values = dict(row._mapping)
    values |= {"status": EndpointStatus(row.status), "event_types": tuple(json.loads(row.event_types))}
    values["reason"] = None if row.reason is None else Because(row.reason)
    return Endpoint(**values)
