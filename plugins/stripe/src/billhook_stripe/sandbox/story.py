"""Stripe's part in the story ``billhook demo`` tells (:class:`billhook.testing.story.KeepingStory`).

A checkout of the story is a PaymentIntent that waits for the customer: Stripe's form stands on our own pay page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from billhook.model import DeclineClass
from billhook.money import Money
from billhook.testing.sandbox import Faults, WebhookSender
from billhook.testing.story import Call, StoryCheckout, StoryMeans, StoryPayment

from .cards import FAILING_IBAN, GOOD
from .desk import Desk
from .errors import Json
from .intents import OPEN

_CARDS: Final = {
    DeclineClass.SOFT: "4000000000009995",
    DeclineClass.HARD: "4000000000009979",
}
_MEANS: Final = {StoryMeans.CARD: GOOD, StoryMeans.REFUSED_ACCOUNT: FAILING_IBAN}


class StripeStory:
    """Tells the payment provider's part with one sandbox."""

    title = "Stripe"
    page = "/_sandbox/"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def faults(self) -> Faults:
        """Return the script of faults."""
        return self._desk.faults

    @property
    def webhooks(self) -> WebhookSender:
        """Return the queue to the host; LookupError when the sandbox was started without a webhook URL."""
        if self._desk.sender is None:
            raise LookupError("the sandbox was started without a webhook URL")
        return self._desk.sender

    def calls(self) -> Sequence[Call]:
        """Return every API call that arrived."""
        return [Call(method=each.method, path=each.path, key=each.key) for each in list(self._desk.requests)]

    def checkouts(self) -> Sequence[StoryCheckout]:
        """Return every PaymentIntent that was made for a customer to pay, whatever became of it."""
        return [self._checkout(each) for each in self._desk.intents if _for_the_customer(each)]

    def payments(self) -> Sequence[StoryPayment]:
        """Return every PaymentIntent that was tried."""
        return [
            StoryPayment(id=each["id"], amount=_money(each), succeeded=each["status"] == "succeeded")
            for each in self._desk.intents
            if each["latest_charge"]
        ]

    def pay(self, checkout_id: str) -> str:
        """Pay with the card that always works."""
        return str(self._desk.pay(checkout_id)["id"])

    def decline(self, checkout_id: str, kind: DeclineClass) -> str:
        """Be declined with a card of that kind, or fail the bank's question; the intent stays open, as at Stripe."""
        if kind is DeclineClass.AUTHENTICATION:
            raise NotImplementedError("use the desk: an authentication that fails has two steps")
        return str(self._desk.pay(checkout_id, card=_CARDS[kind])["id"])

    def authorise(self, metadata: Mapping[str, str]) -> None:
        """Save a card for later, which Stripe announces as ``setup_intent.succeeded``."""
        customer = self._desk.add_customer(metadata=metadata)
        self._desk.add_method(customer["id"], default=True, metadata=metadata)

    def refund(self, payment_id: str, amount: Money | None) -> None:
        """Refund from the dashboard."""
        self._desk.refund(payment_id, None if amount is None else amount.minor)

    def dispute(self, payment_id: str) -> str:
        """Open a dispute over the whole payment."""
        return str(self._desk.dispute(payment_id)["id"])

    def lose(self, dispute_id: str) -> None:
        """Decide a dispute for the customer."""
        self._desk.close_dispute(dispute_id, "lost")

    @property
    def debit_takes(self) -> timedelta:
        """Return how long a bank debit stays ``processing``."""
        return self._desk.settings.debit_delay

    def fill_in(self, setup: str, means: StoryMeans) -> None:
        """Complete a SetupIntent as the customer does in their browser."""
        self._desk.save(setup, card=_MEANS[means])

    def _checkout(self, intent: Json) -> StoryCheckout:
        return StoryCheckout(
            id=intent["id"],
            url=f"{self._desk.world.public_url}/_sandbox/",
            amount=_money(intent),
            metadata=intent["metadata"],
            usable=intent["status"] in OPEN,
        )


def _for_the_customer(intent: Json) -> bool:
    """An intent that was to be confirmed at once has no redirects allowed; the page's form allows them."""
    automatic = intent["automatic_payment_methods"] or {}
    return automatic.get("allow_redirects") != "never"


def _money(intent: Json) -> Money:
    return Money(intent["amount"], intent["currency"].upper())
