"""Clocks that differ: signatures of webhooks are only good for minutes, and due dates are told by this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from billhook.clock import Clock
from billhook.http import ApiClient, ApiResponse, Timeouts
from billhook_web.db import DatabaseError
from billhook_web.doctor.finding import Diagnosis, error, ok, warning
from billhook_web.runtime import Runtime
from billhook_web.stores import vitals

TOLERATED = timedelta(seconds=30)
HARMFUL = timedelta(minutes=4)
"""Webhook signatures are commonly accepted for five minutes."""

FIX = "Let this machine's clock follow a time server (NTP)."


class DateHeaders:
    """Makes API clients that note what time a provider's server says it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._skews: dict[str, timedelta] = {}

    def __call__(
        self,
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        secrets: Iterable[str],
        timeouts: Timeouts | None = None,
    ) -> ApiClient:
        """Return a client, as :class:`billhook.hookspecs.HttpClients` says."""
        return ApiClient(
            name=name,
            base_url=base_url,
            headers=headers,
            secrets=secrets,
            timeouts=timeouts or Timeouts(),
            on_answer=lambda answer: self.note(name, answer),
        )

    def note(self, name: str, answer: ApiResponse) -> None:
        """Compare the ``Date`` header of an answer (whole seconds, RFC 9110) with this machine's clock."""
        try:
            said = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return
        aware = said if said.tzinfo else said.replace(tzinfo=UTC)
        self._skews[name] = self._clock.now() - aware

    def skews(self) -> Mapping[str, timedelta]:
        """Return by how much this machine is ahead of each server that was asked."""
        return dict(self._skews)


def skew(runtime: Runtime, dates: DateHeaders, *, database: bool) -> Iterator[Diagnosis]:
    """Say by how much this machine's clock differs from those of the providers and of the database."""
    found = {name: off for name, off in dates.skews().items() if runtime.connections.get(name)}
    behind = _database(runtime) if database else None
    if behind is not None:
        found["the database"] = behind
    for name, off in found.items():
        if abs(off) > TOLERATED:
            yield _told(name, off)
    if found and all(abs(off) <= TOLERATED for off in found.values()):
        yield ok("clock", f"It agrees with {', '.join(found)}.")


def _told(name: str, off: timedelta) -> Diagnosis:
    side = "ahead of" if off > timedelta() else "behind"
    what = f"This machine is {round(abs(off).total_seconds())} seconds {side} {name}."
    return error("clock", what, FIX) if abs(off) > HARMFUL else warning("clock", what, FIX)


def _database(runtime: Runtime) -> timedelta | None:
    try:
        with runtime.db.read() as tx:
            there: datetime | None = vitals.clock(tx)
    except DatabaseError:
        return None
    return None if there is None else runtime.clock.now() - there
