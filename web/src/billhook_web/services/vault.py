"""The secrets of connections that are kept in the database: which are in force, and what they open to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from datetime import datetime

from billhook.clock import Clock
from billhook.config import prefix_of
from billhook.errors import ConfigInvalid, Problem, SealBroken
from billhook_web.db import Database
from billhook_web.sealing import Sealer
from billhook_web.stores import secrets
from billhook_web.stores.secrets import StoredSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One connection's stored secrets in clear: by field, the current one first, then those still valid beside it.

    ``until``: when the last of a field's older ones ends.
    """

    values: Mapping[str, tuple[str, ...]] = attribute(default_factory=dict, repr=False)
    until: Mapping[str, datetime] = attribute(default_factory=dict)

    def plain(self) -> tuple[str, ...]:
        """Return every value, for redaction; of several in one text each."""
        texts = [value for values in self.values.values() for value in values]
        return (*texts, *(part.strip() for text in texts for part in text.split(",")))


class Vault:
    """Reads and opens what is stored."""

    def __init__(self, *, db: Database, clock: Clock, sealer: Sealer) -> None:
        self._db = db
        self._clock = clock
        self._sealer = sealer

    def in_force(self) -> tuple[StoredSecret, ...]:
        """Return what is valid now, and forget what is not any more; raises DatabaseError."""
        now = self._clock.now()
        with self._db.read() as tx:
            stored = secrets.all_of(tx)
        valid = tuple(each for each in stored if each.in_force(now))
        if len(valid) < len(stored):
            with self._db.begin() as tx:
                secrets.forget_expired(tx, now=now)
        return valid

    def opened(self, connection: str, stored: Sequence[StoredSecret]) -> Opened:
        """Open one connection's secrets; raises ConfigInvalid naming every field that cannot be opened."""
        values: dict[str, tuple[str, ...]] = {}
        until: dict[str, datetime] = {}
        problems: dict[str, Problem] = {}
        for each in stored:
            if each.connection != connection:
                continue
            purpose = secrets.purpose(connection, each.field)
            try:
                plain = self._sealer.open(each.sealed, purpose=purpose)
            except SealBroken as exc:
                variable = f"{prefix_of(connection)}_{each.field.upper()}"
                problems[each.field] = Problem(variable, "is stored and cannot be opened:", f"{exc}.")
                continue
            values[each.field] = (*values.get(each.field, ()), plain)
            if each.expires_at is not None:
                until[each.field] = max(each.expires_at, until.get(each.field, each.expires_at))
        if problems:
            raise ConfigInvalid(list(problems.values()))
        return Opened(values=values, until=until)
