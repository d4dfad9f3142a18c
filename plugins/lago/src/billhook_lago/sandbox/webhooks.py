"""Lago's webhooks: which includes each type carries, to whom it goes, and how often it is tried.

Lago renders a webhook when its job runs, not when the thing happened, and keeps that body for the retries; so the
body here is rendered at the first attempt and frozen. It tries three times, 3 and then 18 seconds apart, and gives up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from billhook.clock import Clock
from billhook.testing.sandbox import Headers, Outgoing, Post, WebhookSender
from billhook_lago.sandbox.documents import CREDIT_NOTE_FULL, INVOICE_FULL, credit_note_json, invoice_json
from billhook_lago.sandbox.ledger import Ledger
from billhook_lago.sandbox.serializers import customer_json, plan_json, subscription_json
from billhook_lago.sandbox.state import (
    Account,
    CreditNote,
    Customer,
    Invoice,
    Json,
    Plan,
    Subscription,
)
from billhook_lago.sandbox.wire import Signer, rails_json

PAUSES = (timedelta(seconds=3), timedelta(seconds=18))
"""Waits after the first and second failed try; Lago adds a little jitter, which only makes them longer."""

_INVOICE_INCLUDES = {
    "invoice.created": INVOICE_FULL,
    "invoice.drafted": (*INVOICE_FULL, "error_details"),
    "invoice.one_off_created": ("customer", "fees", "applied_taxes", "applied_invoice_custom_sections"),
    "invoice.generated": ("customer",),
    "invoice.payment_status_updated": ("customer", "fees"),
    "invoice.payment_overdue": ("customer", "fees", "applied_taxes"),
    "invoice.voided": ("customer", "billing_periods", "subscriptions", "fees", "credits", "applied_taxes"),
}
_WITH_ENTITLEMENTS = ("subscription.started", "subscription.updated")


@dataclass(slots=True, kw_only=True, eq=False)
class Endpoint:
    """Where webhooks go. ``event_types`` None or ``["*"]`` means all of them, an empty list none."""

    id: str
    url: str
    signature_algo: str
    name: str | None
    event_types: list[str] | None
    created_at: datetime
    sender: WebhookSender

    def wants(self, webhook_type: str) -> bool:
        """Say whether this endpoint listens to ``webhook_type``."""
        return self.event_types is None or "*" in self.event_types or webhook_type in self.event_types


class Announcer:
    """Queues one webhook per endpoint for everything that happens.

    ``lock`` is the sandbox's own: rendering waits until the request that changed the state is over.
    """

    def __init__(
        self, *, clock: Clock, account: Account, ledger: Ledger, signer: Signer, lock: threading.RLock
    ) -> None:
        self._clock = clock
        self._account = account
        self._ledger = ledger
        self._signer = signer
        self._lock = lock
        self.endpoints: list[Endpoint] = []

    def add_endpoint(
        self, url: str, post: Post, *, algorithm: str, name: str | None, event_types: Iterable[str] | None
    ) -> Endpoint:
        """Register a receiver with its own queue."""
        endpoint = Endpoint(
            id=self._ledger.new_id(),
            url=url,
            signature_algo=algorithm,
            name=name,
            event_types=None if event_types is None else list(event_types),
            created_at=self._clock.now(),
            sender=self.new_sender(post),
        )
        self.endpoints.append(endpoint)
        return endpoint

    def new_sender(self, post: Post) -> WebhookSender:
        """Return an empty queue with Lago's retry pauses."""
        return WebhookSender(clock=self._clock, post=post, pauses=PAUSES)

    def deliver(self) -> int:
        """Attempt every webhook that is due, outside the lock; return the number of attempts."""
        with self._lock:
            senders = [endpoint.sender for endpoint in self.endpoints]
        return sum(sender.deliver_due() for sender in senders)

    def announce(self, webhook_type: str, object_type: str, render: Callable[[], Json]) -> None:
        """Queue a webhook of ``webhook_type`` whose object ``render`` makes when the delivery runs."""
        for endpoint in self.endpoints:
            if endpoint.wants(webhook_type):
                endpoint.sender.add(self._outgoing(endpoint, webhook_type, object_type, render))

    def customer(self, webhook_type: str, customer: Customer) -> None:
        """Announce a customer."""
        self.announce(
            webhook_type, "customer", lambda: customer_json(self._account, customer, "integration_customers")
        )

    def plan(self, webhook_type: str, plan: Plan) -> None:
        """Announce a plan."""
        self.announce(webhook_type, "plan", lambda: plan_json(self._account, plan, "entitlements"))

    def subscription(self, webhook_type: str, subscription: Subscription) -> None:
        """Announce a subscription; only started and updated carry entitlements."""
        includes = ("plan", "customer", *(("entitlements",) if webhook_type in _WITH_ENTITLEMENTS else ()))
        self.announce(
            webhook_type,
            "subscription",
            lambda: subscription_json(self._account, subscription, *includes, now=self._clock.now()),
        )

    def invoice(self, webhook_type: str, invoice: Invoice) -> None:
        """Announce an invoice with the includes of that type; never with its metadata."""
        includes = _INVOICE_INCLUDES[webhook_type]
        self.announce(
            webhook_type,
            "invoice",
            lambda: invoice_json(self._account, invoice, *includes, now=self._clock.now()),
        )

    def credit_note(self, webhook_type: str, note: CreditNote) -> None:
        """Announce a credit note."""
        self.announce(
            webhook_type, "credit_note", lambda: credit_note_json(self._account, note, *CREDIT_NOTE_FULL)
        )

    def dispute_lost(self, invoice: Invoice) -> None:
        """Announce a lost dispute: the invoice sits inside the object, with its customer."""
        self.announce(
            "invoice.payment_dispute_lost",
            "payment_dispute_lost",
            lambda: {"invoice": invoice_json(self._account, invoice, "customer", now=self._clock.now())},
        )

    def no_provider(self, invoice: Invoice) -> None:
        """Announce that a retry was asked for a customer whom no native provider collects from."""
        nothing = ("provider_customer_id", "payment_provider", "payment_provider_code", "provider_error")
        body: Json = {
            "lago_invoice_id": invoice.id,
            "lago_customer_id": invoice.customer.id,
            "external_customer_id": invoice.customer.external_id,
            **dict.fromkeys(nothing),
            "error_details": {"code": "customer_must_have_payment_provider"},
        }
        self.announce("invoice.payment_failure", "payment_provider_invoice_payment_error", lambda: body)

    def _outgoing(
        self, endpoint: Endpoint, webhook_type: str, object_type: str, render: Callable[[], Json]
    ) -> Outgoing:
        unique_key = self._ledger.new_id()
        frozen: list[bytes] = []

        def body() -> bytes:
            with self._lock:
                if not frozen:
                    frozen.append(self._envelope(webhook_type, object_type, render()))
                return frozen[0]

        def headers(raw: bytes, _now: datetime) -> Headers:
            return self._signer.headers(raw, algorithm=endpoint.signature_algo, unique_key=unique_key)

        return Outgoing(type=webhook_type, body=body, headers=headers, due_at=self._clock.now())

    def _envelope(self, webhook_type: str, object_type: str, body: Json) -> bytes:
        return rails_json(
            {
                "webhook_type": webhook_type,
                "object_type": object_type,
                "organization_id": self._account.organization_id,
                object_type: body,
            }
        )
