"""The connections of this host: which plugin serves which name, and how things of one are found from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from billhook.config import ConnectionConfig
from billhook.errors import NotFound
from billhook.model import Ref
from billhook.notifier import NotificationChannel
from billhook.provider import BillingEngine, PaymentProvider, WebhookSource

INVOICE_KEY = "billhook_invoice"
CUSTOMER_KEY = "billhook_customer"
ATTEMPT_KEY = "billhook_key"
CREDIT_NOTE_KEY = "billhook_credit_note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One configured use of a plugin and what it offers. ``problem`` set: its plugin is out, nothing works."""

    name: str
    plugin: str
    settings: ConnectionConfig | None = None
    source: WebhookSource | None = None
    engine: BillingEngine | None = None
    provider: PaymentProvider | None = None
    channel: NotificationChannel | None = None
    problem: str | None = None


class Connections:
    """All connections, in the order they were configured."""

    def __init__(self, connections: tuple[Connection, ...]) -> None:
        self._connections = {connection.name: connection for connection in connections}

    def put(self, connection: Connection) -> None:
        """Put a connection in the place of the one of its name. Who holds parts of the old one ends its work with them."""
        self._connections = {**self._connections, connection.name: connection}

    def all(self) -> tuple[Connection, ...]:
        """Return every connection."""
        return tuple(self._connections.values())

    def get(self, name: str) -> Connection | None:
        """Return the connection of this name."""
        return self._connections.get(name)

    def source(self, name: str) -> WebhookSource:
        """Return what understands this connection's webhooks; raises :class:`NotFound`."""
        connection = self._connections.get(name)
        if connection is None or connection.source is None:
            raise NotFound(f"no connection {name!r} receives webhooks here")
        return connection.source

    def engine(self, name: str) -> BillingEngine:
        """Return a connection's billing engine; raises :class:`NotFound`."""
        connection = self._connections.get(name)
        if connection is None or connection.engine is None:
            raise NotFound(f"no billing engine is connected as {name!r}")
        return connection.engine

    def provider(self, name: str) -> PaymentProvider:
        """Return a connection's payment provider; raises :class:`NotFound`."""
        connection = self._connections.get(name)
        if connection is None or connection.provider is None:
            raise NotFound(f"no payment provider is connected as {name!r}")
        return connection.provider

    def channel(self, name: str) -> NotificationChannel:
        """Return a connection's notification channel; raises :class:`NotFound`."""
        connection = self._connections.get(name)
        if connection is None or connection.channel is None:
            raise NotFound(f"no notification channel is connected as {name!r}")
        return connection.channel

    def channels(self) -> tuple[Connection, ...]:
        """Return the connections that carry messages to customers; the first one is used."""
        return tuple(connection for connection in self.all() if connection.channel is not None)

    def engines(self) -> tuple[Connection, ...]:
        """Return the connections that own invoices."""
        return tuple(connection for connection in self.all() if connection.engine is not None)

    def collector(self) -> PaymentProvider | None:
        """Return the payment provider that collects: the first one configured."""
        return next((each.provider for each in self.all() if each.provider is not None), None)

    def metadata_for(
        self, invoice: Ref, *, number: str | None, customer_id: str | None, key: str
    ) -> dict[str, str]:
        """Return what is put on a payment so that its invoice is found again, by us and by people."""
        connection = self._connections.get(invoice.connection)
        plugin = connection.plugin if connection else invoice.connection
        metadata = {f"{plugin}_invoice_id": invoice.id, ATTEMPT_KEY: key, INVOICE_KEY: str(invoice)}
        if number:
            metadata[f"{plugin}_invoice_number"] = number
        if customer_id:
            metadata[CUSTOMER_KEY] = customer_id
        return metadata

    def invoice_of(self, metadata: Mapping[str, str]) -> Ref | None:
        """Find the invoice a payment's metadata names: by our own ref, else by ``<plugin>_invoice_id``."""
        ours = metadata.get(INVOICE_KEY, "")
        if ours.partition(":")[2]:
            return Ref.parse(ours)
        for connection in self.engines():
            invoice_id = metadata.get(f"{connection.plugin}_invoice_id")
            if invoice_id:
                return Ref(connection.name, invoice_id)
        return None

    def customer_of(self, metadata: Mapping[str, str]) -> str | None:
        """Find the customer that metadata names: by our own key, else by ``<plugin>_customer_id``."""
        names = [CUSTOMER_KEY, *(f"{connection.plugin}_customer_id" for connection in self.engines())]
        return next((metadata[name] for name in names if metadata.get(name)), None)
