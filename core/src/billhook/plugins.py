"""Installed plugins: found by entry point, loaded one by one, so that a broken one costs only itself.

``load_plugins`` looks at every entry point of the group ``billhook`` but imports only those that are wanted. What is
wrong with a plugin becomes its :class:`PluginState`; the others go on.
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar, cast

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from billhook.config import ConnectionConfig
from billhook.effects import Effect
from billhook.events import Event
from billhook.hookspecs import API_VERSION, ENTRY_POINT_GROUP, ConnectionContext, HookSpecs, hookimpl
from billhook.model import Snapshot
from billhook.notifier import NotificationChannel
from billhook.policy import AccessPolicy, PolicyContext, RulesPolicy
from billhook.provider import BillingEngine, PaymentProvider, WebhookSource

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds that foreign code is waited for: its import and each connection at start-up, and one ``effects_for``."""

    startup: float = 20.0
    effects: float = 5.0


PATIENCE = Patience()


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what ``ask`` returns, or raise what it raises; TimeoutError when it does not answer in time.

    It runs in a thread of its own, and one that hangs stays behind: Python cannot end it from outside.
    """
    answers: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as exc:  # noqa: BLE001 - handed over, and raised again below
            raised.append(exc)

    thread = threading.Thread(target=run, name="billhook-asks-plugin", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not answers:
        raise TimeoutError(f"it did not answer in {seconds:g} s")
    return answers[0]


class PluginStatus(StrEnum):
    """What became of a plugin."""

    ENABLED = "enabled"
    AVAILABLE = "available"  # installed, not asked for
    DENIED = "denied"  # installed, and on the deny list
    INCOMPATIBLE = "incompatible"  # written for another version of the contract
    ERROR = "error"  # its import or its hooks failed
    MISSING = "missing"  # asked for, not installed


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginState:
    """A plugin as ``billhook plugins list`` shows it. ``reason`` says what is wrong and what to do."""

    name: str
    status: PluginStatus
    distribution: str | None = None
    version: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An entry point, with where it comes from."""

    name: str
    load: Callable[[], Any]
    distribution: str | None = None
    version: str | None = None


def installed_plugins() -> tuple[Installed, ...]:
    """Return every plugin installed in this environment, without importing any."""
    points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    return tuple(
        Installed(
            name=point.name,
            load=point.load,
            distribution=point.dist.name if point.dist else None,
            version=point.dist.version if point.dist else None,
        )
        for point in sorted(points, key=lambda point: point.name)
    )


