"""The sandbox's world: every object as the API shows it, by kind and id, oldest first.

Objects are kept in Stripe's own shape, so what is listed, told by webhook and answered is one and the same thing; what
Stripe does not show (which test card is behind a payment method, when the bank will answer) is kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from billhook.clock import Clock, new_token

from .cards import Card
from .errors import Json, missing

API_VERSION: Final = "2026-10-28.endive"
ACCOUNT: Final = "acct_sandbox"

Emit = Callable[[str, Json, Json | None], None]
"""Announces an event: its type, the object as it is now, and the earlier values of what an ``.updated`` changed."""


@dataclass(slots=True)
class Settings:
    """Knobs of the account behind the sandbox; change them at any time.

    :ivar debit_delay: how long a bank debit stays ``processing``.
    :ivar refund_delay: how long a refund stays ``pending``.
    :ivar search_delay: how young a thing may be before Stripe's search finds it.
    :ivar event_version: the API version webhook endpoints are fixed to.
    """

    debit_delay: timedelta = timedelta(days=3)
    refund_delay: timedelta = timedelta(0)
    search_delay: timedelta = timedelta(minutes=1)
    event_version: str = API_VERSION


@dataclass(slots=True)
class World:
    """Everything the sandbox knows. Callers hold the sandbox's lock."""

    clock: Clock
    settings: Settings
    public_url: str
    emit: Emit
    customers: dict[str, Json] = field(default_factory=dict)
    methods: dict[str, Json] = field(default_factory=dict)
    intents: dict[str, Json] = field(default_factory=dict)
    setups: dict[str, Json] = field(default_factory=dict)
    charges: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    disputes: dict[str, Json] = field(default_factory=dict)
    mandates: dict[str, Json] = field(default_factory=dict)
    clocks: dict[str, Json] = field(default_factory=dict)
    events: dict[str, Json] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    set_up: set[str] = field(default_factory=set)  # methods whose bank agreed to later charges
    detached: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)  # methods that may be used no more without a customer

    def now(self, customer: str | None = None) -> datetime:
        """Return the present instant, UTC; for a customer on a test clock, where that stands."""
        clock = self.clock_of(customer)
        if clock is not None:
            return datetime.fromtimestamp(clock["frozen_time"], UTC)
        return self.clock.now().astimezone(UTC)

    def stamp(self, customer: str | None = None) -> int:
        """Return the present instant as Stripe writes it: whole seconds."""
        return int(self.now(customer).timestamp())

    def clock_of(self, customer: str | None) -> Json | None:
        """Return the test clock a customer is on; None for everybody else."""
        owner = self.customers.get(customer or "") or {}
        return self.clocks.get(owner.get("test_clock") or "")

    def test_clock(self, ref: str, *, param: str = "id") -> Json:
        """Return the test clock or answer that there is none."""
        return _find(self.clocks, ref, "test_clock", param)

    def customer(self, ref: str, *, param: str = "id") -> Json:
        """Return the customer or answer that there is none; a deleted one is none."""
        found = self.customers.get(ref)
        if found is None or found.get("deleted"):
            raise missing("customer", ref, param=param, status=404 if param == "id" else 400)
        return found

    def method(self, ref: str, *, param: str = "id") -> Json:
        """Return the payment method or answer that there is none."""
        return _find(self.methods, ref, "PaymentMethod", param)

    def intent(self, ref: str, *, param: str = "id") -> Json:
        """Return the PaymentIntent or answer that there is none."""
        return _find(self.intents, ref, "payment_intent", param)

    def setup(self, ref: str) -> Json:
        """Return the SetupIntent or answer that there is none."""
        return _find(self.setups, ref, "setupintent", "intent")

    def charge(self, ref: str, *, param: str = "id") -> Json:
        """Return the charge or answer that there is none."""
        return _find(self.charges, ref, "charge", param)

    def refund(self, ref: str) -> Json:
        """Return the refund or answer that there is none."""
        return _find(self.refunds, ref, "refund", "id")

    def dispute(self, ref: str) -> Json:
        """Return the dispute or answer that there is none."""
        return _find(self.disputes, ref, "dispute", "id")

    def attached(self, customer: str) -> list[Json]:
        """Return the customer's payment methods, newest first."""
        return [each for each in reversed(self.methods.values()) if each["customer"] == customer]

    def charges_of(self, intent: str) -> list[Json]:
        """Return the charges of a PaymentIntent, oldest first."""
        return [each for each in self.charges.values() if each["payment_intent"] == intent]


def new_id(prefix: str) -> str:
    """Return a fresh id such as ``pi_…``, of letters and digits only, as Stripe's."""
    return f"{prefix}_{new_token(size=18).replace('-', '0').replace('_', '1')}"


def changed(world: World, event: str, thing: Json, **values: object) -> None:
    """Set values and announce what they were before; setting what is there already is no change."""
    before = {name: thing.get(name) for name, value in values.items() if thing.get(name) != value}
    thing.update(values)
    if before:
        world.emit(event, thing, before)


def newest_first(things: Iterable[Json]) -> list[Json]:
    """Return things in the order of every list of Stripe's."""
    return list(things)[::-1]


def _find(table: dict[str, Json], ref: str, thing: str, param: str) -> Json:
    found = table.get(ref)
    if found is None:
        raise missing(thing, ref, param=param, status=404 if param in ("id", "intent") else 400)
    return found
