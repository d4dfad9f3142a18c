"""What a customer wished of a method they added, and doing it once: by the page they come back to, or without them.

The wish is kept when the form is sent, before the customer can confirm anything. Whoever first hears that the method was
saved does what was wished: the page after the form, or the webhook, by an effect, when they never come back. Every call
of it may be repeated, so both at once do no harm; what follows is planned in one transaction, the first to come.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from billhook.clock import Clock
from billhook.effects import ArrangeMethod, ChooseMethod, Effect
from billhook.errors import NotFound
from billhook.events import Event, MandateChanged
from billhook.hookspecs import hookimpl
from billhook.methods import PageState, Setup
from billhook.model import Customer, MandateStatus, Ref, Snapshot
from billhook.provider import SupportsDefaultMethod
from billhook_web.db import Database, Tx
from billhook_web.services.connections import Connections
from billhook_web.services.keepers import Keepers
from billhook_web.services.second_tries import SecondTries, Settled, Settlement
from billhook_web.services.wallet import Wish
from billhook_web.stores import billing, outbox


class ArrangingRules:
    """Plans what was wished of a method when its provider says that it was saved. A plugin like any other."""

    @hookimpl
    def effects_for(self, event: Event, snapshot: Snapshot) -> Iterable[Effect]:
        """Say what a saved method calls for; whether anything was wished of it is looked up when it comes to it."""
        if not isinstance(event, MandateChanged) or event.setup is None or snapshot.customer is None:
            return ()
        if event.status is not MandateStatus.ACTIVE:
            return ()
        return (
            ArrangeMethod(
                customer_id=snapshot.customer.id, connection=event.ref.connection, setup=event.setup
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """What was done at the provider. ``replaced``: as in :class:`Settled`."""

    setup: str
    method: Ref
    default: bool
    replaced: str | None = None


class Arranging:
    """Keeps wishes and fulfils them."""

    def __init__(self, *, db: Database, clock: Clock, connections: Connections, keepers: Keepers) -> None:
        self._db = db
        self._clock = clock
        self._connections = connections
        self._keepers = keepers
        self._tries = SecondTries(clock=clock)

    def wish(self, connection: str, setup: str, wish: Wish) -> None:
        """Keep what the customer wants of what they are adding. A form that is sent again may wish otherwise."""
        kept = {"default": wish.default, "replaces": str(wish.replaces) if wish.replaces else None}
        with self._db.begin() as tx:
            billing.keep(tx, connection, _wish_key(connection, setup), json.dumps(kept))

    def wished(self, tx: Tx, connection: str, setup: str) -> Wish | None:
        """Return what was wished; None: it was not begun here."""
        kept = billing.recall(tx, connection, _wish_key(connection, setup))
        if kept is None:
            return None
        said = json.loads(kept)
        return Wish(
            default=said["default"], replaces=Ref.parse(said["replaces"]) if said["replaces"] else None
        )

    def settled(self, tx: Tx, connection: str, setup: str) -> Settled | None:
        """Return what was done with it before; None: nothing yet."""
        return self._tries.settled(tx, connection, _mark(connection, setup))

    def look_and_fulfil(self, customer: Customer, connection: str, setup: str, wish: Wish) -> Arranged | None:
        """Ask how a set-up stands and do what was wished; None: it saved nothing, or what it saved is gone again."""
        try:
            found = self._keepers.call(customer, connection, lambda keeper, owner: keeper.setup(owner, setup))
            return self.fulfil(customer, connection, found, wish)
        except NotFound:
            return None

    def fulfil(self, customer: Customer, connection: str, found: Setup, wish: Wish) -> Arranged | None:
        """Do at the provider what was wished of a saved method; None: nothing was saved, or it is gone again.

        The same card or account is kept once. Every call may be repeated, and a repetition comes to the same.
        """
        new = found.method.method.ref if found.method is not None else None
        if found.state is not PageState.SUCCEEDED or new is None:
            return None
        kept = self._keepers.call(customer, connection, lambda keeper, owner: keeper.saved_methods(owner))
        others = [each for each in kept if each.method.ref != new]
        going = [each for each in others if each.method.ref in (found.saved_before, wish.replaces)]
        first = wish.default or len(others) == len(going) or any(each.default for each in going)
        if first:
            self._keepers.call(customer, connection, lambda keeper, owner: keeper.set_default(owner, new))
        for each in going:
            self._forget(customer, connection, each.method.ref)
        same = any(each.method.ref == found.saved_before for each in going)
        is_default = first or any(each.default for each in kept if each.method.ref == new)
        replaced = "same" if same else "other" if going else None
        return Arranged(setup=found.id, method=new, default=is_default, replaced=replaced)

    def settle(self, tx: Tx, customer_id: str, done: Arranged) -> Settlement:
        """Note what was done and plan what follows; the second to come gets what the first did, and plans nothing."""
        connection = done.method.connection
        settled = self._tries.settle(
            tx, customer_id, mark=_mark(connection, done.setup), connection=connection, setup=done.setup,
            default=done.default, replaced=done.replaced,
        )  # fmt: skip
        if settled.before or not done.default:
            return settled
        told = plan_choice(tx, self._connections, customer_id, done.method, now=self._clock.now())
        return Settlement(settled=settled.settled, effects=(*settled.effects, *told))

    def _forget(self, customer: Customer, connection: str, method: Ref | None) -> None:
        if method is not None:
            self._keepers.call(
                customer, connection, lambda keeper, owner: keeper.remove_method(owner, method)
            )


def plan_choice(
    tx: Tx, connections: Connections, customer_id: str, method: Ref, *, now: datetime
) -> tuple[int, ...]:
    """Plan to tell every billing engine that keeps payment methods which one the customer chose; return the effects."""
    planned: list[int] = []
    for each in connections.engines():
        engine: object = each.engine
        if isinstance(engine, SupportsDefaultMethod):
            choice = ChooseMethod(customer_id=customer_id, connection=each.name, method=method, chosen_at=now)
            effect = outbox.add(tx, choice, now=now)
            planned += () if effect is None else (effect,)
    return tuple(planned)


def short_key(kind: str, *parts: str) -> str:
    """Return a short key that tells nothing: of the customer or of the page."""
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{kind}-{digest[:32]}"


def _wish_key(connection: str, setup: str) -> str:
    return short_key("portal-wish", connection, setup)


def _mark(connection: str, setup: str) -> str:
    return short_key("portal-added", connection, setup)
