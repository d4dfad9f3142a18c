"""Everything one process needs, put together once from the configuration and handed to whoever serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypedDict

import dramatiq

from billhook.clock import Clock, SystemClock, new_token
from billhook.errors import ConfigInvalid, Problem
from billhook.hookspecs import HttpClients
from billhook.http import ApiClient, Post, Timeouts
from billhook.http import Sender as WebhookSender
from billhook.plugins import PATIENCE, BuiltinPolicies, Installed, Patience, Registry, load_plugins
from billhook_web.broker import make_broker
from billhook_web.db import Database
from billhook_web.sealing import Sealer
from billhook_web.services.access_policies import PolicyBook
from billhook_web.services.answering import Answering
from billhook_web.services.arranging import Arranging, ArrangingRules
from billhook_web.services.collecting import Collecting
from billhook_web.services.collection import CollectionRules
from billhook_web.services.connecting import Connecting, connection_problems
from billhook_web.services.connections import Connections
from billhook_web.services.customers import Customers
from billhook_web.services.deciding import Deciding
from billhook_web.services.delivery import Delivery
from billhook_web.services.dispatching import Dispatcher
from billhook_web.services.enacting import Enacting
from billhook_web.services.erasure import Erasure
from billhook_web.services.exempting import Exempting
from billhook_web.services.gates import Gates
from billhook_web.services.hiding import Hider
from billhook_web.services.intake import Intake
from billhook_web.services.jobs import Jobs
from billhook_web.services.judging import Judge
from billhook_web.services.keepers import Keepers, at_once
from billhook_web.services.leases import Leases
from billhook_web.services.leasing import Leasing
from billhook_web.services.meters import Meters
from billhook_web.services.paying import Paying
from billhook_web.services.portal_letters import LetterWriter, Sender
from billhook_web.services.portal_login import PortalLogin
from billhook_web.services.portal_sessions import Limits, PortalSessions
from billhook_web.services.previewing import Previewing
from billhook_web.services.processing import Processing
from billhook_web.services.publishing import publish_all
from billhook_web.services.receivers import Receivers
from billhook_web.services.reconcile import Reconciler
from billhook_web.services.recording import Recorder
from billhook_web.services.renewal import Renewal
from billhook_web.services.retention import Retention
from billhook_web.services.saved_methods import SavedMethods
from billhook_web.services.sightings import Looking
from billhook_web.services.vault import Vault
from billhook_web.services.verifying import Verifier
from billhook_web.settings import Configuration, HostSettings, named_connections, read_configuration

_secret = partial(new_token, size=32)
"""Makes what lets somebody in: 256 random bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The parts of a running host."""

    configuration: Configuration
    clock: Clock
    db: Database
    broker: dramatiq.Broker
    webhook_broker: dramatiq.Broker  # for what is sent to integrators
    registry: Registry
    connections: Connections
    intake: Intake
    recorder: Recorder
    book: PolicyBook
    judge: Judge
    deciding: Deciding
    answering: Answering
    exempting: Exempting
    enacting: Enacting
    previewing: Previewing
    processing: Processing
    delivery: Delivery
    customers: Customers
    collecting: Collecting
    paying: Paying
    methods: SavedMethods
    reconciler: Reconciler
    receivers: Receivers
    dispatcher: Dispatcher
    meters: Meters
    breakers: Gates
    leasing: Leasing
    sealer: Sealer
    renewal: Renewal
    portal: PortalSessions
    login: PortalLogin
    retention: Retention
    erasure: Erasure
    hide: Callable[[str], str]  # takes every configured secret out of a text

    @property
    def embedded(self) -> bool:
        """True when background work runs inside this process."""
        return self.configuration.host.redis_url is None

    def close(self) -> None:
        """Give back what was opened."""
        self.broker.close()
        self.webhook_broker.close()
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
    post: Post | None = None,
) -> Runtime:  # fmt: skip
    """Put a host together.

    :param patience: how long plugins are waited for at start-up.    :param time_limit: how long one piece of work may
        take; None: as long as a lease allows.    :param post: sends webhooks; None: over the network, checked.
    :raises ConfigInvalid: with every problem.
    """
    clock = clock or SystemClock()
    host = configuration.host
    leases = Leases.of(host.lease_length(), time_limit=time_limit)
    registry = _plugins(configuration, installed=installed, patience=patience)
    db = Database(host.sqlalchemy_url())
    hide, sealer = Hider(host.secrets()), host.sealer()
    connections, renewal = _connected(
        configuration, registry, clock=clock, http=leases.bounded(http), db=db, sealer=sealer, hide=hide
    )
    book, meters = _policies(registry), Meters()
    judge = Judge(book=book, publish=publish_all)
    recorder = Recorder(connections, registry, judge)
    gates = Gates(db=db, clock=clock, limit=host.calls_at_a_time(), redact=hide)
    working = _Working(
        db=db, clock=clock, connections=connections, recorder=recorder, redact=hide, meters=meters, gates=gates,
        lease=leases.length,
    )  # fmt: skip
    collecting, delivery = working.collecting_and_delivery(host)
    processing = working.processing()
    return Runtime(
        configuration=configuration,
        clock=clock,
        db=db,
        broker=_broker(host, leases),
        webhook_broker=_broker(host, leases),
        registry=registry,
        connections=connections,
        intake=Intake(db, verify=Verifier(fault=gates.fault).verify),
        recorder=recorder,
        **_access(db=db, clock=clock, book=book, judge=judge, recorder=recorder),
        processing=processing,
        delivery=delivery,
        customers=Customers(db=db, clock=clock, connections=connections),
        collecting=collecting,
        paying=Paying(db=db, clock=clock, connections=connections, deliver=delivery.deliver, ask=gates.ask),
        methods=SavedMethods(db=db, clock=clock, connections=connections, ask=gates.ask),
        reconciler=working.reconciler(processing, every=host.reconciles_every()),
        receivers=Receivers(db=db, clock=clock, sealer=sealer, allowed=host.webhook_targets()),
        dispatcher=working.dispatcher(sealer, post or WebhookSender(allowed=host.webhook_targets())),
        meters=meters,
        breakers=gates,
        **_entrance(host, db=db, clock=clock, connections=connections),
        retention=Retention(db=db, clock=clock, keep=host.keeps_bodies(), meters=meters),
        erasure=Erasure(db=db, clock=clock, recorder=recorder),
        leasing=Leasing(db=db, sealer=sealer, issuer=host.public_url),
        sealer=sealer,
        renewal=renewal,
        hide=hide,
    )  # fmt: skip


class _Access(TypedDict):
    """What decides and answers about access, as the fields of :class:`Runtime`."""

    book: PolicyBook
    judge: Judge
    deciding: Deciding
    previewing: Previewing
    enacting: Enacting
    exempting: Exempting
    answering: Answering


def _access(*, db: Database, clock: Clock, book: PolicyBook, judge: Judge, recorder: Recorder) -> _Access:
    deciding = Deciding(db=db, clock=clock, judge=judge)
    return {
        "book": book,
        "judge": judge,
        "deciding": deciding,
        "previewing": Previewing(db=db, clock=clock, book=book),
        "enacting": Enacting(db=db, clock=clock, book=book, judge=judge),
        "exempting": Exempting(db=db, clock=clock, recorder=recorder),
        "answering": Answering(db=db, clock=clock, deciding=deciding, judge=judge),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Working:
    """What everything that works in the background is made with."""

    db: Database
    clock: Clock
    connections: Connections
    recorder: Recorder
    redact: Callable[[str], str]
    meters: Meters
    gates: Gates
    lease: timedelta

    def collecting_and_delivery(self, host: HostSettings) -> tuple[Collecting, Delivery]:
        collecting = Collecting(
            clock=self.clock, connections=self.connections, recorder=self.recorder, public_url=host.public_url,
            new_token=new_token,
        )  # fmt: skip
        jobs = Jobs(
            clock=self.clock, connections=self.connections, recorder=self.recorder, collecting=collecting,
            arranging=self._arranging(), letters=self._letters(host),
        )  # fmt: skip
        return collecting, Delivery(
            db=self.db, clock=self.clock, jobs=jobs, redact=self.redact, meters=self.meters, gates=self.gates,
            lease=self.lease,
        )  # fmt: skip

    def _letters(self, host: HostSettings) -> LetterWriter:
        sender = Sender(name=host.brand_name, accent=host.accent().light, public_url=host.public_url)
        return LetterWriter(clock=self.clock, connections=self.connections, new_token=_secret, sender=sender)

    def _arranging(self) -> Arranging:
        keepers = Keepers(db=self.db, connections=self.connections, ask=at_once)
        return Arranging(db=self.db, clock=self.clock, connections=self.connections, keepers=keepers)

    def processing(self) -> Processing:
        return Processing(
            db=self.db, clock=self.clock, connections=self.connections, recorder=self.recorder, redact=self.redact,
            meters=self.meters, gates=self.gates, lease=self.lease,
        )  # fmt: skip

    def dispatcher(self, sealer: Sealer, post: Post) -> Dispatcher:
        return Dispatcher(
            db=self.db, clock=self.clock, sealer=sealer, post=post, redact=self.redact, meters=self.meters
        )

    def reconciler(self, processing: Processing, *, every: timedelta | None) -> Reconciler:
        looking = Looking(db=self.db, processing=processing)
        return Reconciler(
            db=self.db, clock=self.clock, connections=self.connections, recorder=self.recorder, looking=looking,
            redact=self.redact, every=every, gates=self.gates,
        )  # fmt: skip


def _plugins(
    configuration: Configuration, *, installed: Iterable[Installed] | None, patience: Patience
) -> Registry:
    host = configuration.host
    wanted = {connection.plugin for connection in configuration.connections} | set(host.plugins_allow)
    registry = load_plugins(wanted, denied=host.plugins_deny, installed=installed, patience=patience)
    registry.register(CollectionRules(host.schedule()), "billhook-collection", essential=True)
    registry.register(ArrangingRules(), "billhook-arranging", essential=True)
    registry.register(BuiltinPolicies(), "billhook-policies", essential=True)
    return registry


def _broker(host: HostSettings, leases: Leases) -> dramatiq.Broker:
    url = host.redis_url.get_secret_value() if host.redis_url else None
    return make_broker(url, time_limit=leases.time_limit)


class _Entrance(TypedDict):
    """The ways into the customer portal, as the fields of :class:`Runtime`."""

    portal: PortalSessions
    login: PortalLogin


def _entrance(host: HostSettings, *, db: Database, clock: Clock, connections: Connections) -> _Entrance:
    return {
        "portal": _portal(host, db=db, clock=clock),
        "login": _login(host, db=db, clock=clock, connections=connections),
    }


def _portal(host: HostSettings, *, db: Database, clock: Clock) -> PortalSessions:
    idle, longest = host.portal_stay()
    limits = Limits(idle=idle, longest=longest, return_origins=host.portal_return_origins)
    return PortalSessions(db=db, clock=clock, limits=limits, new_token=_secret)


def _login(host: HostSettings, *, db: Database, clock: Clock, connections: Connections) -> PortalLogin:
    """Raises ConfigInvalid when it is on and nothing sends mail; a plugin that is out of order stops nobody else."""
    out = any(each.problem is not None for each in connections.all())
    if host.portal_email_login and not connections.channels() and not out:
        db.close()
        what = "is on, but nothing that is connected sends mail."
        fix = "Add one that does to BILLHOOK_CONNECTIONS, such as mail=notifications, or turn it off."
        raise ConfigInvalid([Problem("BILLHOOK_PORTAL_EMAIL_LOGIN", what, fix)])
    return PortalLogin(
        db=db, clock=clock, connections=connections, new_token=new_token, on=host.portal_email_login
    )


def _policies(registry: Registry) -> PolicyBook:
    book = PolicyBook()
    book.offer(registry.access_policies(book.context()))
    return book


def _connected(
    configuration: Configuration, registry: Registry,
    *, clock: Clock, http: HttpClients, db: Database, sealer: Sealer, hide: Hider,
) -> tuple[Connections, Renewal]:  # fmt: skip
    vault = Vault(db=db, clock=clock, sealer=sealer)
    connecting = Connecting(
        configuration=configuration, registry=registry, clock=clock, http=http, db=db, vault=vault, hide=hide
    )
    try:
        connections, marks = connecting.all()
    except ConfigInvalid:
        db.close()  # it was asked for stored secrets
        raise
    return connections, Renewal(
        connecting=connecting, connections=connections, marks=marks, db=db, clock=clock
    )
