"""Lago as a billing engine and a webhook source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from billhook.clock import Clock
from billhook.config import ConnectionConfig
from billhook.hookspecs import ConnectionContext, ProviderSandbox, hookimpl
from billhook.provider import BillingEngine, WebhookSource
from billhook_lago.config import LagoConfig
from billhook_lago.provider import lago_engine
from billhook_lago.webhooks import lago_webhooks

BILLHOOK_API = ">=1.0,<2"


@hookimpl
def connection_config() -> type[ConnectionConfig]:
    """Say what a Lago connection can be told."""
    return LagoConfig


@hookimpl
def billing_engines(context: ConnectionContext) -> Iterable[BillingEngine]:
    """Return the Lago organisation as a billing engine."""
    return [lago_engine(context)]


@hookimpl
def webhook_sources(context: ConnectionContext) -> Iterable[WebhookSource]:
    """Return what understands the organisation's webhooks."""
    return [lago_webhooks(context)]


@hookimpl(
    specname="sandbox"
)  # the function's name must not be that of the subpackage, which would replace it
def lago_sandbox(clock: Clock, webhook_url: str | None, settings: Mapping[str, str]) -> ProviderSandbox:
    """Return a Lago to develop against; needs the extra ``sandbox``, so it is imported only here."""
    from billhook_lago.sandbox import create_sandbox

    return create_sandbox(clock=clock, webhook_url=webhook_url, settings=settings)
