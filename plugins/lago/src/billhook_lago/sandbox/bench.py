"""A Lago without its HTTP: what a test or the demo does by hand, and what it may look at.

Everything is returned as serialised, so a test sees what the host would see.
"""

from __future__ import annotations

import threading
from uuid import NAMESPACE_URL, uuid5

from billhook.clock import Clock
from billhook.testing.sandbox import Headers, Post, WebhookSender
from billhook_lago.sandbox import invoicing, lifecycle
from billhook_lago.sandbox.answers import not_found
from billhook_lago.sandbox.catalogue import add_plan
from billhook_lago.sandbox.documents import (
    CREDIT_NOTE_FULL,
    INVOICE_FULL,
    credit_note_json,
    invoice_json,
    payment_json,
    rate_of,
)
from billhook_lago.sandbox.ledger import Ledger
from billhook_lago.sandbox.payment_methods import keep_method
from billhook_lago.sandbox.serializers import customer_json, plan_json, subscription_json
from billhook_lago.sandbox.state import Account, Customer, Fee, Invoice, Json, Usage
from billhook_lago.sandbox.webhooks import Announcer
from billhook_lago.sandbox.wire import Signer, stamp
from billhook_lago.sandbox.world import World


class Bench:
    """One Lago organisation with its clock, its ledger and its webhooks."""

    def __init__(
        self,
        *,
        clock: Clock,
        account: Account,
        hmac_key: str,
        signature_algo: str,
        post: Post | None,
        webhook_url: str,
    ) -> None:
        # Ids differ from run to run of a real clock, so that a host's dedupe sees a new sandbox as new.
        ledger = Ledger(uuid5(NAMESPACE_URL, f"{account.organization_id} {clock.now().isoformat()}"))
        signer, lock = Signer(hmac_key=hmac_key, issuer=account.base_url), threading.RLock()
        announcer = Announcer(clock=clock, account=account, ledger=ledger, signer=signer, lock=lock)
        self.world = World(
            clock=clock,
            account=account,
            ledger=ledger,
            signer=signer,
            announce=announcer,
            created_at=clock.now(),
            lock=lock,
        )
        self._primary = announcer.add_endpoint(
            webhook_url, post or _accept, algorithm=signature_algo, name="billhook", event_types=None
        )

    @property
    def webhooks(self) -> WebhookSender:
        """Return the queue to the host, with its own faults (hold, drop, duplicate, reverse)."""
        return self._primary.sender

    def deliver_webhooks(self) -> int:
        """Attempt every webhook that is due; return the number of attempts."""
        return self.world.announce.deliver()

    def tick(self) -> int:
        """Let time take effect: periods, trials, scheduled changes, overdue; return how many things happened."""
        with self.world.lock:
            return lifecycle.tick(self.world)

    def set_premium(self, premium: bool) -> None:
        """Give or take the licence."""
        self.world.account.premium = premium

    def add_plan(
        self,
        *,
        code: str,
        name: str,
        amount_cents: int,
        currency: str = "EUR",
        interval: str = "monthly",
        pay_in_advance: bool = True,
        trial_days: float = 0,
    ) -> Json:
        """Create a plan and return it as serialised."""
        with self.world.lock:
            plan = add_plan(
                self.world,
                code=code,
                name=name,
                amount_cents=amount_cents,
                currency=currency,
                interval=interval,
                pay_in_advance=pay_in_advance,
                trial_days=float(trial_days),
            )
            return plan_json(self.world.account, plan, "entitlements")

    def issue_invoice(
        self, external_customer_id: str, amount_cents: int, currency: str = "EUR", taxes_cents: int = 0
    ) -> Json:
        """Issue one finalized subscription invoice over ``amount_cents`` net and return it as serialised.

        The fee belongs to the customer's newest active subscription, where there is one.
        """
        with self.world.lock:
            world, now = self.world, self.world.now()
            customer = self._find_customer(external_customer_id)
            fee = self._manual_fee(customer, amount_cents, taxes_cents)
            customer.fields["currency"] = customer.currency or currency
            reason = "subscription_periodic"
            invoice = invoicing.issue(
                world, customer, [fee], kind="subscription", reason=reason, currency=currency, at=now
            )
            return self._invoice(invoice)

    def mark_overdue(self, invoice_id: str) -> None:
        """Flip an invoice to overdue now."""
        with self.world.lock:
            invoicing.mark_overdue(self.world, self._find_invoice(invoice_id))

    def lose_dispute(self, invoice_id: str) -> None:
        """Let the bank take the money of an invoice back."""
        with self.world.lock:
            invoicing.lose_dispute(self.world, self._find_invoice(invoice_id))

    def set_usage(
        self, external_subscription_id: str, amount_cents: int, *, units: str = "1.0", events: int = 1
    ) -> None:
        """Set the metered usage of a subscription's current period."""
        with self.world.lock:
            usage = Usage(amount_cents=amount_cents, units=units, events=events)
            self.world.ledger.usage[external_subscription_id] = usage

    def keep_method(self, external_customer_id: str, provider_method_id: str) -> None:
        """Let an integration of Lago's own have seen a payment method of a customer; the first is the default."""
        with self.world.lock:
            keep_method(self.world, self._find_customer(external_customer_id), provider_method_id)

    def default_method(self, external_customer_id: str) -> str | None:
        """Return the provider's id of the method that Lago charges first; None: it keeps none."""
        with self.world.lock:
            kept = self._find_customer(external_customer_id).payment_methods
            return next((str(each["provider_method_id"]) for each in kept if each["is_default"]), None)

    def send(self, webhook_type: str, body: Json, *, object_type: str | None = None) -> None:
        """Queue a webhook with any content; the object key is the part before the dot unless given."""
        self.world.announce.announce(
            webhook_type, object_type or webhook_type.partition(".")[0], lambda: body
        )

    @property
    def invoices(self) -> list[Json]:
        """Return every invoice as ``GET /invoices/{id}`` would."""
        with self.world.lock:
            return [self._invoice(invoice) for invoice in self.world.ledger.invoices]

    @property
    def payments(self) -> list[Json]:
        """Return every payment as serialised."""
        with self.world.lock:
            return [payment_json(payment) for payment in self.world.ledger.payments]

    @property
    def credit_notes(self) -> list[Json]:
        """Return every credit note as serialised."""
        with self.world.lock:
            notes = self.world.ledger.credit_notes
            return [credit_note_json(self.world.account, note, *CREDIT_NOTE_FULL) for note in notes]

    @property
    def customers(self) -> list[Json]:
        """Return every living customer as serialised."""
        with self.world.lock:
            rows = [row for row in self.world.ledger.customers if not row.deleted]
            return [customer_json(self.world.account, row, "integration_customers") for row in rows]

    @property
    def subscriptions(self) -> list[Json]:
        """Return every row of every subscription as serialised."""
        with self.world.lock:
            account, now = self.world.account, self.world.now()
            return [subscription_json(account, row, now=now) for row in self.world.ledger.subscriptions]

    def state(self) -> Json:
        """Return everything, serialised, as ``GET /_sandbox/state`` shows it."""
        with self.world.lock:
            return {
                "now": stamp(self.world.now()),
                "premium": self.world.account.premium,
                "plans": [plan_json(self.world.account, plan) for plan in self.world.ledger.plans],
                "customers": self.customers,
                "subscriptions": self.subscriptions,
                "invoices": self.invoices,
                "payments": self.payments,
                "credit_notes": self.credit_notes,
                "webhooks": self._webhooks(),
            }

    def _find_customer(self, external_id: str) -> Customer:
        customer = self.world.ledger.customer(external_id)
        if customer is None:
            raise not_found("customer")
        return customer

    def _find_invoice(self, invoice_id: str) -> Invoice:
        invoice = self.world.ledger.invoice(invoice_id)
        if invoice is None:
            raise not_found("invoice")
        return invoice

    def _invoice(self, invoice: Invoice) -> Json:
        return invoice_json(self.world.account, invoice, *INVOICE_FULL, "metadata", now=self.world.now())

    def _manual_fee(self, customer: Customer, cents: int, taxes_cents: int) -> Fee:
        rows = [
            row
            for row in self.world.ledger.subscriptions
            if row.customer is customer and row.status == "active"
        ]
        newest = rows[-1] if rows else None
        return Fee(
            id=self.world.ledger.new_id(),
            item_type="subscription",
            item_id=newest.id if newest else customer.id,
            code=newest.plan.code if newest else "manual",
            name=newest.plan.name if newest else "Manual",
            amount_cents=cents,
            taxes_cents=taxes_cents,
            taxes_rate=rate_of(taxes_cents, cents),
            start=self.world.now(),
            end=self.world.now(),
            subscription=newest,
        )

    def _webhooks(self) -> list[Json]:
        groups = {"sent": self.webhooks.sent, "given up": self.webhooks.given_up}
        return [
            {
                "type": outgoing.type,
                "state": state,
                "attempts": outgoing.attempts,
                "statuses": outgoing.statuses,
            }
            for state, group in groups.items()
            for outgoing in group
        ]


def _accept(_body: bytes, _headers: Headers) -> int:
    return 200
