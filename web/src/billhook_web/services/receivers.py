"""Managing webhook endpoints: the same for the API and the command line, each change with its line in the audit."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from billhook.clock import Clock, random_bytes
from billhook.errors import Conflict, NotFound
from billhook.http import AllowedTargets, read_target
from billhook_web.db import Database, Tx
from billhook_web.sealing import Sealer
from billhook_web.services.publishing import SUBSCRIBABLE, publish_test
from billhook_web.stores import endpoints, outgoing
from billhook_web.stores.endpoints import Because, Endpoint

SECRET_BYTES: Final = 32
OVERLAP: Final = timedelta(days=1)
"""How long the secret before stays valid after a rotation, unless said otherwise."""

LONGEST_OVERLAP: Final = timedelta(days=30)


class UrlUnusable(ValueError):
    """A URL that no webhook may be sent to; the message says why."""


class Note(Protocol):
    """Writes who does something into the audit, in the transaction that does it."""

    def __call__(self, tx: Tx, action: str, subject: object, **detail: Any) -> None:
        """Add one row."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be different; None: as it is."""

    url: str | None = None
    description: str | None = None
    event_types: Sequence[str] | None = None
    enabled: bool | None = None


class Receivers:
    """Adds, changes and removes endpoints. ``random``: makes secrets."""

    def __init__(
        self, *, db: Database, clock: Clock, sealer: Sealer, allowed: AllowedTargets,
        random: Callable[[int], bytes] = random_bytes,
    ) -> None:  # fmt: skip
        self._db = db
        self._clock = clock
        self._sealer = sealer
        self._allowed = allowed
        self._random = random

    def create(
        self, *, url: str, description: str, event_types: Sequence[str], enabled: bool, note: Note
    ) -> tuple[Endpoint, str]:
        """Add an endpoint; return it and its secret, which is never shown again.

        :raises UrlUnusable: no webhook may be sent there.    :raises Conflict: another endpoint has this URL.
        :raises Unsupported: secrets cannot be stored.
        """
        self._check(url)
        now, secret = self._clock.now(), self._new_secret()
        with self._db.begin() as tx:
            self._check_is_new(tx, url, None)
            endpoint_id = endpoints.add(
                tx, url=url, description=description, event_types=event_types, enabled=enabled, now=now
            )
            sealed = self._sealer.seal(secret, purpose=endpoints.purpose(endpoint_id))
            endpoints.change(tx, endpoint_id, now=now, secret=sealed)
            note(tx, "webhook_endpoint.create", endpoint_id, event_types=list(event_types), enabled=enabled)
            return self._there(endpoints.get(tx, endpoint_id)), secret

    def change(self, endpoint_id: int, changes: Changes, *, note: Note) -> Endpoint:
        """Change an endpoint; raises as :meth:`create`, and NotFound."""
        if changes.url is not None:
            self._check(changes.url)
        now = self._clock.now()
        with self._db.begin() as tx:
            before = self._there(endpoints.lock(tx, endpoint_id))
            if changes.url is not None:
                self._check_is_new(tx, changes.url, endpoint_id)
            plain = {
                "url": changes.url,
                "description": changes.description,
                "event_types": changes.event_types,
            }
            changed = {name: value for name, value in plain.items() if value is not None}
            if changed:
                endpoints.change(tx, endpoint_id, now=now, **changed)
                note(tx, "webhook_endpoint.change", endpoint_id, fields=sorted(changed))
            if changes.enabled is not None:
                self._switch(tx, before, changes.enabled, note, now)
            return self._there(endpoints.get(tx, endpoint_id))

    def _switch(self, tx: Tx, endpoint: Endpoint, on: bool, note: Note, now: datetime) -> None:
        if on == endpoint.enabled:
            return
        if on:
            endpoints.enable(tx, endpoint.id, now=now)
            number = outgoing.release(tx, endpoint.id, now=now)
            note(tx, "webhook_endpoint.enable", endpoint.id, released=number)
            return
        endpoints.disable(tx, endpoint.id, because=Because.OPERATOR, notice=None, now=now)
        outgoing.hold(tx, endpoint.id)
        note(tx, "webhook_endpoint.disable", endpoint.id)

    def delete(self, endpoint_id: int, *, note: Note) -> None:
        """Remove an endpoint and forget its secrets; what it has not got is canceled. Raises NotFound."""
        now = self._clock.now()
        with self._db.begin() as tx:
            self._there(endpoints.lock(tx, endpoint_id))
            endpoints.delete(tx, endpoint_id, now=now)
            outgoing.cancel(tx, endpoint_id, now=now)
            note(tx, "webhook_endpoint.delete", endpoint_id)

    def rotate(self, endpoint_id: int, *, overlap: timedelta, note: Note) -> tuple[Endpoint, str]:
        """Give an endpoint a new secret; return it. Both sign until the overlap ends. Raises NotFound, Unsupported."""
        now, secret = self._clock.now(), self._new_secret()
        sealed = self._sealer.seal(secret, purpose=endpoints.purpose(endpoint_id))
        with self._db.begin() as tx:
            before = self._there(endpoints.lock(tx, endpoint_id))
            kept = before.secret if overlap else None
            endpoints.change(
                tx, endpoint_id, now=now, secret=sealed, previous_secret=kept,
                previous_until=now + overlap if kept else None,
            )  # fmt: skip
            note(tx, "webhook_endpoint.rotate", endpoint_id, overlap_seconds=round(overlap.total_seconds()))
            return self._there(endpoints.get(tx, endpoint_id)), secret

    def test(self, endpoint_id: int, *, note: Note) -> str:
        """Have a test event sent now; return its id. Raises NotFound; Conflict when the endpoint is disabled."""
        now = self._clock.now()
        with self._db.begin() as tx:
            endpoint = self._enabled(tx, endpoint_id)
            endpoints.change(tx, endpoint_id, now=now, resume_at=None)
            key = publish_test(tx, endpoint, now=now)
            note(tx, "webhook_endpoint.test", endpoint_id, message_id=key)
        return key

    def redeliver_one(self, endpoint_id: int, *, message_id: str, note: Note) -> int:
        """Have one message sent again; return 1. Raises NotFound and, when the endpoint is disabled, Conflict."""
        now = self._clock.now()
        with self._db.begin() as tx:
            self._enabled(tx, endpoint_id)
            if not outgoing.again(tx, endpoint_id, key=message_id, now=now):
                raise NotFound("No such message was ever planned for this endpoint.", field="message_id")
            note(tx, "webhook_endpoint.redeliver", endpoint_id, message_id=message_id)
        return 1

    def redeliver_since(self, endpoint_id: int, *, since: datetime, delivered_too: bool, note: Note) -> int:
        """Have sent, in order, what the endpoint has not got since an instant; return how many messages.

        :param delivered_too: also what it has.
        :raises NotFound: there is no such endpoint.    :raises Conflict: it is disabled.
        """
        now = self._clock.now()
        with self._db.begin() as tx:
            endpoint = self._enabled(tx, endpoint_id)
            kinds = [kind for kind in SUBSCRIBABLE if endpoint.wants(kind)]
            number = outgoing.again_since(
                tx, endpoint_id, since=since, kinds=kinds, delivered_too=delivered_too, now=now
            )
            note(tx, "webhook_endpoint.redeliver", endpoint_id, since=since.isoformat(), messages=number)
        return number

    def _enabled(self, tx: Tx, endpoint_id: int) -> Endpoint:
        endpoint = self._there(endpoints.lock(tx, endpoint_id))
        if not endpoint.enabled:
            raise Conflict("The endpoint is disabled; enable it first: what it missed is sent then.")
        return endpoint

    def _there(self, endpoint: Endpoint | None) -> Endpoint:
        if endpoint is None:
            raise NotFound("There is no such webhook endpoint here.")
        return endpoint

    def _check(self, url: str) -> None:
        try:
            read_target(url, self._allowed)
        except ValueError as exc:
            raise UrlUnusable(str(exc)) from None

    def _check_is_new(self, tx: Tx, url: str, endpoint_id: int | None) -> None:
        known = endpoints.find_by_url(tx, url)
        if known is not None and known.id != endpoint_id:
            raise Conflict(
                f"The endpoint {known.id} has this URL already; change that one.", code="url_taken"
            )

    def _new_secret(self) -> str:
        return f"whsec_{b64encode(self._random(SECRET_BYTES)).decode()}"
