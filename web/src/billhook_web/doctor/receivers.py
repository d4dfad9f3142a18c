"""Receivers of webhooks: which are disabled, which fail, and whether their secrets can be opened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from billhook_web.doctor.finding import Diagnosis, error, ok, warning
from billhook_web.runtime import Runtime
from billhook_web.stores import endpoints
from billhook_web.stores.endpoints import Because, Endpoint

LONG = timedelta(hours=1)
"""A receiver that fails for less may just be restarting."""

LOOKED_AT = 200


def all_well(runtime: Runtime) -> Iterator[Diagnosis]:
    """Look at every endpoint. Needs the tables."""
    now = runtime.clock.now()
    with runtime.db.read() as tx:
        known = endpoints.page(tx, limit=LOOKED_AT)
    found = [said for each in known for said in _look(runtime, each, now)]
    yield from found
    if known and not found:
        yield ok("webhook endpoints", "Each is enabled and answers.")


def _look(runtime: Runtime, row: Endpoint, now: datetime) -> Iterator[Diagnosis]:
    about = f"webhook endpoint {row.id}"
    if row.secret is None or not runtime.sealer.can_open(row.secret):
        fix = f"Bring back the key in BILLHOOK_SECRET_KEY, or run 'billhook endpoints rotate {row.id}'."
        yield error(about, "Its secret cannot be opened: nothing can be sent.", fix)
    if row.reason in (Because.GONE, Because.FAILING):
        fix = f"See to the receiver, then run 'billhook endpoints enable {row.id}'."
        yield warning(about, row.notice or "It is disabled.", fix)
    elif row.enabled and row.failing_since is not None and now - row.failing_since >= LONG:
        hours = int((now - row.failing_since) / timedelta(hours=1))
        fix = f"See 'billhook endpoints deliveries {row.id}' for what it answers."
        yield warning(about, f"Nothing was delivered for {hours} hours.", fix)
