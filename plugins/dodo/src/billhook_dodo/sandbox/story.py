"""Dodo's part in the story ``billhook demo`` tells (:class:`billhook.testing.story.PaymentStory`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from billhook.model import DeclineClass
from billhook.money import Money
from billhook.testing.sandbox import Faults, WebhookSender
from billhook.testing.story import Call, StoryCheckout, StoryPayment

from .desk import Desk
from .records import Json, Session

_CODES: Final = {
    DeclineClass.SOFT: "INSUFFICIENT_FUNDS",
    DeclineClass.HARD: "STOLEN_CARD",
    DeclineClass.AUTHENTICATION: "AUTHENTICATION_FAILURE",
}


class DodoStory:
    """Tells the payment provider's part with one sandbox."""

    title = "Dodo Payments"
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
        return [
            Call(method=each.method, path=each.path, key=each.headers.get("Idempotency-Key"))
            for each in list(self._desk.requests)
        ]

    def checkouts(self) -> Sequence[StoryCheckout]:
        """Return every checkout session."""
        with self._desk.lock:
            return [self._checkout(session) for session in self._desk.world.sessions.values()]

    def payments(self) -> Sequence[StoryPayment]:
        """Return every payment of money; agreeing to a mandate moves none."""
        return [_payment(each) for each in self._desk.payments if each["total_amount"]]

    def pay(self, checkout_id: str) -> str:
        """Pay with the card that always works."""
        return str(self._desk.pay(checkout_id)["payment_id"])

    def decline(self, checkout_id: str, kind: DeclineClass) -> str:
        """Be declined with a code of that kind; Dodo's session is used up by it."""
        return str(self._desk.decline(checkout_id, code=_CODES[kind])["payment_id"])

    def authorise(self, metadata: Mapping[str, str]) -> None:
        """Agree to an on-demand subscription, which Dodo announces as ``subscription.active``."""
        self._desk.authorise_mandate(metadata=metadata)

    def refund(self, payment_id: str, amount: Money | None) -> None:
        """Refund from the dashboard."""
        self._desk.refund(payment_id, None if amount is None else amount.minor)

    def dispute(self, payment_id: str) -> str:
        """Open a dispute over the whole payment."""
        return str(self._desk.dispute(payment_id)["dispute_id"])

    def lose(self, dispute_id: str) -> None:
        """Decide a dispute for the customer."""
        self._desk.dispute_event(dispute_id, "lost")

    def _checkout(self, session: Session) -> StoryCheckout:
        world = self._desk.world
        amount = sum(line.amount or 0 for line in session.lines)
        return StoryCheckout(
            id=session.session_id,
            url=world.session_url(session.session_id),
            amount=Money(amount, session.currency),
            metadata=dict(session.metadata),
            usable=not session.consumed and world.now() < session.expires_at,
        )


def _payment(payment: Json) -> StoryPayment:
    return StoryPayment(
        id=payment["payment_id"],
        amount=Money(payment["total_amount"], payment["currency"]),
        succeeded=payment["status"] == "succeeded",
    )
