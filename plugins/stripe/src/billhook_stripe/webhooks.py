"""What Stripe delivers to ``POST /webhooks/<connection>``: snapshot events with the object in them, or thin events that name it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from billhook.errors import NotFound, PayloadInvalid, SignatureInvalid
from billhook.events import Event, Refetch
from billhook.hookspecs import ConnectionContext
from billhook.provider import Delivery, ProviderInfo, ReconcilePage, ReconcileWindow, WebhookRequest

from .client import StripeApi, connect, plain, readable
from .config import StripeConfig
from .facts import Reader
from .listing import pages_of
from .payloads import Json, instant, maybe_record, parsed, record, text
from .signature import HEADER, StripeSignatures
from .traits import INFO

_THIN: Final = "v2.core.event"
_THING_NAMES = {
    "payment_intent": "payment",
    "refund": "refund",
    "dispute": "dispute",
    "setup_intent": "setup",
    "payment_method": "method",
    "mandate": "permission",
    "charge": "charge",
}
"""What a :class:`Refetch` calls a kind of Stripe's objects."""
_MAY_BE_GONE: Final = "may_be_gone"  # what the delivery itself said counts all the same
_ID = re.compile(r"[A-Za-z0-9_]{1,255}")


class StripeWebhooks:
    """The webhook source of one connection. ``verify`` and ``parse`` are pure; only ``refetch`` calls Stripe."""

    info: ProviderInfo = INFO

    def __init__(self, connection: str, *, api: StripeApi, signatures: StripeSignatures, live: bool) -> None:
        self.connection = connection
        self._api = api
        self._signatures = signatures
        self._live = live
        self._reader = Reader(connection=connection)

    @classmethod
    def connect(cls, context: ConnectionContext) -> StripeWebhooks:
        """Return the source for one connection; calls nobody."""
        config = context.config(StripeConfig)
        return cls(
            context.name,
            api=connect(context),
            signatures=StripeSignatures([secret.get_secret_value() for secret in config.webhook_secret]),
            live=config.live,
        )

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Check the signature over the raw body; raises :class:`~billhook.errors.SignatureInvalid`.

        A repetition has the same event id under a new signature. A thin event names the snapshot of the same change, so
        an endpoint of either kind beside the other is no second delivery.
        """
        self._signatures.verify(request.body, request.headers.get(HEADER), now=now)
        event = _glance(request.body)
        ref, snapshot = event.get("id"), event.get("snapshot_event")
        if not isinstance(ref, str) or not _ID.fullmatch(ref):
            raise SignatureInvalid("the signed body is no event: it has no id")
        known = snapshot if isinstance(snapshot, str) and _ID.fullmatch(snapshot) else ref
        kind = event.get("type")
        return Delivery(key=ref, content_key=known, type=kind[:100] if isinstance(kind, str) else "")

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """Say what the body means; a type that tells nothing about money (balances, products, new ones): nothing.

        :raises PayloadInvalid: naming the key that cannot be read, or that the event is of the other mode.
        """
        event = parsed(body)
        kind = text(event, "type")
        if event.get("object") == _THIN:
            return self._thin(event)
        self._check_mode(event)
        if not _tells(kind):
            return []
        return self.told(event)

    def told(self, event: Json) -> Sequence[Event | Refetch]:
        """Return what a snapshot event says; raises :class:`~billhook.errors.PayloadInvalid`."""
        kind, data = text(event, "type"), record(event, "data")
        thing, at = record(data, "object"), instant(event, "created")
        match kind:
            case "charge.refunded":
                return [Refetch(kind="charge", id=text(thing, "id"))]
            case "charge.refund.updated":
                return self._reader.refund(thing, at=at)
            case "mandate.updated":
                return self._reader.permission(thing, at=at)
            case "setup_intent.succeeded":
                return self._reader.set_up(thing, at=at)
            case "payment_intent.succeeded":
                # The event only names the card that paid; the invoice's page shows it.
                more = Refetch(kind="payment", id=text(thing, "id"), hints={_MAY_BE_GONE: "1"})
                return [*self._reader.payment(thing, at=at), more]
            case _ if kind.startswith("payment_intent."):
                return self._reader.payment(thing, at=at)
            case _ if kind.startswith("refund."):
                return self._reader.refund(thing, at=at)
            case _ if kind.startswith("charge.dispute."):
                return self._reader.dispute(thing, at=at)
            case _ if kind.startswith("payment_method."):
                return self._reader.saved(thing, before=maybe_record(data, "previous_attributes"), at=at)
            case _:
                return []

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Fetch a payment, refund, dispute, set-up, saved method or mandate, or the refunds of a charge, as they are now.

        :raises ProviderError: Stripe could not be asked.   :raises NotFound: it does not know the thing.
        """
        try:
            with self._api.answers(), readable(f"{thing.kind} {thing.id}"):
                return [replace(fact, at=None) for fact in self._fetched(thing)]
        except NotFound:
            if _MAY_BE_GONE in thing.hints:
                return []
            raise

    def reconcile(self, window: ReconcileWindow) -> Iterator[ReconcilePage]:
        """List what Stripe holds; see :mod:`billhook_stripe.listing`."""
        return pages_of(self._api, self._reader, self.told, window)

    def _fetched(self, thing: Refetch) -> Sequence[Event]:
        v1, read = self._api.v1, self._reader
        match thing.kind:
            case "payment":
                expand = ["payment_method", "latest_charge"]
                found = v1.payment_intents.retrieve(thing.id, {"expand": expand})
                return read.payment(plain(found), at=None)
            case "refund":
                return read.refund(plain(v1.refunds.retrieve(thing.id)), at=None)
            case "dispute":
                return read.dispute(plain(v1.disputes.retrieve(thing.id)), at=None)
            case "setup":
                setup = v1.setup_intents.retrieve(thing.id, {"expand": ["payment_method"]})
                return read.set_up(plain(setup), at=None)
            case "method":
                return read.saved(plain(v1.payment_methods.retrieve(thing.id)), before={}, at=None)
            case "permission":
                return read.permission(plain(v1.mandates.retrieve(thing.id)), at=None)
            case "charge":
                page = v1.refunds.list({"charge": thing.id, "limit": 100})
                return [fact for row in page.auto_paging_iter() for fact in read.refund(plain(row), at=None)]
            case _:
                raise ValueError(f"Stripe has no {thing.kind} to fetch")

    def _thin(self, event: Json) -> Sequence[Refetch]:
        self._check_mode(event)
        related = maybe_record(event, "related_object")
        kind = _THING_NAMES.get(related.get("type") or "") if isinstance(related.get("type"), str) else None
        if kind is None or not _tells(text(event, "type").removeprefix("v1.")):
            return []
        return [Refetch(kind=kind, id=text(related, "id"))]

    def _check_mode(self, event: Json) -> None:
        if event.get("livemode") is not self._live:
            mode = "live" if self._live else "test"
            raise PayloadInvalid(
                f"livemode: the event is of another mode than the API key's, which is {mode}"
            )


def _tells(kind: str) -> bool:
    """Say whether an event of this type may say something about money or a saved method."""
    if kind.startswith(("payment_intent.", "refund.", "charge.dispute.", "payment_method.")):
        return True
    return kind in ("charge.refunded", "charge.refund.updated", "mandate.updated", "setup_intent.succeeded")


def _glance(body: bytes) -> Json:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise SignatureInvalid("the signed body is no event: it is not JSON") from None
    return event if isinstance(event, dict) else {}
