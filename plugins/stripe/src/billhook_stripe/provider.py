"""Stripe as a payment provider: each operation is a few calls, and says how it ended by a value or a typed error."""

from __future__ import annotations

from collections.abc import Sequence

from billhook.errors import NotFound
from billhook.hookspecs import ConnectionContext
from billhook.methods import (
    PageKit,
    PagePayment,
    SavedMethod,
    Setup,
    SetupRequest,
    SupportsMethodManagement,
    SupportsPageKit,
    SupportsPagePayment,
    SupportsSavedPayment,
)
from billhook.model import Customer, PaymentMethod, Ref
from billhook.provider import (
    Collected,
    CollectRequest,
    Finding,
    PaymentProvider,
    ProviderInfo,
    RefundRequest,
    SupportsCheck,
    SupportsCheckoutStatus,
    SupportsRefunds,
    SupportsSavedMethods,
)

from .checks import Checks
from .client import StripeApi, connect, readable
from .collect import Collector
from .config import StripeConfig
from .customers import Customers
from .facts import Reader
from .limits import Limits
from .lookup import OPEN, Lookup
from .on_page import OnPage
from .page import page_kit
from .payloads import text
from .refunds import Refunder
from .saved import Methods
from .traits import INFO


class StripePayments(
    PaymentProvider,
    SupportsRefunds,
    SupportsCheckoutStatus,
    SupportsSavedMethods,
    SupportsMethodManagement,
    SupportsPageKit,
    SupportsPagePayment,
    SupportsSavedPayment,
    SupportsCheck,
):
    """Collects, refunds and keeps payment methods through one connection."""

    info: ProviderInfo = INFO

    def __init__(self, context: ConnectionContext, *, api: StripeApi) -> None:
        config = context.config(StripeConfig)
        self.connection = context.name
        self._config = config
        reader = Reader(connection=context.name)
        self._customers = Customers(api=api, state=context.state, connection=context.name)
        self._methods = Methods(api=api, customers=self._customers, reader=reader)
        self._lookup = Lookup(api=api, customers=self._customers, reader=reader, connection=context.name)
        self._on_page = OnPage(api=api, lookup=self._lookup, connection=context.name)
        self._collector = Collector(
            api=api,
            customers=self._customers,
            methods=self._methods,
            lookup=self._lookup,
            limits=Limits(
                api=api, clock=context.clock, most=config.reattempt_limit, days=config.reattempt_days
            ),
            connection=context.name,
            charge=config.charge,
            save=config.save_methods,
        )
        self._refunder = Refunder(api=api, connection=context.name)
        self._checks = Checks(api=api, config=config, connection=context.name)

    @classmethod
    def connect(cls, context: ConnectionContext) -> StripePayments:
        """Return the provider of one connection; calls nobody."""
        return cls(context, api=connect(context))

    def collect(self, request: CollectRequest) -> Collected:
        """Collect by the ladder of :mod:`billhook_stripe.collect`."""
        return self._collector.collect(request)

    def find_collected(self, request: CollectRequest) -> Collected | None:
        """Look for a PaymentIntent that carries ``request.key``."""
        return self._lookup.collected(request)

    def checkout_usable(self, session: str) -> bool:
        """Say whether the PaymentIntent can still be paid."""
        try:
            intent = self._lookup.intent(session)
        except NotFound:
            return False
        return intent.get("status") in OPEN

    def refund(self, request: RefundRequest) -> Ref:
        """Give money back; see :meth:`billhook_stripe.refunds.Refunder.refund`."""
        return self._refunder.refund(request)

    def find_refund(self, request: RefundRequest) -> Ref | None:
        """Look for a refund that carries ``request.key``."""
        return self._lookup.refund(request)

    def payment_methods(self, provider_customer: str) -> Sequence[PaymentMethod]:
        """List what the customer keeps, the default first."""
        return [each.method for each in self._methods.of(provider_customer)]

    def provider_customer(self, customer: Customer) -> str:
        """Return the customer's id at Stripe, making the customer where there is none."""
        owner = self._customers.ensure(customer)
        with readable("the customer"):
            return text(owner, "id")

    def saved_methods(self, provider_customer: str) -> Sequence[SavedMethod]:
        """List what the customer keeps, the default first, then the newest."""
        return self._methods.of(provider_customer)

    def begin_setup(self, request: SetupRequest) -> Setup:
        """Open a SetupIntent."""
        return self._methods.begin(request)

    def setup(self, provider_customer: str, setup: str) -> Setup:
        """Say how a SetupIntent stands."""
        return self._methods.setup(provider_customer, setup)

    def set_default(self, provider_customer: str, method: Ref) -> None:
        """Take this method first from now on, here and for what Stripe itself charges."""
        self._methods.choose(provider_customer, method)

    def remove_method(self, provider_customer: str, method: Ref) -> None:
        """Detach a method; Stripe never lets it be attached again."""
        self._methods.remove(provider_customer, method)

    def page_kit(self) -> PageKit:
        """Return Stripe.js, our adapter to it, and what the page's policy must let in."""
        return page_kit(self._config)

    def page_payment(self, session: str) -> PagePayment:
        """Say how a PaymentIntent stands and what the pay page needs."""
        return self._on_page.look(session)

    def pay_saved(self, session: str, method: Ref, *, key: str) -> PagePayment:
        """Confirm a PaymentIntent with a method its customer keeps; see :meth:`billhook_stripe.on_page.OnPage.pay`."""
        return self._on_page.pay(session, method, key=key)

    def check(self) -> Sequence[Finding]:
        """Look at the keys and the webhook endpoint, by reading only."""
        return self._checks.findings()
