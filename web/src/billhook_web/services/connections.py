"""The connections of this host: which plugin serves which name, and how things of one are found from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from billhook.clock import Clock
from billhook.config import ConnectionConfig, load_connection, secrets_of
from billhook.errors import ConfigInvalid, NotFound, Problem
from billhook.hookspecs import ConnectionContext, ConnectionState, HttpClients
from billhook.http import redact
from billhook.model import Ref
from billhook.plugins import PluginStatus, Registry, within
from billhook.provider import BillingEngine, PaymentProvider, WebhookSource
from billhook_web.db import Database
from billhook_web.settings import Configuration, ConnectionName
from billhook_web.stores import billing

log = structlog.get_logger(__name__)

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
    problem: str | None = None


class Connections:
    """All connections, in the order they were configured."""

    def __init__(self, connections: tuple[Connection, ...]) -> None:
        self._connections = {connection.name: connection for connection in connections}

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


@dataclass(frozen=True, slots=True)
class StoredState(ConnectionState):
    """What a connection remembers, kept in the database."""

    db: Database
    connection: str

    def get(self, key: str) -> str | None:
        """Return what was remembered under ``key``."""
        with self.db.read() as tx:
            return billing.recall(tx, self.connection, key)

    def put(self, key: str, value: str) -> str:
        """Remember ``value`` unless something is; return what is remembered."""
        with self.db.begin() as tx:
            return billing.remember(tx, self.connection, key, value)


def connect(
    configuration: Configuration, registry: Registry, *, clock: Clock, http: HttpClients, db: Database
) -> Connections:
    """Make every connection. A plugin that fails costs only its own connections.

    :raises ConfigInvalid: with every problem of every connection: missing plugins and settings that are not usable.
    """
    problems: list[Problem] = []
    made: list[Connection] = []
    for name in configuration.connections:
        try:
            made.append(_connect(name, configuration, registry, clock=clock, http=http, db=db))
        except ConfigInvalid as exc:
            problems += exc.problems
    if problems:
        raise ConfigInvalid(problems)
    return Connections(tuple(made))


def _connect(
    name: ConnectionName, configuration: Configuration, registry: Registry,
    *, clock: Clock, http: HttpClients, db: Database,
) -> Connection:  # fmt: skip
    state = registry.state(name.plugin)
    if state is not None and state.status not in (PluginStatus.ENABLED, PluginStatus.MISSING):
        return Connection(name=name.name, plugin=name.plugin, problem=state.reason)
    settings: ConnectionConfig | None = None
    try:
        settings = within(registry.patience.startup, lambda: _settings(name, configuration, registry))
        context = ConnectionContext(
            name=name.name, settings=settings, clock=clock, http=http, state=StoredState(db, name.name)
        )
        return within(registry.patience.startup, lambda: _offered(name, context, registry))
    except ConfigInvalid:
        raise
    except Exception as exc:  # noqa: BLE001 - foreign code: whatever it raises must cost only its own connections
        reason = redact(f"{type(exc).__name__}: {exc}", secrets_of(settings) if settings else ())
        registry.quarantine(name.plugin, reason)
        log.warning("connection.failed", connection=name.name, error=type(exc).__name__)
        return Connection(name=name.name, plugin=name.plugin, settings=settings, problem=reason)


def _settings(name: ConnectionName, configuration: Configuration, registry: Registry) -> ConnectionConfig:
    state = registry.state(name.plugin)
    if state is None or state.status is PluginStatus.MISSING:
        reason = state.reason if state and state.reason else "It is not installed."
        raise ConfigInvalid([Problem("BILLHOOK_CONNECTIONS", f"names the plugin {name.plugin!r}.", reason)])
    config = registry.config_class(name.plugin) or ConnectionConfig
    return load_connection(
        config, name.name, env=configuration.env, table=configuration.tables.get(name.name)
    )


def connection_problems(configuration: Configuration, registry: Registry) -> list[Problem]:
    """Return what is wrong with the connections' settings; a plugin that is out of order is not a matter of those."""
    problems: list[Problem] = []
    for name in configuration.connections:
        state = registry.state(name.plugin)
        if state is not None and state.status not in (PluginStatus.ENABLED, PluginStatus.MISSING):
            continue
        try:
            within(registry.patience.startup, partial(_settings, name, configuration, registry))
        except ConfigInvalid as exc:
            problems += exc.problems
        except Exception as exc:  # noqa: BLE001 - foreign code: start-up stops anyway, and says what else is wrong
            log.warning("connection.failed", connection=name.name, error=type(exc).__name__)
    return problems


def _offered(name: ConnectionName, context: ConnectionContext, registry: Registry) -> Connection:
    sources = registry.webhook_sources(name.plugin, context)
    engines = registry.billing_engines(name.plugin, context)
    providers = registry.payment_providers(name.plugin, context)
    if max(len(sources), len(engines), len(providers)) > 1:
        raise TypeError(f"plugin {name.plugin} offers more than one object of a kind for one connection")
    parts: tuple[WebhookSource | BillingEngine | PaymentProvider, ...] = (*sources, *engines, *providers)
    astray = next((each for each in parts if each.connection != name.name), None)
    if astray is not None:
        raise TypeError(f"plugin {name.plugin} gave {type(astray).__name__} for another connection")
    return Connection(
        name=name.name,
        plugin=name.plugin,
        settings=context.settings,
        source=next(iter(sources), None),
        engine=next(iter(engines), None),
        provider=next(iter(providers), None),
    )


def all_secrets(connections: Connections) -> tuple[str, ...]:
    """Return every secret of every connection, for redaction."""
    return tuple(
        secret
        for connection in connections.all()
        if connection.settings is not None
        for secret in secrets_of(connection.settings)
    )
