"""What a sandbox offers so that ``billhook demo`` can tell its story with it, whoever the provider is.

A sandbox object with an attribute ``story`` takes part: an :class:`EngineStory` plays the billing engine, a
:class:`PaymentStory` the payment provider. Everything here is what happens *at* the provider, done by its customers,
its bank or its own staff; the host hears of it by webhook only. Amounts are in minor units of their currency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from billhook.model import DeclineClass, PaymentStatus, RefundStatus
from billhook.money import Money
from billhook.testing.sandbox import Faults, WebhookSender


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the provider's API. ``path`` is below the API's root; ``key`` the idempotency key, when it had one."""

    method: str
    path: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryCustomer:
    """A customer as the billing engine has them. ``id`` is the integrator's own."""

    id: str
    name: str | None
    email: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryCreditNote:
    """A credit note of an invoice: its total, and how its refund ended (None: it refunds nothing)."""

    amount: Money
    refund_status: RefundStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryInvoice:
    """An invoice as the billing engine has it. ``paid`` is what the engine knows to have been paid."""

    id: str
    total: Money
    paid: Money
    payment_status: PaymentStatus
    credit_notes: tuple[StoryCreditNote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryCheckout:
    """A hosted page at the payment provider. ``usable``: it can still be paid."""

    id: str
    url: str
    amount: Money
    metadata: Mapping[str, str]
    usable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryPayment:
    """A payment as the provider has it. ``succeeded``: the money has moved."""

    id: str
    amount: Money
    succeeded: bool


class StoryMeans(StrEnum):
    """What a customer fills into the provider's own form."""

    CARD = "card"  # it always works
    REFUSED_ACCOUNT = "refused_account"  # a bank account: it can be debited, and days later the bank refuses


class Story(Protocol):
    """What every sandbox that takes part has."""

    @property
    def title(self) -> str:
        """Return the provider's name, for people."""
        ...

    @property
    def page(self) -> str:
        """Return the path, below where the sandbox is served, of a page that shows what is in it."""
        ...

    @property
    def faults(self) -> Faults:
        """Return what goes wrong with calls of its API."""
        ...

    @property
    def webhooks(self) -> WebhookSender:
        """Return the queue of webhooks to the host."""
        ...

    def calls(self) -> Sequence[Call]:
        """Return every API call that arrived, whatever was answered, oldest first."""
        ...


@runtime_checkable
class EngineStory(Story, Protocol):
    """A billing engine's sandbox in the story."""

    def subscribe(self, customer_id: str) -> None:
        """Start a subscription of a known customer, paid in advance: it bills at once."""
        ...

    def invoice(self, customer_id: str, amount: Money) -> str:
        """Issue a finalised invoice to a known customer; return its id."""
        ...

    def customers(self) -> Sequence[StoryCustomer]:
        """Return every customer."""
        ...

    def invoices(self) -> Sequence[StoryInvoice]:
        """Return every finalised invoice, oldest first."""
        ...


@runtime_checkable
class PaymentStory(Story, Protocol):
    """A payment provider's sandbox in the story."""

    def checkouts(self) -> Sequence[StoryCheckout]:
        """Return every hosted page that was opened, oldest first."""
        ...

    def payments(self) -> Sequence[StoryPayment]:
        """Return every payment that was tried, oldest first."""
        ...

    def pay(self, checkout_id: str) -> str:
        """Let the customer pay at a hosted page; return the payment's id."""
        ...

    def decline(self, checkout_id: str, kind: DeclineClass) -> str:
        """Let the customer try to pay at a hosted page and be declined; return the failed payment's id."""
        ...

    def authorise(self, metadata: Mapping[str, str]) -> None:
        """Let a customer agree to be charged later without being there; ``metadata`` goes onto the agreement."""
        ...

    def refund(self, payment_id: str, amount: Money | None) -> None:
        """Give money back from the provider's own dashboard; None: all that is left."""
        ...

    def dispute(self, payment_id: str) -> str:
        """Let the customer's bank dispute the whole payment; return the dispute's id."""
        ...

    def lose(self, dispute_id: str) -> None:
        """Let the bank decide a dispute for the customer."""
        ...


@runtime_checkable
class KeepingStory(PaymentStory, Protocol):
    """A payment provider's sandbox whose form stands in our own pages: customers keep cards and bank accounts there."""

    @property
    def debit_takes(self) -> timedelta:
        """Return how long a bank debit is on its way before the bank answers."""
        ...

    def fill_in(self, setup: str, means: StoryMeans) -> None:
        """Let the customer fill in the form that was begun as ``setup``, and agree with their bank."""
        ...
