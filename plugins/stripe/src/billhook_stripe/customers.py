"""Our customers at Stripe: one each, never two.

Four guards, each for the case that the one before does not cover: what the host knows (its links, the customer's
mandates), what this connection remembers, Stripe's search by metadata (up to a minute behind), and an idempotency key on
the creation (remembered for 24 hours). A customer that was deleted at Stripe is passed over and made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from billhook.config import prefix_of
from billhook.errors import NotFound, Refused
from billhook.hookspecs import ConnectionState
from billhook.model import Address, Customer, Mandate

from .client import PAGE, StripeApi, keyed, plain, readable
from .payloads import Json, text, words

OWNER: Final = "billhook_customer"
"""The metadata key on a Stripe customer that holds the integrator's own id."""

_FOREIGN_OWNER = "customer_id"  # what billing engines with a Stripe integration of their own call it
_MOST_DELETED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """Finds and makes customers through one connection."""

    api: StripeApi
    state: ConnectionState
    connection: str

    def known(self, customer: Customer | None, mandates: Iterable[Mandate] = ()) -> tuple[str, ...]:
        """Return every Stripe id we know of a customer, the surest first. Calls nobody."""
        ids = [customer.provider_ids.get(self.connection)] if customer else []
        ids += [each.provider_customer for each in mandates if each.ref.connection == self.connection]
        ids += [self.state.get(slot) for slot in _slots(customer.id)] if customer else []
        return tuple(dict.fromkeys(each for each in ids if each))

    def ensure(self, customer: Customer, mandates: Iterable[Mandate] = ()) -> Json:
        """Return the customer as Stripe has it, made now where there is none.

        :raises Refused: it was deleted at Stripe again and again: somebody has to look into that.
        """
        for known in self.known(customer, mandates):
            found = self.find(known)
            if found is not None:
                return found
        return self._searched(customer) or self._created(customer)

    def find(self, ref: str) -> Json | None:
        """Return a customer with its default payment method; None when it is not there or deleted."""
        try:
            with self.api.answers():
                found = plain(self.api.v1.customers.retrieve(ref))
        except NotFound:
            return None
        return None if found.get("deleted") else found

    def _searched(self, customer: Customer) -> Json | None:
        for name in (OWNER, _FOREIGN_OWNER):
            query = f"metadata['{name}']:'{escaped(customer.id)}'"
            with self.api.answers():
                rows = self.api.v1.customers.search({"query": query, "limit": PAGE}).data
            # What Stripe's search takes for equal may differ in the case of letters; for us that is another customer.
            with readable("the list of customers"):
                found = [row for row in map(plain, rows) if words(row, "metadata").get(name) == customer.id]
            if found:
                return found[-1]  # the eldest, should there be two
        return None

    def _created(self, customer: Customer) -> Json:
        """Make the customer; what may change between two tries is left out of the call that carries the key."""
        for number, slot in enumerate(_slots(customer.id), start=1):
            if self.state.get(slot) is not None:
                continue  # deleted at Stripe: its key would answer with the dead one for a day
            key = f"customer-{_short(self.connection, customer.id)}-{number}"
            with self.api.answers():
                made = plain(self.api.v1.customers.create({"metadata": {OWNER: customer.id}}, keyed(key)))
            with readable("the new customer"):
                ref = self.state.put(slot, text(made, "id"))
            return self._described(ref, customer)
        raise Refused(
            f"The customer {customer.id} was deleted at Stripe {_MOST_DELETED} times: set "
            f"{prefix_of(self.connection)} right there, or link another Stripe customer"
        )

    def _described(self, ref: str, customer: Customer) -> Json:
        details: Any = _details(customer)
        with self.api.answers():
            return plain(self.api.v1.customers.update(ref, details))


def _slots(customer_id: str) -> Iterator[str]:
    """Return where this connection remembers a customer's id; the next one after each that was deleted."""
    short = _short("", customer_id)
    yield from (f"customer/{short}/{number}" for number in range(1, _MOST_DELETED + 1))


def _short(connection: str, customer_id: str) -> str:
    return hashlib.sha256(f"{connection}\n{customer_id}".encode()).hexdigest()[:32]


def escaped(value: str) -> str:
    """Return a text as a query of Stripe's search quotes it."""
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _details(customer: Customer) -> dict[str, object]:
    found: dict[str, object] = {
        "name": (customer.name or "")[:256],
        "email": customer.email,
        "description": f"Customer {customer.id}"[:350],
        "preferred_locales": [customer.locale] if customer.locale else None,
        "address": _address(customer.address),
    }
    return {name: value for name, value in found.items() if value}


def _address(address: Address) -> dict[str, str]:
    names = ("line1", "line2", "city", "state", "postal_code", "country")
    parts = {name: getattr(address, name) for name in names}
    return {name: part for name, part in parts.items() if part}
