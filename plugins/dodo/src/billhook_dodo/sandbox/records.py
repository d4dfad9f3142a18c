"""What the sandbox remembers. Amounts are minor units of the currency beside them, times are UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .cards import Card

Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Customer:
    """Who pays."""

    customer_id: str
    email: str
    name: str
    created_at: datetime
    phone_number: str | None = None
    preferred_locale: str | None = None
    metadata: Json = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class SavedMethod:
    """A card a customer left behind; only with ``recurring_enabled`` may it be charged without them."""

    payment_method_id: str
    customer_id: str
    card: Card
    recurring_enabled: bool
    last_used_at: datetime


@dataclass(slots=True, kw_only=True)
class Product:
    """A thing with a price. ``price`` is Dodo's price object as it was posted."""

    product_id: str
    name: str
    description: str | None
    price: Json
    tax_category: str
    metadata: Json
    created_at: datetime
    updated_at: datetime

    @property
    def currency(self) -> str:
        """The currency the price is in."""
        return str(self.price["currency"])

    @property
    def is_recurring(self) -> bool:
        """Whether buying it starts a subscription."""
        return bool(self.price["type"] == "recurring_price")

    @property
    def pay_what_you_want(self) -> bool:
        """Whether the caller or the customer sets the amount; ``price`` is then the least."""
        return bool(self.price.get("pay_what_you_want"))

    @property
    def tax_inclusive(self) -> bool:
        """Whether tax is part of the price; absent means it is added on top."""
        return bool(self.price.get("tax_inclusive"))


@dataclass(slots=True, kw_only=True)
class Line:
    """One entry of a cart. ``amount`` is None while the customer has yet to type it."""

    product_id: str
    quantity: int
    amount: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One priced line of a payment; ``total`` includes ``tax``."""

    item_id: str
    name: str
    total: int
    tax: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What will be charged: the customer's side and what Dodo settles with the merchant."""

    currency: str
    items: tuple[Item, ...]
    total: int
    tax: int
    settlement_currency: str
    settlement_total: int
    settlement_tax: int


@dataclass(slots=True, kw_only=True)
class Session:
    """A hosted page. ``updates_subscription`` marks the page that replaces a mandate's payment method."""

    session_id: str
    lines: list[Line]
    customer_id: str | None
    billing: Json
    currency: str
    metadata: Json
    return_url: str | None
    cancel_url: str | None
    created_at: datetime
    expires_at: datetime
    on_demand: Json | None = None
    payment_id: str | None = None
    subscription_id: str | None = None
    updates_subscription: str | None = None
    consumed: bool = False


@dataclass(slots=True, kw_only=True)
class Payment:
    """One attempt to move money. ``settles_at`` is set while the bank has not answered."""

    payment_id: str
    status: str
    quote: Quote
    customer_id: str
    billing: Json
    metadata: Json
    created_at: datetime
    updated_at: datetime
    cart: list[Json] | None = None
    session_id: str | None = None
    subscription_id: str | None = None
    charge_type: str | None = None
    is_update_payment_method: bool = False
    card: Card | None = None
    payment_method_id: str | None = None
    error_code: str | None = None
    settles_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Subscription:
    """An agreement, here nearly always an on-demand one: a mandate.

    ``unpaid_payment_id`` is the failed charge that put it on hold: the dues.
    """

    subscription_id: str
    status: str
    on_demand: bool
    product_id: str
    currency: str
    customer_id: str
    billing: Json
    metadata: Json
    payment_method_id: str | None
    created_at: datetime
    cancel_at_next_billing_date: bool = False
    unpaid_payment_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Refund:
    """Money on its way back. ``paid_amount`` is the same in the currency the customer paid in."""

    refund_id: str
    payment_id: str
    status: str
    amount: int
    currency: str
    paid_amount: int
    per_item: dict[str, int]
    is_partial: bool
    reason: str | None
    metadata: Json
    created_at: datetime
    settles_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Dispute:
    """A bank asking for the money back; ``status`` without Dodo's ``dispute_`` prefix."""

    dispute_id: str
    payment_id: str
    amount: int
    currency: str
    stage: str
    status: str
    reason: str | None
    created_at: datetime
    is_resolved_by_rdr: bool | None = None