class Registry:
    """The loaded plugins and what became of all installed ones."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self.patience = patience
        self._manager = pluggy.PluginManager("billhook")
        self._manager.add_hookspecs(HookSpecs)
        self._states: dict[str, PluginState] = {}
        self._essential: set[str] = set()

    def states(self) -> tuple[PluginState, ...]:
        """Return the state of every plugin that is installed or was asked for, by name."""
        return tuple(self._states[name] for name in sorted(self._states))

    def state(self, name: str) -> PluginState | None:
        """Return the state of one plugin; None: neither installed nor asked for."""
        return self._states.get(name)

    def note(self, state: PluginState) -> None:
        """Remember what became of a plugin."""
        self._states[state.name] = state

    def register(self, plugin: object, name: str, *, essential: bool = False) -> None:
        """Add a plugin object: one that comes with the host, or a test's.

        An ``essential`` one is never put out: when it raises, the fact at hand fails and is tried again, because
        going on without it would lose what it had to plan.
        """
        self._manager.register(plugin, name)
        if essential:
            self._essential.add(name)
        self._manager.check_pending()
        self.note(PluginState(name=name, status=PluginStatus.ENABLED))

    def load(self, installed: Installed) -> None:
        """Import and register one installed plugin; what goes wrong ends up in its state."""
        found = PluginState(
            name=installed.name,
            status=PluginStatus.ENABLED,
            distribution=installed.distribution,
            version=installed.version,
        )
        try:
            module, refusal = within(self.patience.startup, lambda: _imported(installed))
            if refusal is None:
                hash(module)  # pluggy keeps plugins in sets: an unhashable one would break the calls to all
                self._manager.register(module, installed.name)
                self._manager.check_pending()  # a misspelt hook name would never be called
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - foreign code: whatever it raises must cost only itself
            self._put_out(found, PluginStatus.ERROR, f"{type(exc).__name__}: {exc}")
            log.warning("plugin.failed name=%s error=%s", installed.name, type(exc).__name__)
            return
        if refusal is not None:
            self._put_out(found, PluginStatus.INCOMPATIBLE, refusal)
            return
        self.note(found)

    def _put_out(self, found: PluginState, status: PluginStatus, reason: str) -> None:
        if self._manager.has_plugin(found.name):
            self._manager.unregister(name=found.name)
        self.note(
            PluginState(
                name=found.name,
                status=status,
                distribution=found.distribution,
                version=found.version,
                reason=reason,
            )
        )

    def quarantine(self, name: str, reason: str) -> None:
        """Take a loaded plugin out, for instance because a hook of it raised."""
        self._put_out(self._states[name], PluginStatus.ERROR, reason)

    def config_class(self, name: str) -> type[ConnectionConfig] | None:
        """Return what a connection of the plugin can be told; None when it takes no settings."""
        config: type[ConnectionConfig] | None = self._only(name, "connection_config")()
        return config

    def sandbox_factory(self, name: str) -> Any:
        """Return the plugin's ``sandbox`` hook, bound to that plugin alone."""
        return self._only(name, "sandbox")

    def payment_providers(self, name: str, context: ConnectionContext) -> tuple[PaymentProvider, ...]:
        """Make one connection's payment providers."""
        return self._objects(name, "payment_providers", context, PaymentProvider)  # type: ignore[type-abstract]  # protocol as a runtime check

    def billing_engines(self, name: str, context: ConnectionContext) -> tuple[BillingEngine, ...]:
        """Make one connection's billing engines."""
        return self._objects(name, "billing_engines", context, BillingEngine)  # type: ignore[type-abstract]  # protocol as a runtime check

    def webhook_sources(self, name: str, context: ConnectionContext) -> tuple[WebhookSource, ...]:
        """Make one connection's webhook sources."""
        return self._objects(name, "webhook_sources", context, WebhookSource)  # type: ignore[type-abstract]  # protocol as a runtime check

    def notification_channels(self, name: str, context: ConnectionContext) -> tuple[NotificationChannel, ...]:
        """Make one connection's notification channels."""
        return self._objects(name, "notification_channels", context, NotificationChannel)  # type: ignore[type-abstract]  # protocol as a runtime check

    def access_policies(self, context: PolicyContext) -> dict[str, AccessPolicy]:
        """Make the access policies of every plugin, by name. A plugin that raises or hangs is put out."""
        policies: dict[str, AccessPolicy] = {}
        names = (str(self._manager.get_name(plugin)) for plugin in self._manager.get_plugins())
        for name in sorted(names, key=lambda each: (each not in self._essential, each)):
            try:
                found = within(self.patience.startup, partial(self._policies_of, name, context))
                taken = next((each.name for each in found if each.name in policies), None)
                if taken is not None:
                    raise ValueError(f"the policy name {taken!r} is taken; choose another")
            except Exception as exc:
                if name in self._essential:
                    raise
                log.warning("plugin.failed name=%s hook=access_policies", name)
                self.quarantine(name, f"access_policies raised {type(exc).__name__}: {exc}")
                continue
            policies |= {each.name: each for each in found}
        return policies

    def _policies_of(self, name: str, context: PolicyContext) -> tuple[AccessPolicy, ...]:
        return self._objects(name, "access_policies", context, AccessPolicy)  # type: ignore[type-abstract]  # protocol as a runtime check

    def effects_for(self, event: Event, snapshot: Snapshot) -> tuple[Effect, ...]:
        """Ask every plugin what a fact calls for. One that raises or hangs is put out; the others are still asked."""
        effects: list[Effect] = []
        for implementation in self._manager.hook.effects_for.get_hookimpls():
            name = implementation.plugin_name
            try:
                ask = partial(_effects_of, implementation, event, snapshot)
                effects += ask() if name in self._essential else within(self.patience.effects, ask)
            except Exception as exc:
                if name in self._essential:
                    raise
                log.warning("plugin.failed name=%s hook=effects_for", name)
                self.quarantine(name, f"effects_for raised {type(exc).__name__}: {exc}")
        return tuple(effects)

    def _only(self, name: str, hook: str) -> Any:
        others = [plugin for plugin in self._manager.get_plugins() if self._manager.get_name(plugin) != name]
        return self._manager.subset_hook_caller(hook, others)

    def _objects(
        self, name: str, hook: str, context: ConnectionContext | PolicyContext, kind: type[T]
    ) -> tuple[T, ...]:
        made: Sequence[Iterable[object]] = self._only(name, hook)(context=context)
        objects = [each for batch in made for each in batch]
        for each in objects:
            if not isinstance(each, kind):
                raise TypeError(
                    f"{hook} of plugin {name} gave {type(each).__name__}, which is no {kind.__name__}"
                )
        return tuple(each for each in objects if isinstance(each, kind))


