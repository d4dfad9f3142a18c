"""Everything one process needs, put together once from the configuration and handed to whoever serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import dramatiq

from billhook.clock import Clock, SystemClock, new_token
from billhook.errors import ConfigInvalid
from billhook.hookspecs import HttpClients
from billhook.http import ApiClient, Timeouts, redact
from billhook.plugins import PATIENCE, Installed, Patience, Registry, load_plugins
from billhook_web.broker import make_broker
from billhook_web.db import Database
from billhook_web.services.collecting import Collecting
from billhook_web.services.collection import CollectionRules
from billhook_web.services.connections import Connections, all_secrets, connect, connection_problems
from billhook_web.services.customers import Customers
from billhook_web.services.delivery import Delivery
from billhook_web.services.gates import Gates
from billhook_web.services.intake import Intake
from billhook_web.services.jobs import Jobs
from billhook_web.services.leases import Leases
from billhook_web.services.meters import Meters
from billhook_web.services.paying import Paying
from billhook_web.services.processing import Processing
from billhook_web.services.reconcile import Reconciler
from billhook_web.services.recording import Recorder
from billhook_web.services.sightings import Looking
from billhook_web.services.verifying import Verifier
from billhook_web.settings import Configuration, named_connections, read_configuration


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
    breakers: Gates
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


def read_and_check(env: Mapping[str, str]) -> Configuration:
    """Read the configuration; raises ConfigInvalid with the problems of host and connections together."""
    try:
        return read_configuration(env)
    except ConfigInvalid as exc:
        named = named_connections(env)
        registry = load_plugins({connection.plugin for connection in named.connections})
        raise ConfigInvalid([*exc.problems, *connection_problems(named, registry)]) from None


def build_runtime(
    configuration: Configuration, *, clock: Clock | None = None, http: HttpClients = http_clients,
    installed: Iterable[Installed] | None = None, patience: Patience = PATIENCE, time_limit: timedelta | None = None,
) -> Runtime:  # fmt: skip
    """Put a host together.

    :param patience: how long plugins are waited for at start-up.    :param time_limit: how long one piece of work may
        take; None: as long as a lease allows.
    :raises ConfigInvalid: with every problem.
    """
    clock = clock or SystemClock()
    host = configuration.host
    wanted = {connection.plugin for connection in configuration.connections} | set(host.plugins_allow)
    leases = Leases.of(host.lease_length(), time_limit=time_limit)
    registry = load_plugins(wanted, denied=host.plugins_deny, installed=installed, patience=patience)
    registry.register(CollectionRules(host.schedule()), "billhook-collection", essential=True)
    db = Database(host.sqlalchemy_url())
    connections = connect(configuration, registry, clock=clock, http=leases.bounded(http), db=db)
    hide = _hider(_secrets(configuration, connections))
    recorder = Recorder(connections, registry)
    collecting = Collecting(
        clock=clock, connections=connections, recorder=recorder, public_url=host.public_url, new_token=new_token
    )  # fmt: skip
    jobs = Jobs(clock=clock, connections=connections, recorder=recorder, collecting=collecting)
    meters = Meters()
    gates = Gates(db=db, clock=clock, limit=host.calls_at_a_time(), redact=hide)
    delivery = Delivery(
        db=db, clock=clock, jobs=jobs, redact=hide, meters=meters, gates=gates, lease=leases.length
    )
    processing = Processing(
        db=db, clock=clock, connections=connections, recorder=recorder, redact=hide, meters=meters,
        gates=gates, lease=leases.length,
    )  # fmt: skip
    reconciler = Reconciler(
        db=db, clock=clock, connections=connections, recorder=recorder,
        looking=Looking(db=db, processing=processing), redact=hide, every=host.reconciles_every(),
    )  # fmt: skip
    return Runtime(
        configuration=configuration,
        clock=clock,
        db=db,
        broker=make_broker(
            host.redis_url.get_secret_value() if host.redis_url else None, time_limit=leases.time_limit
        ),
        registry=registry,
        connections=connections,
        intake=Intake(db, verify=Verifier(fault=gates.fault).verify),
        recorder=recorder,
        processing=processing,
        delivery=delivery,
        customers=Customers(db=db, clock=clock, connections=connections),
        collecting=collecting,
        paying=Paying(db=db, clock=clock, connections=connections, deliver=delivery.deliver),
        reconciler=reconciler,
        meters=meters,
        breakers=gates,
        hide=hide,
    )


def _hider(secrets: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that takes the secrets out of a text. Unlike a partial it shows none when it is printed."""

    def hide(text: str) -> str:
        return redact(text, secrets)

    return hide


def _secrets(configuration: Configuration, connections: Connections) -> tuple[str, ...]:
    return (*configuration.host.secrets(), *all_secrets(connections))
