"""Dodo Payments as a payment provider and a webhook source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from billhook.clock import Clock
from billhook.hookspecs import ConnectionContext, ProviderSandbox, hookimpl
from billhook.provider import PaymentProvider, WebhookSource

from .config import DodoConfig
from .provider import DodoPayments
from .webhooks import DodoWebhooks

BILLHOOK_API = ">=1.0,<2"


@hookimpl
def connection_config() -> type[DodoConfig]:
    """Say what a connection to Dodo can be told."""
    return DodoConfig


@hookimpl
def payment_providers(context: ConnectionContext) -> Iterable[PaymentProvider]:
    """Collect through Dodo."""
    return [DodoPayments.connect(context)]


@hookimpl
def webhook_sources(context: ConnectionContext) -> Iterable[WebhookSource]:
    """Understand what Dodo delivers."""
    return [DodoWebhooks.connect(context)]


@hookimpl(specname="sandbox")  # a function of that name would be hidden by the package of that name
def stand_in(clock: Clock, webhook_url: str | None, settings: Mapping[str, str]) -> ProviderSandbox:
    """Stand in for Dodo; needs the extra ``sandbox``."""
    from .sandbox import create_sandbox

    return create_sandbox(clock=clock, webhook_url=webhook_url, settings=settings)
