"""Lago's webhooks: is it ours, have we seen it, and what does it say.

Lago renders a webhook when it sends it, not when the thing happened, keeps no order, and gives up after about 22
seconds. So most bodies are read as *how this stands*, and what a body cannot tell is fetched.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from json import loads
from typing import Final

from billhook.errors import NotFound, PayloadInvalid, Permanent, Temporary
from billhook.events import (
    CollectionRequested,
    EngineCollectionFailed,
    Event,
    InvoiceVoided,
    Refetch,
)
from billhook.hookspecs import ConnectionContext
from billhook.model import InvoiceStatus, PaymentStatus, Ref
from billhook.provider import Delivery, ProviderInfo, ReconcilePage, ReconcileWindow, WebhookRequest
from billhook_lago import agreements, mapping
from billhook_lago.client import LagoClient, lago_client, readable
from billhook_lago.config import LagoConfig
from billhook_lago.listing import pages_of
from billhook_lago.reading import Json, instant, obj, obj_or_empty, text, text_or_none
from billhook_lago.signature import HmacSignature, JwtSignature, Signature, header

INFO: Final = ProviderInfo(plugin="lago", title="Lago", unordered_events=True, thin_events=True)
"""How Lago behaves."""

_SAME_SECONDS: Final = 600
_UNIQUE_KEY = re.compile(r"[!-~]{1,200}")
_NO_PROVIDER = "customer_must_have_payment_provider"


def lago_webhooks(context: ConnectionContext) -> LagoWebhooks:
    """Return the webhook source of a connection; no call is made."""
    config, client = context.config(LagoConfig), lago_client(context)
    jwt = config.webhook_algorithm == "jwt"
    signature: Signature = JwtSignature(config, client) if jwt else HmacSignature(config)
    return LagoWebhooks(context.name, client, signature)


class LagoWebhooks:
    """Understands the webhooks of one Lago organisation."""

    info = INFO

    def __init__(self, connection: str, client: LagoClient, signature: Signature) -> None:
        self.connection = connection
        self._client = client
        self._signature = signature

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Check the signature; see :class:`billhook.provider.WebhookSource`.

        Pure, but that with ``jwt`` the first call fetches the instance's key.

        :raises Temporary: it cannot be fetched now.
        """
        envelope = _parsed(request.body)
        self._signature.verify(request.body, header(request.headers, "x-lago-signature"), envelope, now=now)
        digest = hashlib.sha256(request.body).hexdigest()
        unique_key = request.headers.get("x-lago-unique-key", "")
        webhook_type = (envelope or {}).get("webhook_type")
        return Delivery(
            key=unique_key if _UNIQUE_KEY.fullmatch(unique_key) else digest,
            content_key=_content_key(digest, envelope, now=now),
            type=webhook_type if isinstance(webhook_type, str) else "",
        )

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """Say what a webhook means; see :class:`billhook.provider.WebhookSource`.

        Names that other senders use for the same thing are taken too: ``subscription.created``,
        ``invoice.payment_failed``, ``invoice.payment_succeeded``.
        """
        envelope = _parsed(body)
        if envelope is None:
            raise PayloadInvalid("the body is not a JSON object")
        webhook_type = text(envelope, "webhook_type")
        match webhook_type.partition(".")[0]:
            case "customer":
                return self._customer(webhook_type, envelope)
            case "subscription":
                return self._subscription(webhook_type, envelope)
            case "invoice":
                return self._invoice(webhook_type, envelope)
            case "credit_note":
                return self._credit_note(webhook_type, envelope)
            case _:
                return []

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Ask Lago about a thing that a webhook only named; see :class:`billhook.provider.WebhookSource`."""
        match thing.kind:
            case "invoice":
                answer = self._client.get("invoices", thing.id)
                with readable():
                    return mapping.invoice_facts(self.connection, obj(answer, "invoice"))
            case "credit_note":
                answer = self._client.get("credit_notes", thing.id)
                with readable():
                    return [mapping.credit_note(self.connection, obj(answer, "credit_note"))]
            case agreements.END:
                return [self._end(thing)]
            case _:
                raise Permanent(f"Lago has nothing of the kind {thing.kind!r} to fetch")

    def reconcile(self, window: ReconcileWindow) -> Iterator[ReconcilePage]:
        """List what Lago holds; see :mod:`billhook_lago.listing`."""
        return pages_of(self.connection, self._client, window)

    def _end(self, thing: Refetch) -> Event:
        try:
            answer = self._client.get("subscriptions", thing.id, params={"status": "active"})
        except NotFound:
            answer = None
        with readable():
            live = obj(answer, "subscription") if answer is not None else None
            if live is not None and live.get("lago_id") == thing.hints.get("lago_id"):
                raise Temporary("Lago says that the subscription ended and, asked again, that it is active")
            return agreements.end_fact(self.connection, thing, live)

    def _customer(self, webhook_type: str, envelope: Json) -> Sequence[Event | Refetch]:
        match webhook_type:
            case "customer.created" | "customer.updated":
                return [mapping.customer(self.connection, _object(envelope))]
            case _:
                return []

    def _subscription(self, webhook_type: str, envelope: Json) -> Sequence[Event | Refetch]:
        match webhook_type:
            case "subscription.started" | "subscription.created":
                return agreements.started(self.connection, _object(envelope))
            case "subscription.updated" | "subscription.incomplete" | "subscription.terminated":
                return agreements.standing(self.connection, _object(envelope))
            case "subscription.canceled":
                return agreements.stopped(self.connection, _object(envelope))
            case "subscription.trial_ended":
                return [agreements.trial_ended(self.connection, _object(envelope))]
            case _:
                return []

    def _invoice(self, webhook_type: str, envelope: Json) -> Sequence[Event | Refetch]:
        match webhook_type:
            case "invoice.created" | "invoice.one_off_created" | "invoice.paid_credit_added":
                return self._issued(_object(envelope))
            case "invoice.payment_status_updated" | "invoice.payment_overdue" | "invoice.voided":
                return mapping.invoice_observed(self.connection, _object(envelope))
            case "invoice.payment_succeeded":
                return mapping.invoice_observed(
                    self.connection, _object(envelope), status=PaymentStatus.SUCCEEDED
                )
            case "invoice.payment_failure" | "invoice.payment_failed":
                return self._failure(_object(envelope))
            case "invoice.payment_dispute_lost":
                lost = _object(envelope)
                return mapping.invoice_observed(self.connection, obj_or_empty(lost, "invoice") or lost)
            case "invoice.deleted":
                draft = _object(envelope)
                ref = Ref(self.connection, text(draft, "lago_id"))
                return [InvoiceVoided(at=instant(draft, "updated_at"), ref=ref)]
            case _:
                return []

    def _issued(self, invoice: Json) -> Sequence[Event]:
        """Read an invoice as it is issued; one that went back to a draft says nothing yet."""
        if mapping.invoice_status(invoice) is InvoiceStatus.DRAFT:
            return []
        return mapping.invoice_facts(self.connection, invoice)

    def _failure(self, error: Json) -> Sequence[Event | Refetch]:
        """Read a failed collection. Retrying an invoice in Lago for a customer without a provider there fails like
        this too, and is how somebody asks us to collect it again."""
        if "total_amount_cents" in error:  # a sender that writes the invoice itself
            return mapping.invoice_observed(self.connection, error, status=PaymentStatus.FAILED)
        ref = Ref(self.connection, text(error, "lago_invoice_id"))
        customer_id = text_or_none(error, "external_customer_id")
        code = _failure_code(error)
        if code == _NO_PROVIDER:
            return [CollectionRequested(ref=ref, customer_id=customer_id)]
        provider = text_or_none(error, "payment_provider")
        failed = EngineCollectionFailed(ref=ref, customer_id=customer_id, provider=provider, code=code)
        return [failed, Refetch(kind="invoice", id=ref.id)]

    def _credit_note(self, webhook_type: str, envelope: Json) -> Sequence[Event | Refetch]:
        match webhook_type:
            case "credit_note.created":
                return [mapping.credit_note(self.connection, _object(envelope))]
            case "credit_note.refund_failure" | "credit_note.provider_refund_failure":
                return [Refetch(kind="credit_note", id=text(_object(envelope), "lago_credit_note_id"))]
            case _:
                return []


def _parsed(body: bytes) -> Json | None:
    try:
        envelope: object = loads(body)
    except (ValueError, RecursionError):
        return None
    return envelope if isinstance(envelope, dict) else None


def _object(envelope: Json) -> Json:
    """Return the object of a webhook: under the key that ``object_type`` names, else what the type begins with."""
    named = text_or_none(envelope, "object_type")
    key = named if named in envelope else text(envelope, "webhook_type").partition(".")[0]
    return obj(envelope, key or "object_type")


def _failure_code(error: Json) -> str | None:
    """Return the reason; Lago has put it in either of two places, depending on the release and the provider."""
    for key, name in (("error_details", "code"), ("provider_error", "error_code")):
        details = error.get(key)
        if isinstance(details, dict) and isinstance(details.get(name), str):
            return str(details[name])
    return None


def _content_key(digest: str, envelope: Json | None, *, now: datetime) -> str | None:
    """Return the second key by which a delivery is known.

    Lago can send one event under two unique keys, so equal bodies are one delivery, as long as the body changes
    whenever the thing does. Two kinds do not: a subscription has no time of its own, so scheduling an end, taking it
    back and scheduling it again sends the same bytes twice and both count (hearing an update twice is harmless). An
    error (``invoice.payment_failure``) is the same every time the card is declined: it counts once in ten minutes.
    """
    if envelope is None or envelope.get("webhook_type") == "subscription.updated":
        return digest if envelope is None else None
    thing = envelope.get(str(envelope.get("object_type")))
    nested = thing.get("invoice") if isinstance(thing, dict) else None
    dated = any(isinstance(part, dict) and part.get("updated_at") for part in (thing, nested))
    if dated or str(envelope.get("webhook_type")).startswith("subscription."):
        return digest
    return f"{digest}-{int(now.timestamp()) // _SAME_SECONDS}"
