"""A throw-away payment provider with a wire format of its own: what a third party would write, in one file.

It charges at once by a call to its API and tells the outcome by webhook: ``{"charge": …, "state": "ok", "cents": …}``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pydantic import Field, SecretStr

from billhook.config import ConnectionConfig
from billhook.errors import NotFound, PayloadInvalid, SignatureInvalid
from billhook.events import Event, PaymentSucceeded, Refetch
from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.http import ApiClient
from billhook.model import Ref
from billhook.money import Money
from billhook.provider import (
    Collected,
    CollectRequest,
    CollectState,
    Delivery,
    PaymentProvider,
    ProviderInfo,
    WebhookRequest,
    WebhookSource,
)
from billhook.signing import HmacSha256

BILLHOOK_API = ">=1.0,<2"
INFO = ProviderInfo(plugin="acmepay", title="Acme Pay")


class AcmeConfig(ConnectionConfig):
    """What a connection is told."""

    api_url: str = Field(description="where the API is")
    secret: SecretStr = Field(description="key of API and webhooks")


class AcmePayments:
    """Charges by ``POST /charges``."""

    info = INFO

    def __init__(self, connection: str, api: ApiClient) -> None:
        self.connection = connection
        self._api = api

    def collect(self, request: CollectRequest) -> Collected:
        """Charge at once; the outcome comes by webhook."""
        body = {
            "cents": request.amount.minor,
            "currency": request.amount.currency,
            "note": dict(request.metadata),
        }
        answer = self._api.post("charges", json=body, idempotency_key=request.key, moves_money=True)
        return self._under_way(answer.json())

    def find_collected(self, request: CollectRequest) -> Collected | None:
        """Ask for the charge with our key."""
        answer = self._api.get("charges", params={"key": request.key})
        return self._under_way(answer.json()) if answer.ok else None

    def _under_way(self, body: object) -> Collected:
        assert isinstance(body, dict)
        return Collected(
            state=CollectState.PROCESSING,
            by="saved_method",
            payment=Ref(self.connection, str(body["charge"])),
        )


class AcmeWebhooks:
    """Reads signed JSON."""

    info = INFO

    def __init__(self, connection: str, secret: str) -> None:
        self.connection = connection
        self._signature = HmacSha256([secret], encoding="hex")

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Check the signature in ``acme-signature``."""
        if "acme-signature" not in request.headers:
            raise SignatureInvalid("no acme-signature header")
        self._signature.verify(request.body, request.headers["acme-signature"])
        return Delivery(key=hashlib.sha256(request.body).hexdigest(), type="charge")

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """A charge that went well; nothing else is ever sent."""
        try:
            told = json.loads(body)
            amount = Money(told["cents"], told["currency"])
            at = datetime.fromtimestamp(told["at"], UTC)
            ref = Ref(self.connection, told["charge"])
            return [PaymentSucceeded(at=at, ref=ref, amount=amount, applied=amount, metadata=told["note"])]
        except (ValueError, TypeError, LookupError) as exc:
            raise PayloadInvalid(f"not a charge: {type(exc).__name__}") from None

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Nothing is ever thin."""
        raise NotFound(f"no {thing.kind} {thing.id}")


@hookimpl
def connection_config() -> type[ConnectionConfig]:
    """Say what a connection is told."""
    return AcmeConfig


@hookimpl
def payment_providers(context: ConnectionContext) -> Iterable[PaymentProvider]:
    """Return what charges."""
    config = context.config(AcmeConfig)
    secret = config.secret.get_secret_value()
    headers = {"Authorization": f"Bearer {secret}"}
    api = context.http(name=context.name, base_url=config.api_url, headers=headers, secrets=[secret])
    return [AcmePayments(context.name, api)]


@hookimpl
def webhook_sources(context: ConnectionContext) -> Iterable[WebhookSource]:
    """Return what reads webhooks."""
    return [AcmeWebhooks(context.name, context.config(AcmeConfig).secret.get_secret_value())]
