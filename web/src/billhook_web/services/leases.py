"""How long a piece of work belongs to the process that took it, and what follows from that for every call it makes.

A row whose lease is over is taken by another process, which looks at the provider and, finding nothing, calls again. A
first call still on its way at that moment would not be found, and both would take effect. So the work is interrupted
(``time_limit``) and its last wait has ended (``timeouts``) before the lease is over. All are shares of the lease, which
keeps the relation whatever an operator sets; it is checked all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from billhook.errors import ConfigInvalid, Problem
from billhook.hookspecs import HttpClients
from billhook.http import ApiClient, Timeouts

NOTICE = timedelta(seconds=0.5)
"""How late the watch over the time limit may be."""

_LONGEST = Timeouts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """``length`` of a lease, the ``time_limit`` of one piece of work in it, the longest ``timeouts`` of one call."""

    length: timedelta
    time_limit: timedelta
    timeouts: Timeouts

    @classmethod
    def of(cls, length: timedelta, *, time_limit: timedelta | None = None) -> Self:
        """Return what fits into leases of this length; two minutes leave 80 s of work and the usual time-outs.

        :raises ConfigInvalid: a call begun at the last moment could outlive the lease.
        """
        seconds = length.total_seconds()
        leases = cls(
            length=length,
            time_limit=length * 2 / 3 if time_limit is None else time_limit,
            timeouts=Timeouts(
                connect=min(_LONGEST.connect, seconds / 24),
                read=min(_LONGEST.read, seconds / 6),
                body=min(_LONGEST.body, seconds / 2),
            ),
        )
        leases._check()
        return leases

    def _check(self) -> None:
        """A blocked wait is not interrupted: it ends by its own time-out, and then the work ends."""
        last_wait = timedelta(seconds=self.timeouts.connect + self.timeouts.read)
        longest = self.time_limit + NOTICE + last_wait
        if longest > self.length:
            what = f"is shorter than a piece of work may take ({longest.total_seconds():g} s)."
            raise ConfigInvalid([Problem("BILLHOOK_LEASE", what, "Make it longer: PT2M is the default.")])

    def bounded(self, http: HttpClients) -> HttpClients:
        """Return ``http`` with every time-out within these; a plugin may ask for shorter ones."""

        def make(
            *,
            name: str,
            base_url: str,
            headers: Mapping[str, str],
            secrets: Iterable[str],
            timeouts: Timeouts | None = None,
        ) -> ApiClient:
            asked = timeouts or _LONGEST
            within = Timeouts(
                connect=min(asked.connect, self.timeouts.connect),
                read=min(asked.read, self.timeouts.read),
                body=min(asked.body, self.timeouts.body),
            )
            return http(name=name, base_url=base_url, headers=headers, secrets=secrets, timeouts=within)

        return make
