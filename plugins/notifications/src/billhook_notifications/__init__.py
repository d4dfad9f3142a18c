"""E-mail as a notification channel."""

from __future__ import annotations

from collections.abc import Iterable

from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.notifier import NotificationChannel

from .channel import EmailChannel
from .config import MailConfig

BILLHOOK_API = ">=1.0,<2"


@hookimpl
def connection_config() -> type[MailConfig]:
    """Say what a connection to a mail server can be told."""
    return MailConfig


@hookimpl
def notification_channels(context: ConnectionContext) -> Iterable[NotificationChannel]:
    """Send e-mail."""
    return [EmailChannel.connect(context)]
