"""Everything one process needs, put together once from the configuration and handed to whoever serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import dramatiq

from billhook.clock import Clock, SystemClock, new_token
from billhook.hookspecs import HttpClients
from billhook.http import ApiClient, Timeouts, redact
from billhook.plugins import Installed, Registry, load_plugins
from billhook_web.broker import make_broker
from billhook_web.db import Database
from billhook_web.services.collecting import Collecting
from billhook_web.services.collection import CollectionRules
from billhook_web.services.connections import Connections, all_secrets, connect
from billhook_web.services.customers import Customers
from billhook_web.services.delivery import Delivery
from billhook_web.services.intake import Intake
from billhook_web.services.jobs import Jobs
from billhook_web.services.meters import Meters
from billhook_web.services.paying import Paying
from billhook_web.services.processing import Processing
from billhook_web.services.reconcile import Reconciler
from billhook_web.services.recording import Recorder
from billhook_web.services.sightings import Looking
from billhook_web.settings import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The parts of a running host."""

    configuration: Configuration
    clock: Clock
    db: Database
    broker: dramatiq.Broker
    registry: Registry
    connections: Connections
    intake: Intake
    recorder: Recorder
    processing: Processing
    delivery: Delivery
    customers: Customers
    collecting: Collecting
    paying: Paying
    reconciler: Reconciler
    meters: Meters
    hide: Callable[[str], str]  # takes every configured secret out of a text

    @property
    def embedded(self) -> bool:
        """True when background work runs inside this process."""
        return self.configuration.host.redis_url is None

    def close(self) -> None:
        """Give back what was opened."""
        self.broker.close()
        self.db.close()


def http_clients(
    *,
    name: str,
    base_url: str,
    headers: Mapping[str, str],
    secrets: Iterable[str],
    timeouts: Timeouts | None = None,
) -> ApiClient:
    """Return a client that speaks HTTP over the network."""
    return ApiClient(
        name=name, base_url=base_url, headers=headers, secrets=secrets, timeouts=timeouts or Timeouts()
    )


def build_runtime(
    configuration: Configuration,
    *,
    clock: Clock | None = None,
    http: HttpClients = http_clients,
    installed: Iterable[Installed] | None = None,
) -> Runtime:
    """Put a host together; raises :class:`billhook.errors.ConfigInvalid` with every problem."""
    clock = clock or SystemClock()
    host = configuration.host
    wanted = {connection.plugin for connection in configuration.connections} | set(host.plugins_allow)
    registry = load_plugins(wanted, denied=host.plugins_deny, installed=installed)
    registry.register(CollectionRules(host.schedule()), "billhook-collection", essential=True)
    db = Database(host.sqlalchemy_url())
    connections = connect(configuration, registry, clock=clock, http=http, db=db)
    hide = _hider(_secrets(configuration, connections))
    recorder = Recorder(connections, registry)
    collecting = Collecting(
        clock=clock,
        connections=connections,
        recorder=recorder,
        public_url=host.public_url,
        new_token=new_token,
    )
    jobs = Jobs(clock=clock, connections=connections, recorder=recorder, collecting=collecting)
    meters = Meters()
    delivery = Delivery(db=db, clock=clock, jobs=jobs, redact=hide, meters=meters)
    return Runtime(
        configuration=configuration,
        clock=clock,
        db=db,
        broker=make_broker(host.redis_url.get_secret_value() if host.redis_url else None),
        registry=registry,
        connections=connections,
        intake=Intake(db),
        recorder=recorder,
        processing=Processing(
            db=db, clock=clock, connections=connections, recorder=recorder, redact=hide, meters=meters
        ),
        delivery=delivery,
        customers=Customers(db=db, clock=clock, connections=connections),
        collecting=collecting,
        paying=Paying(db=db, clock=clock, connections=connections, deliver=delivery.deliver),
        meters=meters,
        hide=hide,
    )


def _hider(secrets: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that takes the secrets out of a text. Unlike a partial it shows none when it is printed."""

    def hide(text: str) -> str:
        return redact(text, secrets)

    return hide


def _secrets(configuration: Configuration, connections: Connections) -> tuple[str, ...]:
    return (*configuration.host.secrets(), *all_secrets(connections))
