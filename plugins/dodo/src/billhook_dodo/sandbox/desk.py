"""What people do with the sandbox: customers pay, banks refuse and dispute, a test or an operator looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from billhook.clock import Clock
from billhook.testing.sandbox import Faults, Post, WebhookSender

from . import cards, catalog, checkout, disputes, payments, refunds, serializers, subscriptions
from .catalog_json import instant
from .money import MINIMUMS
from .records import Json, Product
from .routing import RecordedRequest
from .shapes import CHECKOUT
from .state import Settings, World
from .webhooks import Webhooks

PAYER = {"email": "payer@example.com", "name": "Sandbox Payer"}


class Desk:
    """The Python side of the sandbox: its state, its controls and its views. Safe to share between threads."""

    def __init__(
        self,
        *,
        clock: Clock,
        webhook_secret: str,
        webhook_url: str,
        public_url: str,
        post: Post | None,
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.faults = Faults()
        self.requests: list[RecordedRequest] = []
        self.lock = threading.RLock()
        self.hooks = Webhooks(clock)
        self.sender: WebhookSender | None = None
        if post is not None:
            self.sender = self.hooks.add_endpoint(url=webhook_url, secret=webhook_secret, post=post).sender
        self.world = World(clock=clock, settings=settings, public_url=public_url.rstrip("/"), emit=self._emit)

    def deliver_webhooks(self) -> int:
        """Attempt every due webhook once; return how many attempts were made. Call it outside the lock."""
        return self.hooks.deliver()

    def tick(self) -> None:
        """Let the banks answer what has become due: delayed charges and refunds."""
        with self.lock:
            now = self.world.now()
            for payment in list(self.world.payments.values()):
                if payment.settles_at is not None and payment.settles_at <= now:
                    subscriptions.settle(self.world, payment)
            for refund in list(self.world.refunds.values()):
                if refund.settles_at is not None and refund.settles_at <= now:
                    refunds.settle(self.world, refund)

    # What the customer, their bank and the merchant's dashboard do.

    def pay(
        self, session_id: str, *, card: str = cards.GOOD, amount: int | None = None, save: bool = False
    ) -> Json:
        """Pay a hosted page with a test card; return the payment, or the subscription of a mandate alone.

        ``amount`` (minor units) is what the customer types where the session left it open; ``save`` keeps the
        card. Raises ApiError 409 on a used session, 410 on an expired one.
        """
        return self._finish(session_id, cards.find_card(card), amount=amount, save=save)

    def decline(self, session_id: str, *, code: str = "INSUFFICIENT_FUNDS") -> Json:
        """Try to pay a hosted page and be declined with ``code``; the session is used up all the same."""
        return self._finish(session_id, cards.declining_card(code), amount=None, save=False)

    def authorise_mandate(
        self,
        *,
        customer_id: str | None = None,
        email: str | None = None,
        metadata: Mapping[str, str] | None = None,
        currency: str = "EUR",
        card: str = cards.GOOD,
    ) -> Json:
        """Let a customer agree to off-session charges; return the on-demand subscription, announced as active."""
        with self.lock:
            customer = {"customer_id": customer_id} if customer_id else {"email": email or PAYER["email"]}
            body: Json = {
                "product_cart": [{"product_id": self._mandate_product(currency).product_id, "quantity": 1}],
                "customer": customer,
                "metadata": dict(metadata or {}),
                "subscription_data": {"on_demand": {"mandate_only": True}},
            }
            CHECKOUT(body, "")
            return self.pay(checkout.create(self.world, body)["session_id"], card=card)

    def set_card(self, subscription_id: str, card: str) -> None:
        """Exchange the card behind a mandate, for one that will be declined at the next charge, say."""
        with self.lock:
            subscriptions.set_card(
                self.world, self.world.subscription(subscription_id), cards.find_card(card)
            )

    def refund(self, payment_id: str, amount: int | None = None) -> Json:
        """Refund from the dashboard: no metadata; ``amount`` in minor units of the payment, None for the rest."""
        with self.lock:
            payment = self.world.payment(payment_id)
            body: Json = {"payment_id": payment_id, "currency": payment.quote.currency}
            if amount is not None:
                body["items"] = [{"item_id": payment.quote.items[0].item_id, "amount": amount}]
            return serializers.refund(self.world, refunds.create(self.world, body))

    def dispute(self, payment_id: str, amount: int | None = None) -> Json:
        """Open a dispute over ``amount`` minor units, None for the whole payment."""
        with self.lock:
            opened = disputes.open_dispute(self.world, self.world.payment(payment_id), amount=amount)
            return serializers.dispute(self.world, opened)

    def dispute_event(self, dispute_id: str, outcome: str, *, rdr: bool = False) -> Json:
        """Move a dispute on: expired, accepted, cancelled, challenged, won or lost."""
        with self.lock:
            dispute = self.world.dispute(dispute_id)
            disputes.decide(self.world, dispute, outcome, rdr=rdr)
            return serializers.dispute(self.world, dispute)

    def flip(self, payment_id: str, *, code: str = "PROCESSING_ERROR") -> Json:
        """Let a payment that had succeeded fail after all."""
        with self.lock:
            payment = self.world.payment(payment_id)
            payments.flip(self.world, payment, code)
            return serializers.payment(self.world, payment)

    # What is there to see.

    @property
    def payments(self) -> list[Json]:
        """Every payment, oldest first, as the API shows it."""
        return self._view(
            lambda world: [serializers.payment(world, entry) for entry in world.payments.values()]
        )

    @property
    def refunds(self) -> list[Json]:
        """Every refund, oldest first."""
        return self._view(
            lambda world: [serializers.refund(world, entry) for entry in world.refunds.values()]
        )

    @property
    def disputes(self) -> list[Json]:
        """Every dispute, oldest first."""
        return self._view(
            lambda world: [serializers.dispute(world, entry) for entry in world.disputes.values()]
        )

    @property
    def subscriptions(self) -> list[Json]:
        """Every subscription, oldest first."""
        return self._view(
            lambda world: [serializers.subscription(world, entry) for entry in world.subscriptions.values()]
        )

    @property
    def checkouts(self) -> list[Json]:
        """Every checkout session, oldest first: cart, metadata, link and what became of it."""
        return self._view(
            lambda world: [serializers.session_overview(world, entry) for entry in world.sessions.values()]
        )

    @property
    def webhooks(self) -> list[Json]:
        """Every webhook ever announced, oldest first, with the HTTP statuses of its attempts."""
        with self.lock:
            return [
                {
                    "webhook_id": message.webhook_id,
                    "endpoint_id": message.endpoint_id,
                    "type": message.outgoing.type,
                    "attempts": message.outgoing.attempts,
                    "statuses": list(message.outgoing.statuses),
                    "due_at": instant(message.outgoing.due_at),
                }
                for message in self.hooks.messages
            ]

    def _view(self, show: Callable[[World], list[Json]]) -> list[Json]:
        with self.lock:
            return show(self.world)

    def _finish(self, session_id: str, card: cards.Card, *, amount: int | None, save: bool) -> Json:
        with self.lock:
            session = self.world.session(session_id)
            done = checkout.finish(self.world, session, card, payer=PAYER, amount=amount, save=save)
            if done.payment is not None:
                return serializers.payment(self.world, done.payment)
            return serializers.subscription(
                self.world, self.world.subscription(session.subscription_id or "")
            )

    def _mandate_product(self, currency: str) -> Product:
        for product in self.world.products.values():
            if product.is_recurring and product.currency == currency:
                return product
        price = {
            "type": "recurring_price",
            "currency": currency,
            "price": MINIMUMS.get(currency, 1),
            "tax_inclusive": True,
            "payment_frequency_count": 1,
            "payment_frequency_interval": "Month",
            "subscription_period_count": 20,
            "subscription_period_interval": "Year",
        }
        body = {"name": f"Mandate {currency}", "tax_category": "saas", "price": price}
        return catalog.add_product(self.world, body)

    def _emit(self, event_type: str, payload_type: str, render: Callable[[], Json]) -> None:
        def locked() -> Json:
            with self.lock:
                return render()

        self.hooks.emit(event_type, payload_type, locked)
