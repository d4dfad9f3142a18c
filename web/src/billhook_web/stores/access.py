"""Decisions about access: the answer for each customer, how it came about, and who is due to be looked at again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, update

from billhook_web.db import Tx
from billhook_web.stores.access_tables import access_decisions, access_history
from billhook_web.stores.filtering import insert_new, upsert
from billhook_web.stores.tables import customers

OUTDATED = -1
"""The policy mark of a decision that must be made again, whatever the policies are."""


class Cause(StrEnum):
    """What brought a change about."""

    FACT = "fact"
    TIME = "time"
    POLICY = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A customer's decision. ``body`` is the decision as JSON; ``settled_at``: up to here the history is complete;
    ``fresh_until``: from then on ``body`` reads differently although nothing changed. ``policy``: the newest
    assignment there was when it was made."""

    customer_id: str
    version: int
    body: Mapping[str, Any]
    policy: int
    changed_at: datetime
    settled_at: datetime
    next_change_at: datetime | None
    fresh_until: datetime | None
    payer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of a decision: ``at`` is when it became true, ``recorded_at`` when we knew, ``facts`` the keys of
    the facts that brought it about."""

    customer_id: str
    version: int
    at: datetime
    recorded_at: datetime
    cause: Cause
    body: Mapping[str, Any]
    facts: tuple[str, ...] = ()


def get(tx: Tx, customer_id: str) -> Stored | None:
    """Return a customer's decision as it was last stored; None: none was made yet."""
    row = tx.execute(
        select(access_decisions).where(access_decisions.c.customer_id == customer_id)
    ).one_or_none()
    return None if row is None else _stored(row)


def many(tx: Tx, customer_ids: Sequence[str]) -> dict[str, Stored]:
    """Return the decisions of several customers, by id."""
    rows = tx.execute(select(access_decisions).where(access_decisions.c.customer_id.in_(customer_ids)))
    return {row.customer_id: _stored(row) for row in rows}


def put(tx: Tx, *decisions: Stored) -> None:
    """Write decisions, new or changed."""
    if decisions:
        statement = upsert(tx, access_decisions, key="customer_id")
        tx.execute(statement, [_row(each) for each in decisions])


def _row(stored: Stored) -> dict[str, Any]:
    return {
        "customer_id": stored.customer_id,
        "version": stored.version,
        "state": stored.body["state"],
        "access": stored.body["access"],
        "block_changes": int(bool(stored.body["block_changes"])),
        "body": json.dumps(stored.body, separators=(",", ":")),
        "policy": stored.policy,
        "changed_at": stored.changed_at,
        "settled_at": stored.settled_at,
        "next_change_at": stored.next_change_at,
        "fresh_until": stored.fresh_until,
        "payer": stored.payer,
    }


def outdate(tx: Tx, customer_ids: Sequence[str]) -> None:
    """Have decisions made again soon."""
    t = access_decisions
    tx.execute(update(t).where(t.c.customer_id.in_(customer_ids)).values(policy=OUTDATED))


def dependents(tx: Tx, payers: Collection[str]) -> set[str]:
    """Return for whom these customers pay."""
    t = access_decisions.c
    return set(tx.execute(select(t.customer_id).where(t.payer.in_(payers))).scalars())


def due(tx: Tx, *, now: datetime, limit: int) -> Sequence[tuple[str, datetime]]:
    """Return whose decision changes by now, soonest first, and when: read in the index alone."""
    t = access_decisions.c
    statement = select(t.customer_id, t.next_change_at).where(t.next_change_at.is_not(None))
    due = statement.where(t.next_change_at <= now).order_by(t.next_change_at, t.customer_id)
    return [(row.customer_id, row.next_change_at) for row in tx.execute(due.limit(limit))]


def outdated(tx: Tx, *, newest: int, limit: int) -> Sequence[tuple[str, datetime]]:
    """Return whose decision was made before this assignment of a policy, and when they were last judged."""
    t = access_decisions.c
    statement = select(t.customer_id, t.settled_at).where(t.policy < newest)
    rows = tx.execute(statement.order_by(t.policy).limit(limit))
    return [(row.customer_id, row.settled_at) for row in rows]


def undecided(tx: Tx, *, after: str, limit: int) -> Sequence[str]:
    """Return customers for whom no decision was ever made, by id: those known before there were any."""
    t = access_decisions.c
    statement = select(customers.c.id).outerjoin(access_decisions, t.customer_id == customers.c.id)
    rows = tx.execute(
        statement.where(t.customer_id.is_(None), customers.c.id > after).order_by(customers.c.id).limit(limit)
    )
    return list(rows.scalars())


def everybody(tx: Tx, *, after: str, limit: int) -> Sequence[str]:
    """Return customers that have a decision, by id."""
    t = access_decisions.c
    rows = tx.execute(select(t.customer_id).where(t.customer_id > after).order_by(t.customer_id).limit(limit))
    return list(rows.scalars())


def count(tx: Tx) -> int:
    """Return how many customers have a decision."""
    return int(tx.execute(select(func.count()).select_from(access_decisions)).scalar_one())


def add_transitions(tx: Tx, transitions: Iterable[Transition]) -> None:
    """Enter changes in the history; one of a version that is there already stays."""
    rows = [
        {
            "customer_id": each.customer_id,
            "version": each.version,
            "at": each.at,
            "recorded_at": each.recorded_at,
            "cause": each.cause,
            "body": json.dumps(each.body, separators=(",", ":")),
            "facts": json.dumps(each.facts),
        }
        for each in transitions
    ]
    if rows:
        tx.execute(insert_new(tx, access_history), rows)


def history(
    tx: Tx,
    customer_id: str,
    *,
    before_version: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    at: datetime | None = None,
    limit: int = 50,
) -> Sequence[Transition]:
    """Return a customer's changes, newest first. ``at``: those that were true by then; ``until`` excludes its instant."""
    t = access_history.c
    statement = select(access_history).where(t.customer_id == customer_id)
    for wanted in (
        None if before_version is None else t.version < before_version,
        None if since is None else t.at >= since,
        None if until is None else t.at < until,
        None if at is None else t.at <= at,
    ):
        statement = statement if wanted is None else statement.where(wanted)
    rows = tx.execute(statement.order_by(t.version.desc()).limit(limit))
    return [
        Transition(
            customer_id=row.customer_id,
            version=row.version,
            at=row.at,
            recorded_at=row.recorded_at,
            cause=Cause(row.cause),
            body=json.loads(row.body),
            facts=tuple(json.loads(row.facts)),
        )
        for row in rows
    ]


def _stored(row: Any) -> Stored:
    return Stored(
        customer_id=row.customer_id,
        version=row.version,
        body=json.loads(row.body),
        policy=row.policy,
        changed_at=row.changed_at,
        settled_at=row.settled_at,
        next_change_at=row.next_change_at,
        fresh_until=row.fresh_until,
        payer=row.payer,
    )
