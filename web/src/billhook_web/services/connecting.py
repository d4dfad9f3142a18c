"""Making the connections: their settings from everywhere they may be, then their plugin's objects.

Done for all at start-up, and again for one when its secrets change. Of one field the environment wins, then a mounted
file, then ``billhook.toml``, then what is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from pydantic import SecretStr

from billhook.clock import Clock
from billhook.config import MISSING, ConnectionConfig, load_connection, prefix_of, secrets_of, settings_of
from billhook.errors import ConfigInvalid, Problem
from billhook.hookspecs import ConnectionContext, ConnectionState, HttpClients
from billhook.notifier import NotificationChannel
from billhook.plugins import PluginStatus, Registry, within
from billhook.provider import BillingEngine, PaymentProvider, WebhookSource
from billhook_web.db import Database, DatabaseError
from billhook_web.sealing import VARIABLE
from billhook_web.services.connections import Connection, Connections
from billhook_web.services.hiding import Hider
from billhook_web.services.overlap import Overlap, falling_back
from billhook_web.services.vault import Opened, Vault
from billhook_web.settings import Configuration, ConnectionName
from billhook_web.stores import billing
from billhook_web.stores.secrets import StoredSecret

log = structlog.get_logger(__name__)

Mark = tuple[tuple[int, ...], tuple[str, ...]]
"""What a connection's secrets are at one moment, without showing any: the stored rows, digests of the mounted files."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """Makes connections. ``hide`` learns a secret before any plugin sees it."""

    configuration: Configuration
    registry: Registry
    clock: Clock
    http: HttpClients
    db: Database
    vault: Vault
    hide: Hider

    def all(self) -> tuple[Connections, Mapping[str, Mark]]:
        """Make every connection. A plugin that fails costs only its own connections.

        :raises ConfigInvalid: with every problem of every connection: missing plugins and settings that are not usable.
        """
        problems: list[Problem] = []
        made: list[Connection] = []
        stored, unread = self._stored()
        marks = {name.name: self.mark(name, stored) for name in self.configuration.connections}
        for name in self.configuration.connections:
            try:
                made.append(self._made_or_out(name, stored))
            except ConfigInvalid as exc:
                problems += exc.problems
        if problems:
            raise ConfigInvalid([*problems, *unread])
        return Connections(tuple(made)), marks

    def one(self, name: ConnectionName, stored: Sequence[StoredSecret]) -> Connection:
        """Make one connection; raises ConfigInvalid, and whatever its plugin raises."""
        opened = self.vault.opened(name.name, stored)
        self.hide.learn(opened.plain())
        settings = within(
            self.registry.patience.startup,
            partial(_settings, name, self.configuration, self.registry, opened.values),
        )
        self.hide.learn(secrets_of(settings))
        overlap = Overlap(db=self.db, clock=self.clock, connection=name.name)
        older = _older(settings, opened, overlap)
        context = ConnectionContext(
            name=name.name,
            settings=settings,
            clock=self.clock,
            http=falling_back(self.http, older),
            state=StoredState(self.db, name.name),
        )
        return within(self.registry.patience.startup, lambda: _offered(name, context, self.registry))

    def mark(self, name: ConnectionName, stored: Sequence[StoredSecret]) -> Mark:
        """Return what tells whether the connection's secrets changed."""
        ids = tuple(each.id for each in stored if each.connection == name.name)
        return ids, tuple(_digest(path) for path in self._mounted(name))

    def _mounted(self, name: ConnectionName) -> Sequence[str]:
        """Return the files that variables of this connection name. Its plugin is not asked: it may hang."""
        mine = f"{prefix_of(name.name)}_"
        others = [f"{prefix_of(each.name)}_" for each in self.configuration.connections]
        longer = tuple(other for other in others if other.startswith(mine) and other != mine)
        return [
            path.strip()
            for variable, path in sorted(self.configuration.env.items())
            if variable.startswith(mine) and variable.endswith("_FILE") and not variable.startswith(longer)
        ]

    def _made_or_out(self, name: ConnectionName, stored: Sequence[StoredSecret]) -> Connection:
        state = self.registry.state(name.plugin)
        if state is not None and state.status not in (PluginStatus.ENABLED, PluginStatus.MISSING):
            return Connection(name=name.name, plugin=name.plugin, problem=state.reason)
        try:
            return self.one(name, stored)
        except ConfigInvalid:
            raise
        except Exception as exc:  # noqa: BLE001 - foreign code: whatever it raises must cost only its own connections
            reason = self.hide(f"{type(exc).__name__}: {exc}")
            self.registry.quarantine(name.plugin, reason)
            log.warning("connection.failed", connection=name.name, error=type(exc).__name__)
            return Connection(name=name.name, plugin=name.plugin, problem=reason)

    def is_enabled(self, name: ConnectionName) -> bool:
        """Whether the connection's plugin works."""
        state = self.registry.state(name.plugin)
        return state is not None and state.status is PluginStatus.ENABLED

    def _stored(self) -> tuple[Sequence[StoredSecret], list[Problem]]:
        """Return what is stored. A database without tables has nothing; of one that is down a problem tells."""
        try:
            return self.vault.in_force(), []
        except DatabaseError as exc:
            log.info("secrets.not_read", error=type(exc).__name__)
        if not self.configuration.host.secret_key:
            return (), []
        what = "could not be read, so stored secrets are missing."
        return (), [
            Problem("BILLHOOK_DATABASE_URL", what, "Check that it runs, or run 'billhook db upgrade'.")
        ]


