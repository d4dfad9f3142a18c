"""A plugin for tests of the command and the server: installed by putting this folder on the path.

Its webhooks are signed in a header, or carry the whole signed body in one, as one real provider does.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field, SecretStr

from billhook.clock import Clock
from billhook.config import ConnectionConfig
from billhook.errors import PayloadInvalid, SignatureInvalid, Temporary
from billhook.events import Event, Refetch
from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.provider import Delivery, Finding, ProviderInfo, Severity, WebhookRequest

BILLHOOK_API = ">=1.0,<2"


INFO = ProviderInfo(plugin="acme", title="Acme")


class AcmeConfig(ConnectionConfig):
    """What a connection can be told."""

    api_key: SecretStr = Field(description="key of the API")
    webhook_secret: SecretStr = Field(description="secret that signs webhooks")
    down: bool = Field(False, description="whether the provider cannot be reached")


def sign(body: bytes, secret: str) -> str:
    """Return what a delivery carries in ``X-Acme-Signature``."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def token(body: bytes, secret: str) -> str:
    """Return what a delivery carries in ``X-Acme-Token``: the body and its signature."""
    return f"{base64.urlsafe_b64encode(body).decode()}.{sign(body, secret)}"


@dataclass(frozen=True)
class AcmeWebhooks:
    """Takes every signed body; knows no event."""

    connection: str
    secret: str
    down: bool
    info: ProviderInfo = INFO

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Accept either way of signing."""
        given = request.headers.get("x-acme-token") or request.headers.get("x-acme-signature", "")
        expected = (
            token(request.body, self.secret)
            if "x-acme-token" in request.headers
            else sign(request.body, self.secret)
        )
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise SignatureInvalid("wrong")
        return Delivery(key=hashlib.sha256(request.body).hexdigest(), type="acme.test")

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """Read JSON and find nothing in it."""
        try:
            json.loads(body)
        except ValueError as exc:
            raise PayloadInvalid("no JSON") from exc
        return []

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Nothing is ever thin here."""
        raise AssertionError(thing)

    def check(self) -> Sequence[Finding]:
        """Say what an operator would want to know."""
        if self.down:
            raise Temporary("connection refused")
        return [
            Finding(severity=Severity.OK, what="The key works."),
            Finding(severity=Severity.WARNING, what="No [webhook] is set up.", fix="Add one."),
        ]


class AcmeSandbox:
    """Answers every call with what it was told."""

    def __init__(self, webhook_url: str | None, settings: Mapping[str, str]) -> None:
        self._webhook_url = webhook_url
        self._settings = settings
        self._ticks = 0

    @property
    def wsgi(self) -> object:
        """The WSGI application."""

        def app(_environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"settings": dict(self._settings), "ticks": self._ticks}).encode()]

        return app

    def environment(self, base_url: str) -> Mapping[str, str]:
        """Return what to set."""
        return {"API_URL": base_url, "WEBHOOK_SECRET": "two words"}

    def deliver_webhooks(self) -> int:
        """Send nothing."""
        return 0

    def tick(self) -> None:
        """Count."""
        self._ticks += 1


@hookimpl
def connection_config() -> type[AcmeConfig]:
    """Say what can be told."""
    return AcmeConfig


@hookimpl
def webhook_sources(context: ConnectionContext) -> Iterable[AcmeWebhooks]:
    """Receive."""
    config = context.config(AcmeConfig)
    return [
        AcmeWebhooks(
            connection=context.name, secret=config.webhook_secret.get_secret_value(), down=config.down
        )
    ]


@hookimpl
def sandbox(clock: Clock, webhook_url: str | None, settings: Mapping[str, str]) -> AcmeSandbox:
    """Stand in for Acme."""
    return AcmeSandbox(webhook_url, settings)
