"""What is answered about a customer's access: the stored decision as text, its tag, and how long it may be kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from billhook.access import Decision
from billhook.access.facts import written
from billhook.clock import Clock
from billhook.errors import NotFound
from billhook_web.db import Database
from billhook_web.services.cases import Case
from billhook_web.services.deciding import Deciding
from billhook_web.services.judging import Judge
from billhook_web.services.looking import is_fresh
from billhook_web.stores import access, accounts, policies
from billhook_web.stores.access import Stored
from billhook_web.stores.access_rows import AnswerRow, AnswerRows

KEPT_FOR: Final = timedelta(seconds=1)
"""How old an answer may be."""

MOST_CUSTOMERS: Final = 1_000
"""Customers in one query."""

_AT: Final = '"at":"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer: JSON, its entity tag (weak: ``at`` is not part of it), and until when it is so; None: for ever."""

    text: str
    tag: str
    ends: datetime | None

    def kept_for(self, now: datetime) -> int:
        """Return for how many seconds a caller may keep it: one, or none when it changes before."""
        return int(self.ends is None or self.ends - now >= KEPT_FOR)


def tell(text: str, *, version: int, ends: datetime | None, now: datetime) -> Told:
    """Write a stored decision as the one for ``now``.

    :param text: its JSON; ``at`` is the second key and is the only thing in it that grows old.
    """
    begin = text.index(_AT) + len(_AT)
    end = text.index('"', begin)
    head, tail = text[:begin], f'{text[end:-1]},"version":{version}}}'
    digest = blake2b(f"{head}{tail}".encode(), digest_size=12).hexdigest()
    return Told(text=f"{head}{written(now)}{tail}", tag=f'W/"{digest}"', ends=ends)


def matches(tag: str, asked: str) -> bool:
    """Say whether a caller has this answer already. ``asked``: an If-None-Match header."""
    if asked == tag:
        return True
    strong = tag.removeprefix("W/")
    return any(each.strip().removeprefix("W/") in (strong, "*") for each in asked.split(","))


class Answering:
    """Answers what customers and subscriptions may use, now and at other instants."""

    def __init__(self, *, db: Database, clock: Clock, deciding: Deciding, judge: Judge) -> None:
        self._db = db
        self._clock = clock
        self._deciding = deciding
        self._judge = judge
        self._rows: AnswerRows | None = None

    def quick(self, customer_id: str, *, now: datetime) -> Told | None:
        """Return the answer if it is stored and still holds, from one row; None: it has to be made.

        :raises DatabaseError: it cannot be read.
        """
        if self._rows is None:
            self._rows = AnswerRows(self._db)
        row = self._rows.get(customer_id)
        return None if row is None else self._of(row, now)

    def now(self, customer_id: str) -> Stored:
        """Return the decision for now.

        :raises NotFound: nobody knows the customer.
        """
        found = self._many([customer_id]).get(customer_id)
        if found is None:
            raise NotFound("There is no such customer here.")
        return found

    def many(self, customer_ids: Sequence[str]) -> tuple[list[Stored], list[str]]:
        """Return the decisions of several customers, in the order asked, and who is not known."""
        asked = list(dict.fromkeys(customer_ids))
        found = self._many(asked)
        return [found[each] for each in asked if each in found], [each for each in asked if each not in found]

    def at(self, customer_id: str, at: datetime) -> Decision:
        """Return the decision at another instant, by what is known now, under the policy that counted then.

        :raises NotFound: nobody knows the customer.
        """
        return self.case(customer_id, at=at).decide(at)

    def case(self, customer_id: str, *, at: datetime | None = None) -> Case:
        """Return what a customer's decision is made from, under the policy of now or of an instant.

        :raises NotFound: nobody knows the customer.
        """
        self.check(customer_id)
        with self._db.read() as tx:
            past = at if at is not None and at < self._clock.now() else None
            return self._judge.case(tx, customer_id, at=past)

    def check(self, customer_id: str) -> None:
        """Raise NotFound when nobody knows the customer."""
        with self._db.read() as tx:
            if not accounts.existing(tx, [customer_id]) and access.get(tx, customer_id) is None:
                raise NotFound("There is no such customer here.")

    def _many(self, customer_ids: Sequence[str]) -> dict[str, Stored]:
        now = self._clock.now()
        with self._db.read() as tx:
            stored, newest = access.many(tx, customer_ids), policies.default_mark(tx)
            missing = [each for each in customer_ids if each not in stored]
            known = accounts.existing(tx, missing)
        fresh = {name: each for name, each in stored.items() if is_fresh(each, now) and each.policy >= newest}
        made = {
            name: self._deciding.made_again(name)
            for name in customer_ids
            if name not in fresh and (name in stored or name in known)
        }
        return fresh | {name: each for name, each in made.items() if each is not None}

    @staticmethod
    def _of(row: AnswerRow, now: datetime) -> Told | None:
        if row.outdated or (row.ends is not None and row.ends <= now):
            return None
        return tell(row.text, version=row.version, ends=row.ends, now=now)


def told(stored: Stored, *, now: datetime) -> Told:
    """Write a customer's decision."""
    ends = [each for each in (stored.next_change_at, stored.fresh_until) if each is not None]
    text = json.dumps(stored.body, separators=(",", ":"))
    return tell(text, version=stored.version, ends=min(ends, default=None), now=now)


def of_subscription(body: Mapping[str, Any], agreement: str, coming: Decision | None) -> dict[str, Any]:
    """Return a customer's decision as that of one of their subscriptions: its own state, access and reasons.

    :param coming: the customer's decision at ``next_change_at``; None: nothing changes by itself.
    :raises NotFound: the customer's decision does not know the subscription.
    """
    line = body["subscriptions"].get(agreement)
    if line is None:
        raise NotFound("Nothing is known of this subscription's access yet.")
    then = coming.subscriptions.get(agreement) if coming else None
    return {
        **body,
        "state": line["state"],
        "access": line["access"],
        "reasons": line["reasons"],
        "paid_through": line["paid_through"],
        "next": {"state": then.state, "access": then.access.value} if then else None,
        "subscriptions": {agreement: line},
    }
