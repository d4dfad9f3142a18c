"""What Dodo delivers to ``POST /webhooks/<connection>``: Standard Webhooks signatures, whole objects as payload."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from billhook.events import Event, Refetch, RefundChanged
from billhook.hookspecs import ConnectionContext
from billhook.provider import Delivery, ProviderInfo, ReconcilePage, ReconcileWindow, WebhookRequest
from billhook.signing import StandardWebhooks

from .client import DodoApi, connect, readable
from .config import DodoConfig
from .facts import Reader
from .listing import pages_of
from .payloads import Json, instant, parsed, record, records, text
from .traits import INFO

_NO_EVENT = "payment.refunded"  # never sent by Dodo, asked for by people: an alias for refund.succeeded


class DodoWebhooks:
    """The webhook source of one connection. ``verify`` and ``parse`` are pure; only ``refetch`` calls Dodo."""

    info: ProviderInfo = INFO

    def __init__(
        self, connection: str, *, api: DodoApi, signatures: StandardWebhooks, reader: Reader
    ) -> None:
        self.connection = connection
        self._api = api
        self._signatures = signatures
        self._reader = reader

    @classmethod
    def connect(cls, context: ConnectionContext) -> DodoWebhooks:
        """Return the source for one connection; calls nobody."""
        config = context.config(DodoConfig)
        return cls(
            context.name,
            api=connect(context),
            signatures=StandardWebhooks([secret.get_secret_value() for secret in config.webhook_secret]),
            reader=reader_of(context),
        )

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Check the signature over the raw body; raises :class:`~billhook.errors.SignatureInvalid`.

        The key joins Dodo's id with a hash of the body: the payload is the object's state at the time of the attempt,
        so the same id may come again with something newer, and that must not be taken for a repetition.
        """
        webhook_id = self._signatures.verify(request.body, request.headers, now=now)
        digest = hashlib.sha256(request.body).hexdigest()[:32]
        return Delivery(key=f"{webhook_id}:{digest}", type=_type_of(request.body))

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """Say what the body means; a type that tells nothing about money (licences, payouts, new ones): nothing.

        :raises PayloadInvalid: naming the key that cannot be read.
        """
        envelope = parsed(body)
        kind = text(envelope, "type")
        sent_at = instant(envelope, "timestamp")
        match kind.partition(".")[0]:
            case "payment" if kind == _NO_EVENT:
                return self._refunded(record(envelope, "data"), sent_at)
            case "payment":
                return self._reader.payment(record(envelope, "data"), sent_at=sent_at)
            case "refund":
                return [self._reader.refund(record(envelope, "data"), sent_at=sent_at)]
            case "dispute":
                return self._reader.dispute(record(envelope, "data"), sent_at=sent_at)
            case "subscription":
                return self._reader.mandate(record(envelope, "data"), sent_at=sent_at)
            case _:
                return []

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Fetch a payment (with its refunds when the hint ``refunds`` is there), a refund, a dispute or a mandate.

        All but a payment come without the time of their last change: what is said of them holds now, undated.

        :raises ProviderError: Dodo could not be asked.   :raises NotFound: it does not know the thing.
        """
        match thing.kind:
            case "payment":
                return self._payment(thing)
            case "refund":
                refund = self._api.get("refunds", thing.id)
                with readable(f"refund {thing.id}"):
                    facts: Sequence[Event] = [self._reader.refund(refund, sent_at=None)]
            case "dispute":
                dispute = self._api.get("disputes", thing.id)
                with readable(f"dispute {thing.id}"):
                    facts = self._reader.dispute(dispute, sent_at=None)
            case "mandate":
                mandate = self._api.get("subscriptions", thing.id)
                with readable(f"subscription {thing.id}"):
                    facts = self._reader.mandate(mandate, sent_at=None)
            case _:
                raise ValueError(f"Dodo has no {thing.kind} to fetch")
        return [replace(fact, at=None) for fact in facts]

    def reconcile(self, window: ReconcileWindow) -> Iterator[ReconcilePage]:
        """List what Dodo holds; see :mod:`billhook_dodo.listing`."""
        return pages_of(self._api, self._reader, window)

    def _payment(self, thing: Refetch) -> Sequence[Event]:
        payment = self._api.get("payments", thing.id)
        with readable(f"payment {thing.id}"):
            facts: list[Event] = [*self._reader.payment(payment, sent_at=None)]
            if "refunds" in thing.hints:
                facts += self._refunds_of(payment, sent_at=None) or self._listed_refunds(thing.id, payment)
        return facts

    def _refunded(self, payment: Json, sent_at: datetime | None) -> Sequence[Event | Refetch]:
        refunds = self._refunds_of(payment, sent_at=sent_at)
        if not refunds:
            return [Refetch(kind="payment", id=text(payment, "payment_id"), hints={"refunds": "1"})]
        return [*self._reader.payment(payment, sent_at=sent_at), *refunds]

    def _refunds_of(self, payment: Json, *, sent_at: datetime | None) -> list[RefundChanged]:
        return [
            self._reader.refund(refund, sent_at=sent_at)
            for refund in records(payment, "refunds")
            if refund.get("refund_id")
        ]

    def _listed_refunds(self, payment_id: str, payment: Json) -> list[RefundChanged]:
        """Look through the refunds since the payment was made: Dodo has no filter by payment."""
        paid_at = instant(payment, "created_at")
        since = {"created_at_gte": paid_at.isoformat()} if paid_at else {}
        return [
            self._reader.refund(row, sent_at=None)
            for row in self._api.pages("refunds", params=since)
            if row.get("payment_id") == payment_id
        ]


def reader_of(context: ConnectionContext) -> Reader:
    """Return what reads Dodo's objects in this connection's tax mode."""
    config = context.config(DodoConfig)
    return Reader(
        connection=context.name,
        tax_mode=config.tax_mode,
        rdr_is_refund=config.rapid_disputes == "credit_note",
    )


def _type_of(body: bytes) -> str:
    """Return the envelope's type, for people to read; a body that has none is stored all the same."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    kind = envelope.get("type") if isinstance(envelope, dict) else None
    return kind[:100] if isinstance(kind, str) else ""
