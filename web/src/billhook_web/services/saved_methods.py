"""A customer's payment methods at every provider that keeps some: listed, added, chosen and removed by the customer.

The provider is asked each time: what it says is the truth, and nothing of a card is stored here. Every call passes its
connection's gate, so a provider that is down costs only its own part.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from billhook.clock import Clock, new_token
from billhook.errors import Conflict, NotFound, ProviderError, Refused
from billhook.methods import PageKit, PageState, SavedMethod, Setup, SetupRequest
from billhook.model import Customer, Ref, SubscriptionStatus
from billhook_web.db import Database, Tx
from billhook_web.services.arranging import Arranging, plan_choice, short_key
from billhook_web.services.connections import CUSTOMER_KEY, Connections
from billhook_web.services.expiry import expiry_of
from billhook_web.services.gates import Ask
from billhook_web.services.keepers import Keeper, Keepers
from billhook_web.services.wallet import Added, Held, Wallet, Wish
from billhook_web.stores import accounts, audit, billing

log = structlog.get_logger(__name__)

_OVER = (SubscriptionStatus.SUPERSEDED, SubscriptionStatus.CANCELED, SubscriptionStatus.ENDED)


class SavedMethods:
    """The payment methods of one customer at a time, named by our id; :class:`NotFound` for one we do not know."""

    def __init__(self, *, db: Database, clock: Clock, connections: Connections, ask: Ask) -> None:
        self._db = db
        self._clock = clock
        self._connections = connections
        self._keepers = Keepers(db=db, connections=connections, ask=ask)
        self._arranging = Arranging(db=db, clock=clock, connections=connections, keepers=self._keepers)

    def offered(self) -> str | None:
        """Return the connection where a method can be added: the collecting one, else the first that can."""
        return next(iter(self._keepers.all()), None)

    def kit(self, connection: str) -> PageKit:
        """Return what a page with the provider's form needs; raises :class:`NotFound`."""
        return self._keepers.get(connection).page_kit()

    def wallet(self, customer_id: str) -> Wallet:
        """List what the customer keeps everywhere: per connection the default first, then the newest."""
        customer = self._customer(customer_id)
        held: list[Held] = []
        silent: list[str] = []
        for connection in self._keepers.all():
            try:
                held += self._held(customer, connection)
            except (ProviderError, Refused) as exc:
                log.warning("methods.not_listed", connection=connection, error=type(exc).__name__)
                silent.append(connection)
        return Wallet(held=tuple(held), silent=tuple(silent))

    def begin(self, customer_id: str, connection: str, *, form: str, wish: Wish) -> Setup:
        """Begin to add a method. ``form`` names the page it was begun on: its set-up is made once, however often asked.

        ``wish`` is kept before the customer can confirm anything; it counts also when they never come back.

        :raises ProviderError, Refused: the provider does not begin it.
        """
        customer = self._customer(customer_id)
        key = short_key("portal-setup", customer_id, connection, form)
        found = self._begun(customer, connection, key)
        if found.state is PageState.CANCELED or (found.state is PageState.SUCCEEDED and found.method is None):
            found = self._begun(customer, connection, f"{key}-{new_token()}")  # that one is used up
        self._arranging.wish(connection, found.id, wish)
        return found

    def look(self, customer_id: str, connection: str, setup: str) -> Setup:
        """Say how a set-up stands, and note for operators why its last try failed.

        :raises NotFound: this customer began no such set-up.    :raises ProviderError: the provider does not answer.
        """
        customer = self._customer(customer_id)
        found = self._keepers.call(customer, connection, lambda keeper, owner: keeper.setup(owner, setup))
        if found.decline is not None:
            code = found.decline.code
            log.info(
                "payment_method.declined",
                customer=customer_id,
                connection=connection,
                setup=setup,
                code=code,
            )
        return found

    def finish(self, customer_id: str, connection: str, setup: str) -> Added:
        """Say how a set-up ended; if it is found saved for the first time, do what the customer wished with the method.

        :raises NotFound: this customer began no such set-up.    :raises ProviderError: the provider does not answer.
        """
        customer = self._customer(customer_id)
        found = self.look(customer_id, connection, setup)
        with self._db.read() as tx:
            settled = self._arranging.settled(tx, connection, setup)
            wish = self._arranging.wished(tx, connection, setup)
        if settled is None and wish is not None:
            done = self._arranging.fulfil(customer, connection, found, wish)
            if done is not None:
                with self._db.begin() as tx:
                    settled = self._arranging.settle(tx, customer_id, done).settled
        return Added(setup=found, settled=settled)

    def choose(self, customer_id: str, method: str) -> None:
        """Make a method the default of its connection; raises :class:`NotFound` for one that is not theirs."""
        customer = self._customer(customer_id)
        held = self._one(customer, method)
        self._set_default(customer, held.ref)
        with self._db.begin() as tx:
            self._note(tx, customer_id, "payment_method.default", held.ref)
            plan_choice(tx, self._connections, customer_id, held.ref, now=self._clock.now())

    def remove(self, customer_id: str, method: str) -> None:
        """Remove a method for good.

        :raises NotFound: they keep no such method.    :raises Conflict: it has to stay; ``code`` is only or default.
        """
        customer = self._customer(customer_id)
        held = self._one(customer, method)
        if held.only:
            raise Conflict("It is the only payment method and a subscription needs one.", code="only")
        if held.first:
            raise Conflict("It is the default: make another one the default first.", code="default")
        self._forget(customer, held.ref)
        with self._db.begin() as tx:
            self._note(tx, customer_id, "payment_method.remove", held.ref)

    def _customer(self, customer_id: str) -> Customer:
        with self._db.read() as tx:
            row = accounts.get_customer(tx, customer_id)
        if row is None:
            raise NotFound(f"There is no customer {customer_id} here.")
        return row.customer

    def _held(self, customer: Customer, connection: str) -> list[Held]:
        kept = self._kept(customer, connection)
        needed = self._needs_one(customer.id)
        today = self._clock.now().date()
        return [
            Held(
                saved=each,
                ref=each.method.ref,
                expiry=expiry_of(each.method.expires, today=today),
                only=needed and len(kept) == 1,
                first=each.default and len(kept) > 1,
            )
            for each in kept
            if each.method.ref is not None
        ]

    def _one(self, customer: Customer, method: str) -> Held:
        """Return a method of this customer; asks only the connection that its ref names."""
        connection = method.partition(":")[0]
        self._keepers.get(connection)
        return Wallet(held=tuple(self._held(customer, connection))).get(method)

    def _kept(self, customer: Customer, connection: str) -> Sequence[SavedMethod]:
        return self._keepers.call(customer, connection, lambda keeper, owner: keeper.saved_methods(owner))

    def _needs_one(self, customer_id: str) -> bool:
        with self._db.read() as tx:
            return any(
                each.status not in _OVER for each in billing.subscriptions.of_customer(tx, customer_id)
            )

    def _begun(self, customer: Customer, connection: str, key: str) -> Setup:
        """Begin by the key and look again: a repetition is answered with how it stood when it was begun."""

        def begin(keeper: Keeper, owner: str) -> Setup:
            request = SetupRequest(
                key=key,
                provider_customer=owner,
                currency=customer.currency,
                metadata={CUSTOMER_KEY: customer.id},
            )
            return keeper.setup(owner, keeper.begin_setup(request).id)

        return self._keepers.call(customer, connection, begin)

    def _set_default(self, customer: Customer, method: Ref) -> None:
        self._keepers.call(
            customer, method.connection, lambda keeper, owner: keeper.set_default(owner, method)
        )

    def _forget(self, customer: Customer, method: Ref) -> None:
        self._keepers.call(
            customer, method.connection, lambda keeper, owner: keeper.remove_method(owner, method)
        )

    def _note(self, tx: Tx, customer_id: str, action: str, method: Ref) -> None:
        log.info(action, customer=customer_id, method=str(method))
        audit.add(tx, at=self._clock.now(), actor=f"customer:{customer_id}", action=action, subject=method)
