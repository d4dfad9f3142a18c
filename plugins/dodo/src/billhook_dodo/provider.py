"""Dodo as a payment provider: each operation is a few calls, and says how it ended by a value or a typed error."""

from __future__ import annotations

from collections.abc import Sequence

from billhook.clock import Clock
from billhook.errors import Refused
from billhook.hookspecs import ConnectionContext
from billhook.model import PaymentMethod, Ref
from billhook.provider import (
    Collected,
    CollectRequest,
    Finding,
    MandateRequest,
    PaymentProvider,
    ProviderInfo,
    RefundRequest,
    SupportsCheck,
    SupportsCheckoutStatus,
    SupportsMandates,
    SupportsRefunds,
    SupportsSavedMethods,
)

from .bodies import LOCKED_FLAGS, billing_address, customer, metadata
from .checks import Checks
from .client import DodoApi, connect, readable
from .collect import Collector
from .config import DodoConfig
from .lookup import LINK_LIFE, Lookup
from .payloads import instant, text
from .products import Products
from .refunds import Refunder
from .saved import saved_methods
from .traits import INFO
from .webhooks import reader_of


class DodoPayments(
    PaymentProvider,
    SupportsRefunds,
    SupportsCheckoutStatus,
    SupportsSavedMethods,
    SupportsMandates,
    SupportsCheck,
):
    """Collects, refunds and asks for mandates through one connection."""

    info: ProviderInfo = INFO

    def __init__(self, context: ConnectionContext, *, api: DodoApi) -> None:
        config = context.config(DodoConfig)
        self.connection = context.name
        self._api = api
        self._clock: Clock = context.clock
        self._products = Products(
            api, config=config, state=context.state, clock=context.clock, connection=context.name
        )
        self._lookup = Lookup(api=api, reader=reader_of(context), connection=context.name)
        self._collector = Collector(
            api=api,
            products=self._products,
            lookup=self._lookup,
            clock=context.clock,
            connection=context.name,
            tax_mode=config.tax_mode,
            charge=config.charge,
        )
        self._refunder = Refunder(api=api, connection=context.name)
        self._checks = Checks(api=api, products=self._products, config=config, connection=context.name)

    @classmethod
    def connect(cls, context: ConnectionContext) -> DodoPayments:
        """Return the provider of one connection; calls nobody."""
        return cls(context, api=connect(context))

    def collect(self, request: CollectRequest) -> Collected:
        """Collect by the ladder of :mod:`billhook_dodo.collect`."""
        return self._collector.collect(request)

    def find_collected(self, request: CollectRequest) -> Collected | None:
        """Look for a payment that carries ``request.key``."""
        return self._lookup.collected(request)

    def checkout_usable(self, session: str) -> bool:
        """Say whether the page can still be paid at: Dodo closes it after 24 hours or its first payment."""
        try:
            status = self._api.get("checkouts", session)
        except Refused:
            return False  # gone (410) or never there (404)
        with readable("the checkout session"):
            created_at = instant(status, "created_at")
        expired = created_at is not None and created_at + LINK_LIFE <= self._clock.now()
        return not expired and status.get("payment_id") is None and status.get("payment_status") is None

    def refund(self, request: RefundRequest) -> Ref:
        """Give money back; see :meth:`billhook_dodo.refunds.Refunder.refund`."""
        return self._refunder.refund(request)

    def find_refund(self, request: RefundRequest) -> Ref | None:
        """Look for a refund that carries ``request.key``."""
        return self._lookup.refund(request)

    def payment_methods(self, provider_customer: str) -> Sequence[PaymentMethod]:
        """List what the customer saved, the method used last first."""
        return saved_methods(self._api, self.connection, provider_customer)

    def mandate_url(self, request: MandateRequest) -> str:
        """Open a page on which the customer agrees to later charges; nothing is charged there.

        The mandate becomes known by ``subscription.active``, with ``request.metadata`` on it.
        """
        who = customer(request.customer, self.connection)
        body: dict[str, object] = {
            "product_cart": [{"product_id": self._products.for_mandates(request.currency), "quantity": 1}],
            "subscription_data": {"on_demand": {"mandate_only": True}},
            "metadata": metadata(request.metadata),
            "return_url": request.return_url,
            "feature_flags": LOCKED_FLAGS,
            **who,
            **billing_address(request.customer),
        }
        answer = self._api.post("checkouts", json=body, key=request.key)
        with readable("the page for the mandate"):
            return text(answer, "checkout_url")

    def check(self) -> Sequence[Finding]:
        """Look at the key, the configured products and the webhook endpoint, by reading only."""
        return self._checks.findings()
