"""The work: what waits although it is due, what nobody knows the outcome of, what was given up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from billhook_web.doctor.finding import Diagnosis, error, ok, warning
from billhook_web.runtime import Runtime
from billhook_web.stores import vitals
from billhook_web.stores.vitals import Vitals

STUCK = timedelta(minutes=5)
"""Due work that nobody took for so long means that nobody works."""


def waiting(runtime: Runtime) -> Iterator[Diagnosis]:
    """Look at what is open. Needs the tables."""
    now = runtime.clock.now()
    with runtime.db.read() as tx:
        found = vitals.read(tx, now=now, deadline=runtime.configuration.host.patience_with_unknown())
        stuck = vitals.stuck_since(tx, before=now - STUCK)
    yield _stuck(runtime, stuck, now)
    yield from _unknown(found, now)
    yield from _dead(found)


def _stuck(runtime: Runtime, since: datetime | None, now: datetime) -> Diagnosis:
    if since is None:
        return ok("work", "Nothing waits that should have been done.")
    minutes = int((now - since).total_seconds() // 60)
    command = "billhook serve" if runtime.embedded else "billhook worker"
    return error(
        "work",
        f"Something is due for {minutes} minutes and nobody takes it.",
        f"Is '{command}' running?",
    )


def _unknown(found: Vitals, now: datetime) -> Iterator[Diagnosis]:
    fix = "See 'billhook effects list --status unknown'; ask the provider what became of each."
    if found.unknown.overdue:
        what = f"The outcome of {found.unknown.overdue} effect(s) is unknown for too long."
        yield error("unknown outcomes", what, fix)
    elif found.unknown.count:
        what = (
            f"The outcome of {found.unknown.count} effect(s) is not known yet; the provider is being asked."
        )
        yield warning("unknown outcomes", what, "Wait; an operator is told when it takes too long.")
    else:
        yield ok("unknown outcomes", "There are none.")


def _dead(found: Vitals) -> Iterator[Diagnosis]:
    deliveries, effects = found.dead
    if deliveries:
        fix = "See 'billhook events list --status dead'; then 'billhook events replay'."
        yield warning("dead letters", f"{deliveries} deliveries were given up.", fix)
    if effects:
        fix = "See 'billhook effects list --status dead'; then 'billhook effects retry'."
        yield warning("dead letters", f"{effects} effects were given up.", fix)
    if not deliveries and not effects:
        yield ok("dead letters", "There are none.")
