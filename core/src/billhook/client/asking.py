"""What the synchronous and the asynchronous client have in common: all that is not waiting.

It says what to send, is told what came back or that nothing did, and answers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from billhook.client.answer import Access
from billhook.client.cache import AccessCache, Entry, Key, cached, fresh
from billhook.client.exchange import Call, Reply, detail_of, object_of, refusal_of, segment
from billhook.client.keys import KeyRing
from billhook.client.outage import Circuit, OnOutage, answer_without_host
from billhook.client.webhooks import AccessChanged, WebhookEvent
from billhook.clock import Clock
from billhook.errors import LeaseInvalid
from billhook.lease import LONGEST, Lease, Subject

log = logging.getLogger("billhook.client")

LEASES_PAUSE: Final = timedelta(minutes=5)
"""How long no lease is asked for after the host said that it signs none."""

RENEWED_BELOW: Final = LONGEST / 2
"""A lease with less time left is renewed with the next call."""

MOST_AT_ONCE: Final = 1000
"""Customers in one query, as the API allows."""

_GROUPS: Final = {Subject.CUSTOMER: "customers", Subject.SUBSCRIPTION: "subscriptions"}


class Asking:
    """The state behind a client: what is remembered, which keys verify leases, whether the host answers."""

    def __init__(
        self, *, choice: OnOutage, clock: Clock, max_age: timedelta, size: int, issuer: str | None
    ) -> None:
        self.clock = clock
        self._choice = choice
        self._max_age = max_age
        self._cache = AccessCache(size)
        self._circuit = Circuit()
        self.keys = KeyRing(clock=clock, issuer=issuer)
        self._unleased_until: datetime | None = None

    # --- one subject

    def known(self, key: Key) -> Access | None:
        """Return what can be said without asking, or None."""
        entry = self._cache.get(key)
        now = self.clock.now()
        return cached(entry) if entry and entry.is_fresh(now, max_age=self._max_age) else None

    def call(self, key: Key) -> Call | None:
        """Return the request to send; None: the host was just found not to answer, do not wait for it again."""
        now = self.clock.now()
        if not self._circuit.may_ask(now):
            return None
        leased = self._unleased_until is None or now >= self._unleased_until
        entry = self._cache.get(key)
        headers = {}
        if entry is not None and entry.etag and (not leased or _lasts(entry.lease, now)):
            headers["If-None-Match"] = entry.etag  # otherwise the whole answer is wanted, with a new lease
        kind, subject = key
        path = f"/api/v1/{_GROUPS[kind]}/{segment(subject)}/access{'?lease=1' if leased else ''}"
        return Call(
            method="GET", path=path, at=now, headers=headers, leased=leased, held=entry if headers else None
        )

    def again(self, call: Call, reply: Reply) -> bool:
        """Say whether to call once more without a lease: the host signs none."""
        if not call.leased or reply.status != 409:
            return False
        self._circuit.answered()
        self._unleased_until = self.clock.now() + LEASES_PAUSE
        log.warning("client.no_leases %s", detail_of(reply))
        return True

    def wants_keys(self, reply: Reply) -> bool:
        """Say whether the public keys must be read before this reply can be used."""
        return reply.status == 200 and self.keys.lacks(str(object_of(reply).get("lease") or ""))

    def settle(self, key: Key, call: Call, reply: Reply) -> Access:
        """Return the answer that a reply means.

        :raises Refused: the host said no: :class:`NotFound`, :class:`CredentialsRefused`, or a request it does not take.
        :raises Temporary: there is no answer, no lease holds, and the choice was to raise.
        """
        match reply.status:
            case 200:
                return self._taken(key, call, reply)
            case 304 if call.held is not None:
                self._circuit.answered()
                access = replace(call.held.access, as_of=call.at)
                kept = replace(call.held, access=access, asked_at=call.at, heard_at=self.clock.now())
                return fresh(self._cache.put(key, kept))
            case status if 400 <= status < 500 and status not in (408, 425, 429):
                self._circuit.answered()
                if status == 404:
                    self._cache.forget(key)
                raise refusal_of(reply)
            case _:
                return self.failed(key, f"it answered {reply.status}")

    def failed(self, key: Key, why: str) -> Access:
        """Return the answer when a call brought none.

        :raises Temporary: no lease holds and the choice was to raise.
        """
        self._circuit.failed(self.clock.now(), why)
        log.warning("client.outage %s", why)
        return self.without(key)

    def without(self, key: Key) -> Access:
        """Return the answer while the host is not asked.

        :raises Temporary: no lease holds and the choice was to raise.
        """
        why, now = self._circuit.why or "a call is under way", self.clock.now()
        return answer_without_host(key[1], self._cache.get(key), choice=self._choice, now=now, why=why)

    def _taken(self, key: Key, call: Call, reply: Reply) -> Access:
        body = object_of(reply)
        try:
            version = int(body["version"])
            access = Access.of_decision(body, subject=key[1], as_of=call.at, version=version)
        except (ValueError, KeyError, TypeError) as exc:
            return self.failed(key, f"its answer cannot be read ({exc})")
        self._circuit.answered()
        lease = self._lease(key, body.get("lease"))
        heard_at = self.clock.now()
        entry = Entry(access=access, asked_at=call.at, heard_at=heard_at, etag=reply.etag, lease=lease)
        return fresh(self._cache.put(key, entry))

    def _lease(self, key: Key, token: object) -> Lease | None:
        if not isinstance(token, str):
            return None
        try:
            lease = self.keys.verify(token)
        except LeaseInvalid as exc:
            log.warning("client.lease_refused %s", exc)
            return None
        return lease if (lease.kind, lease.subject) == key else None

    # --- webhooks and many at once

    def heard(self, event: WebhookEvent) -> bool:
        """Take in a verified webhook; False when it is about something else or no news."""
        if not isinstance(event, AccessChanged):
            return False
        return self._cache.hear(event.new, heard_at=self.clock.now())

    def query_call(self, customers: Sequence[str]) -> Call | None:
        """Return the request for many customers; None: the host was just found not to answer."""
        if len(customers) > MOST_AT_ONCE:
            raise ValueError(
                f"at most {MOST_AT_ONCE} customers are asked for at once; these are {len(customers)}"
            )
        now = self.clock.now()
        if not self._circuit.may_ask(now):
            return None
        body = json.dumps({"customers": list(customers)}).encode()
        headers = {"Content-Type": "application/json"}
        return Call(method="POST", path="/api/v1/access/query", at=now, headers=headers, body=body)

    def query_settle(self, customers: Sequence[str], call: Call, reply: Reply) -> dict[str, Access]:
        """Return the answers; a customer that the host does not know is not among them.

        :raises Refused: the host said no.    :raises Temporary: as :meth:`settle`.
        """
        if 400 <= reply.status < 500 and reply.status not in (408, 425, 429):
            self._circuit.answered()
            raise refusal_of(reply)
        if reply.status != 200:
            return self.query_failed(customers, f"it answered {reply.status}")
        try:
            found = {str(each["customer"]): self._read(each, call) for each in object_of(reply)["decisions"]}
        except (ValueError, KeyError, TypeError) as exc:
            return self.query_failed(customers, f"its answer cannot be read ({exc})")
        self._circuit.answered()
        return {
            customer: fresh(self._cache.put((Subject.CUSTOMER, customer), self._entry(access, call)))
            for customer, access in found.items()
        }

    def query_failed(self, customers: Sequence[str], why: str) -> dict[str, Access]:
        """Return the answers when the call brought none.

        :raises Temporary: as :meth:`failed`.
        """
        self._circuit.failed(self.clock.now(), why)
        log.warning("client.outage %s", why)
        return self.query_without(customers)

    def query_without(self, customers: Sequence[str]) -> dict[str, Access]:
        """Return the answers while the host is not asked.

        :raises Temporary: as :meth:`without`.
        """
        return {customer: self.without((Subject.CUSTOMER, customer)) for customer in customers}

    def _read(self, body: Mapping[str, Any], call: Call) -> Access:
        return Access.of_decision(
            body, subject=str(body["customer"]), as_of=call.at, version=int(body["version"])
        )

    def _entry(self, access: Access, call: Call) -> Entry:
        known = self._cache.get((Subject.CUSTOMER, access.subject))
        lease = known.lease if known and known.access.version == access.version else None
        return Entry(access=access, asked_at=call.at, heard_at=self.clock.now(), lease=lease)


def _lasts(lease: Lease | None, now: datetime) -> bool:
    return lease is not None and lease.expires_at - now > RENEWED_BELOW
