"""What a thing amounts to for us, before and after a provider was asked about it: a difference is a gap.

Not every new fact is one. Providers write a new time on things whose webhooks say nothing new, and move a
subscription's period on without a word; what we hold of the thing must have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from billhook.events import CustomerObserved
from billhook.model import Ref
from billhook.projections import project_customer
from billhook_web.db import Tx
from billhook_web.stores import accounts, billing, ledger

GRACE = timedelta(minutes=10)
"""What happened less than this before is no gap: its webhook may be on its way."""

NEW = "new"
"""The name of the change when nothing was known of the thing."""

_PROJECTIONS: Mapping[str, billing.Projection[Any]] = {
    "subscription": billing.subscriptions,
    "invoice": billing.invoices,
    "payment": billing.payments,
    "refund": billing.refunds,
    "dispute": billing.disputes,
    "credit_note": billing.credit_notes,
    "mandate": billing.mandates,
}
_SILENT = frozenset({"at", "observed_at", "current_period"})
"""Fields that move on without a webhook."""

Standing = Mapping[str, Any]


def standing(tx: Tx, kind: str, ref: Ref) -> Standing | None:
    """Return what we hold of a provider's thing, without what moves on by itself; None: nothing.

    :raises ValueError: the kind is none of ours.
    """
    if kind == "customer":
        return _customer(tx, ref)
    if kind not in _PROJECTIONS:
        raise ValueError(f"{kind!r} is no kind of thing that is reconciled")
    value = _PROJECTIONS[kind].get(tx, ref)
    if value is None:
        return None
    return {name: each for name, each in asdict(value).items() if name not in _SILENT}


def changes(before: Standing | None, after: Standing | None) -> tuple[str, ...]:
    """Name what is different; nothing when the thing stands as it stood."""
    if after is None or before == after:
        return ()
    if before is None:
        return (NEW,)
    return tuple(sorted(name for name in after if before.get(name) != after[name]))


def is_overdue(at: datetime | None, *, now: datetime) -> bool:
    """Say whether a webhook about what happened at ``at`` should have come; None: nobody knows, so it should."""
    return at is None or at <= now - GRACE


def _customer(tx: Tx, ref: Ref) -> Standing | None:
    seen = [fact for fact in ledger.about_subject(tx, str(ref)) if isinstance(fact, CustomerObserved)]
    if not seen:
        return None
    latest = project_customer(seen)
    return {
        "customer_id": latest.customer_id,
        "provider_ids": dict(latest.provider_ids),
        **accounts.fields_of(latest),
    }
