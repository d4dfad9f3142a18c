"""The sandbox's world: what exists, how it is set up, and how the rest finds things in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from billhook.clock import Clock, new_token

from .errors import not_found
from .records import Customer, Dispute, Json, Payment, Product, Refund, SavedMethod, Session, Subscription

BUSINESS_ID = "bus_sandbox"
T = TypeVar("T")

Emit = Callable[[str, str, Callable[[], Json]], None]
"""Announces an event: its type, the payload type, and how to render the object when the webhook leaves."""


@dataclass(slots=True)
class Settings:
    """Knobs of the business behind the sandbox; change them at any time.

    :ivar tax_rate_percent: the one tax rate of this world.
    :ivar adaptive_currency: bill in ``billing_currency``; off, Dodo discards that property.
    :ivar adaptive_fee_percent: what the customer pays on top for another currency (Dodo: 2 to 4 percent).
    :ivar settlement_currency: the merchant's balance; None settles in the product's own currency.
    :ivar charge_delay: how long an off-session charge stays ``processing``.
    :ivar refund_delay: how long a refund stays ``pending``.
    :ivar refund_outcome: ``succeeded``, ``failed`` or ``review``.
    """

    tax_rate_percent: int = 0
    adaptive_currency: bool = False
    adaptive_fee_percent: int = 3
    settlement_currency: str | None = None
    charge_delay: timedelta = timedelta(0)
    refund_delay: timedelta = timedelta(0)
    refund_outcome: str = "succeeded"


@dataclass(slots=True)
class World:
    """Everything the sandbox knows, by id, oldest first. Callers hold the sandbox's lock."""

    clock: Clock
    settings: Settings
    public_url: str
    emit: Emit
    customers: dict[str, Customer] = field(default_factory=dict)
    methods: dict[str, SavedMethod] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    disputes: dict[str, Dispute] = field(default_factory=dict)

    def now(self) -> datetime:
        """Return the present instant, UTC."""
        return self.clock.now().astimezone(UTC)

    def customer(self, ref: str) -> Customer:
        """Return the customer or answer 404."""
        return _find(self.customers, ref, "customer")

    def product(self, ref: str) -> Product:
        """Return the product or answer 404."""
        return _find(self.products, ref, "product")

    def session(self, ref: str) -> Session:
        """Return the checkout session or answer 404."""
        return _find(self.sessions, ref, "checkout_session")

    def payment(self, ref: str) -> Payment:
        """Return the payment or answer 404."""
        return _find(self.payments, ref, "payment")

    def subscription(self, ref: str) -> Subscription:
        """Return the subscription or answer 404."""
        return _find(self.subscriptions, ref, "subscription")

    def refund(self, ref: str) -> Refund:
        """Return the refund or answer 404."""
        return _find(self.refunds, ref, "refund")

    def dispute(self, ref: str) -> Dispute:
        """Return the dispute or answer 404."""
        return _find(self.disputes, ref, "dispute")

    def method_of(self, customer_id: str, ref: str) -> SavedMethod:
        """Return the customer's saved method or answer 404, also when it is somebody else's."""
        method = self.methods.get(ref)
        if method is None or method.customer_id != customer_id:
            raise not_found("payment_method", ref)
        return method

    def session_url(self, session_id: str) -> str:
        """Return where the customer pays."""
        return f"{self.public_url}/session/{session_id}"


def new_id(prefix: str) -> str:
    """Return a fresh id such as ``pay_…``; unlike every id of an earlier run, whose books may still exist."""
    return new_token(f"{prefix}_", size=12)


def _find(table: dict[str, T], ref: str, thing: str) -> T:
    found = table.get(ref)
    if found is None:
        raise not_found(thing, ref)
    return found
