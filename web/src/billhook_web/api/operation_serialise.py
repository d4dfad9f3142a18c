"""From deliveries, effects and connections to plain JSON, as :mod:`billhook_web.api.serialise` does for billing."""

from __future__ import annotations

import json
from collections.abc import Iterable

from billhook import effects, events
from billhook.config import masked
from billhook.provider import Finding
from billhook_web.api.serialise import Plain, instant
from billhook_web.services.connections import Connection
from billhook_web.stores.audit import AuditEntry
from billhook_web.stores.conditions import Condition
from billhook_web.stores.inbox import InboxRow
from billhook_web.stores.outbox import EffectAttempt, EffectRow
from billhook_web.stores.reconcile import GapRow, Run


def event(row: InboxRow) -> Plain:
    """Write a delivery, without its body."""
    return {
        "id": row.id,
        "connection": row.connection,
        "key": row.delivery_key,
        "type": row.type,
        "status": row.status,
        "attempt_count": row.attempts,
        "new_facts": row.facts,
        "received_at": instant(row.received_at),
        "due_at": instant(row.due_at) if row.status == "received" else None,
        "processed_at": instant(row.processed_at),
        "body_pruned_at": instant(row.body_pruned_at),
        "error": row.error,
    }


def fact(value: events.Event) -> Plain:
    """Write a fact."""
    values = json.loads(events.to_json(value))
    return {
        "type": value.type,
        "at": instant(value.at),
        "subject": str(value.ref),
        "values": {name: each for name, each in values.items() if name not in ("type", "at", "ref")},
    }


def effect(row: EffectRow) -> Plain:
    """Write an effect."""
    values = json.loads(effects.to_json(row.effect))
    return {
        "id": row.id,
        "key": row.key,
        "kind": row.kind,
        "lane": row.lane,
        "subject": row.subject,
        "status": row.status,
        "due_at": instant(row.due_at),
        "attempt_count": row.attempts,
        "created_at": instant(row.created_at),
        "finished_at": instant(row.finished_at),
        "unknown_since": instant(row.unknown_since),
        "note": row.note,
        "error": row.error or None,
        "values": {name: each for name, each in values.items() if name != "kind"},
    }


def effect_attempt(value: EffectAttempt) -> Plain:
    """Write one try at an effect."""
    return {
        "at": instant(value.at),
        "milliseconds": value.milliseconds,
        "outcome": value.outcome,
        "detail": value.detail,
    }


def audit_entry(row: AuditEntry) -> Plain:
    """Write something an operator did."""
    return {
        "id": row.id,
        "at": instant(row.at),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "detail": dict(row.detail),
    }


def gap(row: GapRow) -> Plain:
    """Write a gap."""
    return {
        "id": row.id,
        "run_id": row.run_id,
        "connection": row.ref.connection,
        "kind": row.kind,
        "ref": str(row.ref),
        "changed": list(row.changed),
        "at": instant(row.at),
        "found_at": instant(row.found_at),
    }


def reconcile_run(row: Run) -> Plain:
    """Write a run."""
    return {
        "id": row.id,
        "connection": row.connection,
        "status": row.status,
        "since": instant(row.since),
        "until": instant(row.until),
        "seen_count": row.seen,
        "new_facts": row.facts,
        "gap_count": row.gaps,
        "started_at": instant(row.started_at),
        "updated_at": instant(row.updated_at),
        "finished_at": instant(row.finished_at),
        "error": row.error,
    }


def connection(
    value: Connection, *, title: str | None, traits: Plain, operations: Iterable[str], public_url: str,
    with_settings: bool, condition: Condition | None,
) -> Plain:  # fmt: skip
    """Write a connection. Its settings are masked, and shown only ``with_settings``."""
    kinds = {
        "billing_engine": value.engine,
        "payment_provider": value.provider,
        "webhook_source": value.source,
        "notification_channel": value.channel,
    }
    return {
        "name": value.name,
        "plugin": value.plugin,
        "title": title,
        "kinds": [name for name, found in kinds.items() if found is not None],
        "traits": traits,
        "operations": list(operations),
        "webhook_url": f"{public_url}/webhooks/{value.name}" if value.source is not None else None,
        "settings": masked(value.settings) if with_settings and value.settings is not None else None,
        "problem": value.problem,
        "health": _health(condition),
    }


def _health(value: Condition | None) -> Plain:
    """Write how a connection does; None: nobody called it yet."""
    return {
        "state": value.state if value else "closed",
        "failure_count": value.failures if value else 0,
        "probe_at": instant(value.probe_at) if value else None,
        "reason": value.reason if value else None,
        "changed_at": instant(value.changed_at) if value else None,
        "fault_count": value.faults if value else 0,
        "fault": value.fault if value else None,
        "fault_at": instant(value.fault_at) if value else None,
        "notice": value.notice if value else None,
        "notice_at": instant(value.notice_at) if value else None,
    }


def finding(value: Finding) -> Plain:
    """Write a finding."""
    return {"severity": value.severity, "what": value.what, "fix": value.fix}
