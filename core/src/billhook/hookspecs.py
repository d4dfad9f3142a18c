"""All hooks, and what a plugin is given. One file: this is the whole contract between host and plugins.

A plugin is a module named by an entry point in the group ``billhook``. It says which contract it was written for::

    BILLHOOK_API = ">=1.0,<2"

and implements the hooks it needs with ``@hookimpl``. Hooks that return objects are called once for each *connection*
of the plugin, only on that plugin; ``effects_for`` and ``access_policies`` are called on all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import pluggy

from billhook.clock import Clock
from billhook.config import ConnectionConfig
from billhook.effects import Effect
from billhook.events import Event
from billhook.http import ApiClient, Timeouts
from billhook.model import Snapshot
from billhook.notifier import NotificationChannel
from billhook.policy import AccessPolicy, PolicyContext
from billhook.provider import BillingEngine, PaymentProvider, WebhookSource

API_VERSION = "1.0"
"""The version of this contract. A minor step adds, a major one may break."""

ENTRY_POINT_GROUP = "billhook"

hookspec = pluggy.HookspecMarker("billhook")
hookimpl = pluggy.HookimplMarker("billhook")


C = TypeVar("C", bound=ConnectionConfig)


class HttpClients(Protocol):
    """Makes API clients. The host hands one to plugins, so that tests can route calls to a sandbox in process."""

    def __call__(
        self,
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        secrets: Iterable[str],
        timeouts: Timeouts | None = None,
    ) -> ApiClient:
        """Return a pooled client for one provider's API."""
        ...


class ConnectionState(Protocol):
    """A few values a connection remembers over restarts (an id it created at the provider). Not for secrets."""

    def get(self, key: str) -> str | None:
        """Return what was remembered, or None."""
        ...

    def put(self, key: str, value: str) -> str:
        """Remember ``value`` unless something is remembered already; return what is remembered now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionContext:
    """One configured use of a plugin. ``name`` is the connection's; refs carry it."""

    name: str
    settings: ConnectionConfig
    clock: Clock
    http: HttpClients
    state: ConnectionState

    def config(self, expected: type[C]) -> C:
        """Return the settings as the plugin's own class; TypeError when they are another's."""
        if not isinstance(self.settings, expected):
            raise TypeError(
                f"connection {self.name} has {type(self.settings).__name__}, not {expected.__name__}"
            )
        return self.settings


@runtime_checkable
class ProviderSandbox(Protocol):
    """A stand-in for a provider that speaks its wire format; for tests, the demo and ``billhook sandbox``.

    One that also has an attribute ``story`` (see :mod:`billhook.testing.story`) can take a part in ``billhook demo``.
    """

    @property
    def wsgi(self) -> object:
        """The WSGI application."""
        ...

    def environment(self, base_url: str) -> Mapping[str, str]:
        """Return the settings a connection needs to talk to it, without prefix, when it is served at ``base_url``."""
        ...

    def deliver_webhooks(self) -> int:
        """Send every webhook that is due once; return how many were attempted."""
        ...

    def tick(self) -> int | None:
        """Do what is due by the clock: bill, mark overdue, end. Return how many things happened, if it counts."""
        ...


class HookSpecs:
    """The hooks. Each says when it is called."""

    @hookspec(firstresult=True)
    def connection_config(self) -> type[ConnectionConfig]:
        """Called at start-up, before anything is connected: what a connection of this plugin can be told.

        Example: ``return AcmeConfig``.

        .. versionadded:: 0.1
        """
        raise AssertionError("a specification is never called")

    @hookspec
    def payment_providers(self, context: ConnectionContext) -> Iterable[PaymentProvider]:
        """Called once per connection at start-up: the objects that collect money through it.

        Must not call the network: a provider that is down must not stop the host.

        :param context: the connection.
        .. versionadded:: 0.1
        """
        raise AssertionError("a specification is never called")

    @hookspec
    def billing_engines(self, context: ConnectionContext) -> Iterable[BillingEngine]:
        """Called once per connection at start-up: the objects that own plans, subscriptions and invoices.

        :param context: the connection. Must not call the network.
        .. versionadded:: 0.1
        """
        raise AssertionError("a specification is never called")

    @hookspec
    def webhook_sources(self, context: ConnectionContext) -> Iterable[WebhookSource]:
        """Called once per connection at start-up: what understands ``POST /webhooks/<connection>``. At most one.

        :param context: the connection. Must not call the network.
        .. versionadded:: 0.1
        """
        raise AssertionError("a specification is never called")

    @hookspec
    def notification_channels(self, context: ConnectionContext) -> Iterable[NotificationChannel]:
        """Called once per connection at start-up: what carries messages to customers, such as e-mail. At most one.

        Example: ``return [AcmeMail.connect(context)]``.

        :param context: the connection. Must not call the network.
        .. versionadded:: 0.1
        """
        raise AssertionError("a specification is never called")

    @hookspec
    def access_policies(self, context: PolicyContext) -> Iterable[AccessPolicy]:
        """Called once on every plugin at start-up: the policies that decide who may use the product.

        The built-in rules are one of them, named ``rules``. A name that is taken already puts the later plugin out.

        Example: ``return [GenerousPolicy(context.document)]``.

        :param context: gives the active rules, for a policy that builds on them. Must not call the network.
        .. versionadded:: 0.1
        """
        raise AssertionError("a specification is never called")

    @hookspec
    def effects_for(self, event: Event, snapshot: Snapshot) -> Iterable[Effect]:
        """Called once for each new fact, inside the processing transaction, after it was applied.

        Must be pure: no network, no clock. What it returns runs from the outbox, at least once; an effect whose key
        is known already changes nothing. So say what the *whole* snapshot calls for, not only this fact: facts
        arrive in any order, and the last one to arrive must bring about the same effects. A plugin that does not
        answer in 5 seconds, or raises, is put out.

        :param event: the fact just applied.
        :param snapshot: the customer, and the invoice or subscription it touched, after it.
        .. versionadded:: 0.1
        """
        raise AssertionError("a specification is never called")

    @hookspec(firstresult=True)
    def sandbox(self, clock: Clock, webhook_url: str | None, settings: Mapping[str, str]) -> ProviderSandbox:
        """Called by ``billhook sandbox`` and ``billhook demo``: a stand-in for the provider.

        :param clock: what time it is there.
        :param webhook_url: where its webhooks go; None: they stay in its queue.
        :param settings: options of its own, as text.
        .. versionadded:: 0.1
        """
        raise AssertionError("a specification is never called")
