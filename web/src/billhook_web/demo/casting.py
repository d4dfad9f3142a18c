"""Who plays whom: the installed plugins whose sandboxes can tell the story, found by entry point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from billhook.clock import Clock
from billhook.config import prefix_of
from billhook.hookspecs import ProviderSandbox
from billhook.plugins import Installed, PluginStatus, Registry, installed_plugins, load_plugins
from billhook.testing.story import EngineStory, KeepingStory, PaymentStory

log = structlog.get_logger(__name__)
S = TypeVar("S", covariant=True)

_NOBODY = "No installed plugin has a sandbox that can play the {role}. Install one: pip install 'billhook-<name>[sandbox]'."


class NobodyToPlay(Exception):
    """A role cannot be filled; the message says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role(Generic[S]):
    """One sandbox in the story. ``name`` is the plugin's, and the connection's."""

    name: str
    sandbox: ProviderSandbox
    story: S

    @property
    def mount(self) -> str:
        """Return the path the sandbox is served under."""
        return mount_of(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Both roles, and the payment providers that only stand by."""

    engine: Role[EngineStory]
    payment: Role[PaymentStory]
    beside: tuple[Role[PaymentStory], ...] = ()

    @property
    def roles(self) -> tuple[Role[EngineStory | PaymentStory], ...]:
        """Return everybody, the billing engine first, then who collects."""
        return self.engine, self.payment, *self.beside

    @property
    def keeper(self) -> str | None:
        """Return the first payment provider whose customers keep payment methods in our pages; None: there is none."""
        payments = (self.payment, *self.beside)
        return next((role.name for role in payments if isinstance(role.story, KeepingStory)), None)

    def environment(self, url: str) -> dict[str, str]:
        """Return what a host needs to be told to be connected to all."""
        env = {"BILLHOOK_CONNECTIONS": ",".join(role.name for role in self.roles)}
        for role in self.roles:
            fields: Mapping[str, str] = role.sandbox.environment(f"{url}{role.mount}")
            env |= {f"{prefix_of(role.name)}_{field}": value for field, value in fields.items()}
        return env


def find_cast(
    installed: Iterable[Installed] | None, *, clock: Clock, url: str, payer: str | None = None
) -> Cast:
    """Return the first plugin for each role, in the order of their names.

    :param installed: None: what is installed in this environment.    :param url: where host and sandboxes are served.
    :param payer: the payment provider that collects; None: the first.
    :raises NobodyToPlay: a role stays empty.
    """
    found = tuple(installed_plugins() if installed is None else installed)
    registry = load_plugins({plugin.name for plugin in found}, installed=found)
    engine: Role[EngineStory] | None = None
    payments: list[Role[PaymentStory]] = []
    for state in registry.states():
        if state.status is not PluginStatus.ENABLED:
            continue
        sandbox = _sandbox(registry, state.name, clock=clock, url=url)
        match getattr(sandbox, "story", None):
            case EngineStory() as story if engine is None and sandbox is not None:
                engine = Role(name=state.name, sandbox=sandbox, story=story)
            case PaymentStory() as story if sandbox is not None:
                payments.append(Role(name=state.name, sandbox=sandbox, story=story))
            case _:
                pass
    if engine is None or not payments:
        raise NobodyToPlay(_NOBODY.format(role="billing engine" if engine is None else "payment provider"))
    payments.sort(key=lambda role: role.name != payer)  # the order of names stays among the others
    return Cast(engine=engine, payment=payments[0], beside=tuple(payments[1:]))


def mount_of(name: str) -> str:
    """Return the path a plugin's sandbox is served under."""
    return f"/sandbox/{name}"


def _sandbox(registry: Registry, name: str, *, clock: Clock, url: str) -> ProviderSandbox | None:
    """Return a plugin's sandbox; None when it has none, or it cannot be made."""
    make = registry.sandbox_factory(name)
    try:
        sandbox: ProviderSandbox | None = make(clock=clock, webhook_url=f"{url}/webhooks/{name}", settings={})
    except Exception as exc:  # noqa: BLE001 - foreign code: another plugin may still play
        log.warning("sandbox.failed", plugin=name, error=type(exc).__name__)
        return None
    return sandbox