def connection_problems(configuration: Configuration, registry: Registry) -> list[Problem]:
    """Return what is wrong with the connections' settings; a plugin that is out of order is not a matter of those.

    The database is not asked. So where there is a key for stored secrets, no secret is said to be missing.
    """
    sealed = any(configuration.env.get(variable, "").strip() for variable in (VARIABLE, f"{VARIABLE}_FILE"))
    problems: list[Problem] = []
    for name in configuration.connections:
        state = registry.state(name.plugin)
        if state is not None and state.status not in (PluginStatus.ENABLED, PluginStatus.MISSING):
            continue
        config = registry.config_class(name.plugin) or ConnectionConfig
        stored = (
            {each.variable for each in settings_of(config, name.name) if each.secret} if sealed else set()
        )
        found = problems_of(name, configuration, registry, {})
        problems += [each for each in found if each.what != MISSING or each.where not in stored]
    return problems


def problems_of(
    name: ConnectionName,
    configuration: Configuration,
    registry: Registry,
    stored: Mapping[str, Sequence[str]],
) -> list[Problem]:
    """Return what is wrong with one connection's settings when ``stored`` is what the database holds of each field."""
    try:
        within(registry.patience.startup, partial(_settings, name, configuration, registry, stored))
    except ConfigInvalid as exc:
        return list(exc.problems)
    except Exception as exc:  # noqa: BLE001 - foreign code: who asked stops anyway, and hears what else is wrong
        log.warning("connection.failed", connection=name.name, error=type(exc).__name__)
    return []


def _settings(
    name: ConnectionName,
    configuration: Configuration,
    registry: Registry,
    stored: Mapping[str, Sequence[str]],
) -> ConnectionConfig:
    state = registry.state(name.plugin)
    if state is None or state.status is PluginStatus.MISSING:
        reason = state.reason if state and state.reason else "It is not installed."
        raise ConfigInvalid([Problem("BILLHOOK_CONNECTIONS", f"names the plugin {name.plugin!r}.", reason)])
    config = registry.config_class(name.plugin) or ConnectionConfig
    known = {
        each.name: ",".join(stored[each.name] if each.several else stored[each.name][:1])
        for each in settings_of(config, name.name)
        if each.name in stored
    }
    table = {**known, **configuration.tables.get(name.name, {})}
    return load_connection(config, name.name, env=configuration.env, table=table)


def _older(
    settings: ConnectionConfig, opened: Opened, overlap: Overlap
) -> Mapping[str, tuple[str, Callable[[], None]]]:
    """Return, for each stored single secret that counts, the one before it and who is told when that was needed."""
    found: dict[str, tuple[str, Callable[[], None]]] = {}
    for field, until in opened.until.items():
        current, *before = opened.values[field]
        value = getattr(settings, field, None)
        if isinstance(value, SecretStr) and value.get_secret_value() == current and before:
            found[current] = (before[0], partial(overlap.needed, field, until))
    return found


def _offered(name: ConnectionName, context: ConnectionContext, registry: Registry) -> Connection:
    sources = registry.webhook_sources(name.plugin, context)
    engines = registry.billing_engines(name.plugin, context)
    providers = registry.payment_providers(name.plugin, context)
    channels = registry.notification_channels(name.plugin, context)
    if max(len(sources), len(engines), len(providers), len(channels)) > 1:
        raise TypeError(f"plugin {name.plugin} offers more than one object of a kind for one connection")
    parts: tuple[WebhookSource | BillingEngine | PaymentProvider | NotificationChannel, ...]
    parts = (*sources, *engines, *providers, *channels)
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
        channel=next(iter(channels), None),
    )


def _digest(path: str) -> str:
    """Return what changes with a mounted file's contents. Anything but a file can be read only once, so it stays."""
    file = Path(path)
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
    except OSError as exc:
        return f"unreadable: {exc.errno}"
