"""What people do with the sandbox: customers pay, banks refuse and dispute, a test or an operator looks."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from billhook.clock import Clock
from billhook.testing.sandbox import Faults, Post, WebhookSender

from . import clocks, disputes, intents, methods, refunds, setups, shapes
from .cards import GOOD, TEST_CARDS
from .errors import ApiError, Json
from .events import Hooks
from .routing import RecordedRequest
from .world import Settings, World, changed

_MERCHANT_SITE = "https://shop.example/return"


class Desk:
    """The Python side of the sandbox: its state, its controls and its views. Safe to share between threads.

    Test cards and accounts are named by their number; see :mod:`.cards`.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        webhook_secret: str,
        webhook_url: str = "",
        public_url: str,
        post: Post | None,
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.faults = Faults()
        self.requests: list[RecordedRequest] = []
        self.lock = threading.RLock()
        self.hooks = Hooks(clock, version=settings.event_version)
        self.sender: WebhookSender | None = None
        if post is not None:
            self.sender = self.hooks.add(url=webhook_url, secret=webhook_secret, post=post).sender
        self._key: str | None = None
        self.world = World(clock=clock, settings=settings, public_url=public_url.rstrip("/"), emit=self._emit)

    @contextmanager
    def acting(self, key: str | None = None) -> Iterator[World]:
        """Hold the lock; what happens meanwhile is told with this idempotency key."""
        with self.lock:
            self._key = key
            try:
                yield self.world
            finally:
                self._key = None

    def deliver_webhooks(self) -> int:
        """Attempt every due webhook once; return how many attempts were made. Call it outside the lock."""
        return self.hooks.deliver()

    def tick(self) -> int:
        """Let the banks answer what has become due, debits and refunds, and test clocks arrive. Return how many answered."""
        with self.acting() as world:
            advanced = clocks.move(world)
            due = [ref for ref, at in world.due.items() if at <= world.now(_owner(world, ref))]
            for ref in due:
                if ref in world.intents:
                    intents.settle(world, world.intents[ref])
                else:
                    refunds.settle(world, world.refund(ref))
            clocks.arrive(world, advanced)
            return len(due)

    # What the customer and their bank do.

    def pay(self, intent: str, *, card: str = GOOD) -> Json:
        """Pay a PaymentIntent as the customer does in their browser, authentication included; return it.

        A decline is no error here: the intent that is returned waits for another method.
        """
        with self.acting() as world:
            found = world.intent(intent)
            self._unless_declined(
                lambda: intents.confirm(world, found, {"payment_method": self._method(card)["id"],
                                                       "return_url": _MERCHANT_SITE})
            )  # fmt: skip
            if found["status"] == "requires_action":
                intents.authenticate(world, found, success=True)
            return copy.deepcopy(found)

    def authenticate(self, intent: str, *, success: bool) -> Json:
        """Answer the bank's question about a PaymentIntent or SetupIntent; return it."""
        with self.acting() as world:
            if intent in world.setups:
                return copy.deepcopy(setups.authenticate(world, world.setup(intent), success=success))
            return copy.deepcopy(intents.authenticate(world, world.intent(intent), success=success))

    def add_customer(
        self, *, email: str = "payer@example.com", metadata: Mapping[str, str] | None = None
    ) -> Json:
        """Let a customer be there; return it."""
        with self.acting() as world:
            customer = shapes.customer(world, {"email": email, "metadata": dict(metadata or {})})
            world.customers[customer["id"]] = customer
            world.emit("customer.created", customer, None)
            return copy.deepcopy(customer)

    def add_method(
        self,
        customer: str,
        *,
        card: str = GOOD,
        default: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Json:
        """Let a customer save a card or account by a SetupIntent, authentication included; return the method."""
        with self.acting() as world:
            method = self._method(card)
            given: Json = {
                "customer": customer,
                "payment_method": method["id"],
                "confirm": True,
                "return_url": _MERCHANT_SITE,
                "metadata": dict(metadata or {}),
            }
            setup = setups.create(world, given)
            if setup["status"] == "requires_action":
                setups.authenticate(world, setup, success=True)
            if default:
                self.set_default(customer, method["id"])
            return copy.deepcopy(method)

    def save(self, setup: str, *, card: str = GOOD) -> Json:
        """Complete a SetupIntent as the customer does in their browser, authentication included; return it."""
        with self.acting() as world:
            found = world.setup(setup)
            given: Json = {"payment_method": self._method(card)["id"], "return_url": _MERCHANT_SITE}
            self._unless_declined(lambda: setups.confirm(world, found, given))
            if found["status"] == "requires_action":
                setups.authenticate(world, found, success=True)
            return copy.deepcopy(found)

    def set_default(self, customer: str, method: str | None) -> None:
        """Choose the default from the dashboard."""
        with self.acting() as world:
            owner = world.customer(customer)
            settings = owner["invoice_settings"] | {"default_payment_method": method}
            changed(world, "customer.updated", owner, invoice_settings=settings)

    def set_card(self, method: str, card: str) -> None:
        """Exchange what is behind a saved method, for a card that will be declined at the next charge, say."""
        with self.lock:
            self.world.method(method)
            self.world.cards[method] = TEST_CARDS[card]

    def update_card(self, method: str, *, year: int, month: int, automatically: bool = True) -> Json:
        """Let the bank's card updater bring a new expiry; return the method."""
        with self.acting() as world:
            found = world.method(method)
            before = {"card": {name: found["card"][name] for name in ("exp_month", "exp_year")}}
            found["card"] |= {"exp_month": month, "exp_year": year}
            kind = "payment_method.automatically_updated" if automatically else "payment_method.updated"
            world.emit(kind, found, before)
            return copy.deepcopy(found)

    def detach(self, method: str) -> None:
        """Remove a method from the dashboard."""
        with self.acting() as world:
            methods.detach(world, world.method(method))

    def revoke(self, mandate: str) -> None:
        """Let the customer's bank withdraw the permission to debit."""
        with self.acting() as world:
            changed(world, "mandate.updated", world.mandates[mandate], status="inactive")

    # What the merchant's dashboard and the banks do with payments.

    def refund(self, intent: str, amount: int | None = None) -> Json:
        """Refund from the dashboard; ``amount`` in minor units, None for the rest."""
        with self.acting() as world:
            given: Json = {"payment_intent": intent, "reason": "requested_by_customer"}
            if amount is not None:
                given["amount"] = amount
            return copy.deepcopy(refunds.create(world, given))

    def dispute(self, intent: str, amount: int | None = None) -> Json:
        """Open a dispute over ``amount`` minor units, None for the whole payment."""
        with self.acting() as world:
            charge = world.charge(world.intent(intent)["latest_charge"])
            return copy.deepcopy(disputes.open_dispute(world, charge, amount=amount))

    def close_dispute(self, dispute: str, status: str) -> Json:
        """Decide a dispute: won, lost, warning_closed, prevented."""
        with self.acting() as world:
            return copy.deepcopy(disputes.close(world, world.dispute(dispute), status))

    def charge_elsewhere(
        self, customer: str, amount: int, currency: str, metadata: Mapping[str, str], *, card: str = GOOD
    ) -> Json:
        """Let another integration of the account (a billing engine's own) charge a customer; return the intent."""
        with self.acting() as world:
            given: Json = {
                "amount": amount,
                "currency": currency,
                "customer": customer,
                "payment_method": self._method(card)["id"],
                "metadata": dict(metadata),
            }
            made = intents.create(world, given)
            self._unless_declined(lambda: intents.confirm(world, made, {"off_session": True}))
            return copy.deepcopy(made)

    def resend(self, event: str) -> None:
        """Send an event again to every endpoint that wants it, as the dashboard's button does."""
        told = self.hooks.events[event]
        for endpoint in self.hooks.endpoints.values():
            if endpoint.wants(told["type"]):
                self.hooks.send(endpoint, told)

    # What is there to see.

    @property
    def intents(self) -> list[Json]:
        """Every PaymentIntent, oldest first, as the API shows it."""
        return self._view(lambda world: list(world.intents.values()))

    @property
    def charges(self) -> list[Json]:
        """Every charge, oldest first: each try to take money is one."""
        return self._view(lambda world: list(world.charges.values()))

    @property
    def customers(self) -> list[Json]:
        """Every customer, oldest first."""
        return self._view(lambda world: list(world.customers.values()))

    @property
    def refunds(self) -> list[Json]:
        """Every refund, oldest first."""
        return self._view(lambda world: list(world.refunds.values()))

    @property
    def disputes(self) -> list[Json]:
        """Every dispute, oldest first."""
        return self._view(lambda world: list(world.disputes.values()))

    @property
    def events(self) -> list[Json]:
        """Every event, oldest first."""
        return self._view(lambda _: list(self.hooks.events.values()))

    def _view(self, ask: Callable[[World], list[Json]]) -> list[Json]:
        with self.lock:
            return copy.deepcopy(ask(self.world))

    def _method(self, card: str) -> Json:
        known = TEST_CARDS[card]
        details: Json = {"number": card, "exp_month": 8, "exp_year": 2031, "cvc": "123"}
        held = {"card": details} if known.kind == "card" else {"sepa_debit": {"iban": card}}
        return methods.create(self.world, {"type": known.kind, **held})

    def _unless_declined(self, do: Callable[[], Json]) -> None:
        try:
            do()
        except ApiError as exc:
            if exc.status != 402:
                raise

    def _emit(self, event_type: str, thing: Json, previous: Json | None) -> None:
        self.hooks.emit(event_type, thing, previous, key=self._key)


def _owner(world: World, ref: str) -> str | None:
    """Return the customer whose debit or refund is due."""
    thing = world.intents.get(ref) or world.refunds[ref]
    owner: str | None = thing["customer"]
    return owner
