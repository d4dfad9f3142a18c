"""Stripe as a payment provider and a webhook source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from billhook.clock import Clock
from billhook.hookspecs import ConnectionContext, ProviderSandbox, hookimpl
from billhook.provider import PaymentProvider, WebhookSource

from .config import StripeConfig
from .provider import StripePayments
from .webhooks import StripeWebhooks

BILLHOOK_API = ">=1.0,<2"


@hookimpl
def connection_config() -> type[StripeConfig]:
    """Say what a connection to Stripe can be told."""
    return StripeConfig


@hookimpl
def payment_providers(context: ConnectionContext) -> Iterable[PaymentProvider]:
    """Collect through Stripe."""
    return [StripePayments.connect(context)]


@hookimpl
def webhook_sources(context: ConnectionContext) -> Iterable[WebhookSource]:
    """Understand what Stripe delivers."""
    return [StripeWebhooks.connect(context)]


@hookimpl(specname="sandbox")  # a function of that name would be hidden by the package of that name
def stand_in(clock: Clock, webhook_url: str | None, settings: Mapping[str, str]) -> ProviderSandbox:
    """Stand in for Stripe; needs the extra ``sandbox``."""
    from .sandbox import create_sandbox

    return create_sandbox(clock=clock, webhook_url=webhook_url, settings=settings)
