"""Writing access policies and saying which one counts for whom: documents never change, what counts is a pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from billhook.access import Policy, Problem, parse_policy, policy_to_json
from billhook.clock import Clock
from billhook.errors import NotFound, Refused
from billhook.policy import RULES
from billhook_web.db import Database, Tx, lock
from billhook_web.services.access_policies import CUSTOMER, SUBSCRIPTION, PolicyBook
from billhook_web.services.judging import Judge
from billhook_web.services.receivers import Note
from billhook_web.services.simulating import unseen_currencies
from billhook_web.stores import accounts, lookup, policies
from billhook_web.stores.policies import DEFAULT, Assignment, PolicyRow

RESERVED: Final = ("activate", "assignments", "preview", "rollback", "validate", RULES)
"""Names no policy may have: they are addresses, or that of the built-in policy."""

_LOCK: Final = "access_policies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """For whom a policy counts: everybody, a customer, or one of a customer's subscriptions by its agreement's id."""

    customer_id: str | None = None
    agreement: str | None = None

    @property
    def key(self) -> str:
        """Return the name under which it is stored."""
        if self.agreement is not None:
            return f"{SUBSCRIPTION}{self.agreement}"
        return DEFAULT if self.customer_id is None else f"{CUSTOMER}{self.customer_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enacted:
    """What counts in a scope now; None: nothing of its own. ``changed``: it was another before."""

    assignment: Assignment | None
    policy: PolicyRow | None
    changed: bool
    effects: tuple[int, ...] = ()


class Enacting:
    """Keeps documents and lets them count."""

    def __init__(self, *, db: Database, clock: Clock, book: PolicyBook, judge: Judge) -> None:
        self._db = db
        self._clock = clock
        self._book = book
        self._judge = judge

    def check(
        self, document: Mapping[str, Any], *, path: str = "policy"
    ) -> tuple[Policy, tuple[Problem, ...]]:
        """Read a document; return it with what is allowed and still looks like a slip.

        :raises PolicyInvalid: with every problem.
        """
        policy = parse_policy(document, path)
        with self._db.read() as tx:
            seen = lookup.currencies_in_use(tx, _currencies(policy))
        return policy, (*policy.warnings, *unseen_currencies(policy, seen, path))

    def create(
        self, name: str, document: Mapping[str, Any], *, by: str, reason: str | None, note: Note
    ) -> tuple[PolicyRow, bool]:
        """Keep a document as the next version of its name; return it, and whether it is new.

        :raises PolicyInvalid: with every problem.
        """
        written = policy_to_json(parse_policy(document, "policy"))
        with self._db.begin() as tx:
            lock(tx, [_LOCK])
            last = policies.newest(tx, name)
            row = policies.add(tx, name=name, document=written, now=self._clock.now(), by=by, note=reason)
            made = last is None or last.version != row.version
            if made:
                note(tx, "access_policy.create", name, version=row.version, reason=reason)
        return row, made

    def activate(
        self, scope: Scope, *, name: str, version: int | None, by: str, reason: str | None, note: Note
    ) -> Enacted:
        """Let a version of a document, or a plugin's policy, count in a scope from now on. The same again: nothing.

        :raises NotFound: there is no such policy, version or customer.
        """
        with self._db.begin() as tx:
            row, plugin = self._named(tx, name, version)
            action = "access_policy.activate"
            detail = {"policy": name, "version": row.version if row else None, "reason": reason}
            return self._assign(
                tx, scope, row, plugin, by=by, reason=reason, note=note, action=action, detail=detail
            )

    def roll_back(self, scope: Scope, *, by: str, reason: str | None, note: Note) -> Enacted:
        """Let count again in a scope what counted before what counts now.

        :raises Refused: nothing ever counted there.
        """
        with self._db.begin() as tx:
            past = policies.assignments(tx, scope.key, limit=2)
            if not past:
                raise Refused("Nothing was ever activated there, so there is nothing to go back to.")
            before = past[1] if len(past) > 1 else None
            row = policies.get(tx, before.policy_id) if before and before.policy_id else None
            detail = {
                "policy": row.name if row else None,
                "version": row.version if row else None,
                "reason": reason,
            }
            return self._assign(
                tx, scope, row, before.plugin if before else None, by=by, reason=reason, note=note,
                action="access_policy.roll_back", detail=detail,
            )  # fmt: skip

    def withdraw(self, scope: Scope, *, by: str, reason: str | None, note: Note) -> Enacted:
        """Let nothing of its own count in a scope any more."""
        with self._db.begin() as tx:
            return self._assign(
                tx, scope, None, None, by=by, reason=reason, note=note,
                action="access_policy.withdraw", detail={"reason": reason},
            )  # fmt: skip

    def names(self) -> Sequence[PolicyRow]:
        """Return the newest version of each name."""
        with self._db.read() as tx:
            rows = [policies.newest(tx, name) for name in policies.names(tx)]
        return [row for row in rows if row is not None]

    def versions(self, name: str) -> Sequence[PolicyRow]:
        """Return every version of a name, the newest first. Raises :class:`NotFound`."""
        with self._db.read() as tx:
            found = policies.versions(tx, name)
        if not found:
            raise NotFound("There is no access policy of this name.")
        return list(reversed(found))

    def past(self, scope: Scope) -> list[tuple[Assignment, PolicyRow | None]]:
        """Return what counted in a scope over time, the newest first."""
        with self._db.read() as tx:
            return [
                (each, policies.get(tx, each.policy_id) if each.policy_id else None)
                for each in policies.assignments(tx, scope.key)
            ]

    def _named(self, tx: Tx, name: str, version: int | None) -> tuple[PolicyRow | None, str | None]:
        row = policies.newest(tx, name) if version is None else policies.version_of(tx, name, version)
        if row is not None:
            return row, None
        if version is None and name in self._book.names() and name != RULES:
            return None, name
        raise NotFound("There is no such access policy, or not this version of it.")

    def _assign(
        self, tx: Tx, scope: Scope, row: PolicyRow | None, plugin: str | None,
        *, by: str, reason: str | None, note: Note, action: str, detail: Mapping[str, Any],
    ) -> Enacted:  # fmt: skip
        lock(tx, [_LOCK])
        if scope.customer_id is not None:
            if not accounts.existing(tx, [scope.customer_id]):
                raise NotFound("There is no such customer here.")
            lock(tx, [f"customer/{scope.customer_id}"])
        present = policies.assigned(tx, scope.key)
        policy_id = row.id if row else None
        if (present.policy_id if present else None, present.plugin if present else None) == (
            policy_id,
            plugin,
        ):
            return Enacted(assignment=present, policy=row, changed=False)
        now = self._clock.now()
        made = policies.assign(
            tx, scope=scope.key, customer_id=scope.customer_id, policy_id=policy_id, plugin=plugin, now=now, by=by,
            note=reason,
        )  # fmt: skip
        note(tx, action, scope.key, **detail)
        # Everybody else is found by the timers: their decisions were made before this assignment.
        effects = (
            self._judge.reassess(tx, scope.customer_id, now=now) if scope.customer_id is not None else ()
        )
        return Enacted(assignment=made, policy=row, changed=True, effects=effects)


def _currencies(policy: Policy) -> set[str]:
    return {
        code
        for rule in policy.rules
        for limits in (rule.when.overdue_balance, rule.when.unpaid_balance)
        for code, _ in limits or ()
    }
