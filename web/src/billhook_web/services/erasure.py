"""Erasing a customer's personal data on request: who it was is forgotten, what was billed and paid is not.

Ids, amounts, times and refs stay, and so do the keys of what was said: a repetition of an old delivery is still one, and
the books do not change. What is heard later is kept without personal data until the integrator registers the
customer again. Safe to repeat, also after it stopped half-way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from billhook.clock import Clock
from billhook.errors import NotFound
from billhook_web.db import Database, Tx, lock
from billhook_web.services.personal import without_personal_data
from billhook_web.services.projecting import take_turns
from billhook_web.services.recording import Recorder
from billhook_web.stores import accounts, erasure, portal, retention
from billhook_web.stores.erasure import Belongings, Clean
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.ledger import Statement

GONE = "[erased]"
SHORTEST = 3
"""Shorter values are not looked for in texts: they would be found in everything."""

_DEAD = "Its body was erased with a customer's personal data; reconciling brings what it told."


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure came to: facts that were emptied, deliveries that lost their body, effects and audit entries whose
    texts were cleaned. ``unread``: of the deliveries, those that had never been understood."""

    customer: str
    at: datetime
    facts: int
    deliveries: int
    unread: int
    effects: int
    audit: int


class Erasure:
    """Erases personal data."""

    def __init__(self, *, db: Database, clock: Clock, recorder: Recorder) -> None:
        self._db = db
        self._clock = clock
        self._recorder = recorder

    def erase(self, customer_id: str, *, note: Callable[[Tx], None]) -> Erased:
        """Erase what names the customer; ``note`` writes the action into the audit, in the first transaction.

        :raises NotFound: there is no such customer.
        """
        now = self._clock.now()
        mine, values = self._mark(customer_id, now, note)
        clean = _cleaner(values)
        read, unread = self._empty_deliveries(mine, values, now)
        with self._db.begin() as tx:
            cleaned = erasure.clean_effects(tx, {customer_id, *mine.refs}, clean)
            entries = erasure.clean_audit(tx, values, clean)
        emptied = self._empty_ledger(mine, now)
        return Erased(
            customer=customer_id, at=now, facts=emptied, deliveries=read + unread, unread=unread,
            effects=cleaned, audit=entries,
        )  # fmt: skip

    def _mark(
        self, customer_id: str, now: datetime, note: Callable[[Tx], None]
    ) -> tuple[Belongings, frozenset[str]]:
        with self._db.begin() as tx:
            lock(tx, [f"customer/{customer_id}"])
            if accounts.get_customer(tx, customer_id) is None:
                raise NotFound("There is no such customer here.")
            erasure.mark(tx, customer_id, now=now)
            portal.forget_customer(tx, customer_id)
            note(tx)
            values = erasure.personal_values(tx, customer_id) - {customer_id}
            return erasure.belongings(tx, customer_id), frozenset(values)

    def _empty_deliveries(self, mine: Belongings, values: frozenset[str], now: datetime) -> tuple[int, int]:
        """Keep only the facts of every delivery that names the customer, a window at a time."""
        change = partial(_emptied_if_theirs, mine)
        read = unread = 0
        last: int | None = 0
        with self._db.read() as tx:
            known = erasure.told_by(tx, mine)
        while last is not None:
            with self._db.begin() as tx:
                found, last = erasure.deliveries_naming(tx, mine, values, known=known, after_id=last)
                done = [inbox_id for inbox_id, status in found if status == InboxStatus.PROCESSED]
                dead = [inbox_id for inbox_id, status in found if status == InboxStatus.DEAD]
                retention.keep_only_facts(tx, done, now=now, change=change)
                for inbox_id in dead:
                    erasure.empty_dead(tx, inbox_id, now=now, error=_DEAD)
            read, unread = read + len(done), unread + len(dead)
        return read, unread

    def _empty_ledger(self, mine: Belongings, now: datetime) -> int:
        with self._db.begin() as tx:
            changed = erasure.facts_to_change(tx, mine, without_personal_data)
            take_turns(tx, [each.fact for each in changed])
            lock(tx, (f"invoice/{each.about.invoice}" for each in changed if each.about.invoice))
            lock(tx, [f"customer/{mine.customer_id}"])
            for each in changed:
                erasure.put_fact(tx, each)
            erasure.empty_customer(tx, mine.customer_id, now=now)
            once = {each.about: each.fact for each in changed}
            self._recorder.recompute(tx, ((fact, about) for about, fact in once.items()), now=now)
        return len(changed)


def _emptied_if_theirs(mine: Belongings, said: Statement) -> Statement:
    return without_personal_data(said) if mine.own(said.fact) else said


def _cleaner(values: Iterable[str]) -> Clean:
    """Return what takes the values and their words out of a text, as they are and as JSON writes them, in any case."""
    words = {word for value in values for word in (value, *value.split()) if len(word) >= SHORTEST}
    forms = {form for word in words for form in (word, json.dumps(word)[1:-1])}
    if not forms:
        return lambda text: text
    longest_first = sorted(forms, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    return lambda text: pattern.sub(GONE, text)