class BuiltinPolicies:
    """The access policies that come with Billhook, registered like any plugin's."""

    @hookimpl
    def access_policies(self, context: PolicyContext) -> Iterable[AccessPolicy]:
        """Offer the rules."""
        return [RulesPolicy(context.document)]


def _effects_of(implementation: pluggy.HookImpl, event: Event, snapshot: Snapshot) -> tuple[Effect, ...]:
    """Call one implementation with the arguments it names, in its order, as pluggy does; None means none."""
    given: dict[str, object] = {"event": event, "snapshot": snapshot}
    ask = cast(Callable[..., Iterable[object] | None], implementation.function)
    planned = tuple(ask(*(given[name] for name in implementation.argnames)) or ())
    strange = next((each for each in planned if not isinstance(each, Effect)), None)
    if strange is not None:
        raise TypeError(f"it gave {type(strange).__name__}, which is no effect")
    return cast(tuple[Effect, ...], planned)


def _imported(installed: Installed) -> tuple[Any, str | None]:
    module = installed.load()
    return module, _incompatible(module)


def _incompatible(module: object) -> str | None:
    wanted = getattr(module, "BILLHOOK_API", None)
    if wanted is None:
        return (
            f'It does not say which contract it needs; add BILLHOOK_API = ">={API_VERSION},<2" to the module.'
        )
    try:
        fits = Version(API_VERSION) in SpecifierSet(str(wanted))
    except InvalidSpecifier:
        return f'BILLHOOK_API = {wanted!r} is no version range; write ">={API_VERSION},<2".'
    if not fits:
        return f"It needs contract {wanted}; this host offers {API_VERSION}. Install matching versions."
    return None


def load_plugins(
    wanted: Collection[str],
    *,
    denied: Collection[str] = (),
    installed: Iterable[Installed] | None = None,
    patience: Patience = PATIENCE,
) -> Registry:
    """Load the wanted plugins and note what became of every installed one."""
    registry = Registry(patience)
    found = tuple(installed_plugins() if installed is None else installed)
    for plugin in found:
        twins = [other.distribution for other in found if other.name == plugin.name]
        if len(twins) > 1:
            reason = f"Installed twice: by {' and '.join(str(twin) for twin in twins)}. Remove one."
            registry.note(_state(plugin, PluginStatus.ERROR, reason))
        elif plugin.name in denied:
            registry.note(
                _state(plugin, PluginStatus.DENIED, "It is on the deny list (BILLHOOK_PLUGINS_DENY).")
            )
        elif plugin.name not in wanted:
            registry.note(_state(plugin, PluginStatus.AVAILABLE, None))
        else:
            registry.load(plugin)
    for name in sorted(set(wanted) - {plugin.name for plugin in found}):
        reason = f"Not installed; pip install billhook-{name}, or remove it from BILLHOOK_CONNECTIONS."
        registry.note(PluginState(name=name, status=PluginStatus.MISSING, reason=reason))
    return registry


def _state(plugin: Installed, status: PluginStatus, reason: str | None) -> PluginState:
    return PluginState(
        name=plugin.name,
        status=status,
        distribution=plugin.distribution,
        version=plugin.version,
        reason=reason,
    )
