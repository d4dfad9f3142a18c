"""The payment providers that keep payment methods for customers, and how a customer is called there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, runtime_checkable

from billhook.errors import NotFound
from billhook.methods import SupportsMethodManagement, SupportsPageKit
from billhook.model import Customer
from billhook_web.db import Database
from billhook_web.services.connections import Connections
from billhook_web.services.gates import Ask
from billhook_web.stores import accounts

T = TypeVar("T")


@runtime_checkable
class Keeper(SupportsMethodManagement, SupportsPageKit, Protocol):
    """A payment provider with everything a customer needs to keep methods there."""


class Keepers:
    """Calls them, through the gates and always about one customer."""

    def __init__(self, *, db: Database, connections: Connections, ask: Ask) -> None:
        self._db = db
        self._connections = connections
        self._ask = ask

    def all(self) -> Mapping[str, Keeper]:
        """Return them by connection, in the order they were configured."""
        found: dict[str, Keeper] = {}
        for connection in self._connections.all():
            provider: object = connection.provider
            if isinstance(provider, Keeper):
                found[connection.name] = provider
        return found

    def get(self, connection: str) -> Keeper:
        """Return one; raises :class:`NotFound`."""
        keeper = self.all().get(connection)
        if keeper is None:
            raise NotFound("No payment method can be kept there.")
        return keeper

    def call(self, customer: Customer, connection: str, about: Callable[[Keeper, str], T]) -> T:
        """Call one with the id the customer has there; an id that is not known there any more is asked for anew.

        :raises NotFound: nothing of this customer's has that name.    :raises ProviderError: no answer just now.
        """
        keeper = self.get(connection)
        known = customer.provider_ids.get(connection)
        if known is None:
            return self._first(customer, connection, keeper, about)
        try:
            return self._ask(connection, lambda: about(keeper, known))
        except NotFound:
            if self._ask(connection, lambda: keeper.provider_customer(customer)) == known:
                raise
            return self._first(customer, connection, keeper, about)

    def _first(
        self, customer: Customer, connection: str, keeper: Keeper, about: Callable[[Keeper, str], T]
    ) -> T:
        """Call with the id the provider gives, and remember that id."""
        owner = self._ask(connection, lambda: keeper.provider_customer(customer))
        with self._db.begin() as tx:
            accounts.link(tx, customer.id, connection, owner)
        return self._ask(connection, lambda: about(keeper, owner))


def at_once(_connection: str, call: Callable[[], T], /) -> T:
    """Call without a gate: for work in the background, which has its place at the gate already."""
    return call()
