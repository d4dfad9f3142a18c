"""``/metrics`` in the text format of Prometheus: what this process counted, and what the database knows right now.

Belongs behind the firewall, like ``/readyz``; with ``BILLHOOK_METRICS_TOKEN`` it asks for that token as well. The
gauges that come from the database are the same whichever process is asked; counters and histograms are each
process's own. Another source adds a function that yields metric families to :data:`SOURCES`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from billhook.plugins import PluginStatus
from billhook_web.db import DatabaseError
from billhook_web.runtime import Runtime
from billhook_web.services.breaker import BreakerState
from billhook_web.stores import conditions, endpoints, reconcile, retention, vitals, webhook_log
from billhook_web.stores.vitals import Vitals

_OUT = (PluginStatus.ERROR, PluginStatus.INCOMPATIBLE, PluginStatus.MISSING)


def metrics_blueprint(runtime: Runtime) -> Blueprint:
    """Return the route that Prometheus asks."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        if not _may_read(runtime, request.headers.get("Authorization", "")):
            headers = {"WWW-Authenticate": 'Bearer realm="billhook"'}
            return Response("Send BILLHOOK_METRICS_TOKEN as a bearer token.\n", 401, headers=headers)
        return Response(exposition(runtime), content_type=CONTENT_TYPE_LATEST)

    return blueprint


def exposition(runtime: Runtime) -> bytes:
    """Return everything that can be told now."""
    registry = CollectorRegistry()
    registry.register(_Now(runtime))
    return generate_latest(runtime.meters.registry) + generate_latest(registry)


def _may_read(runtime: Runtime, header: str) -> bool:
    token = runtime.configuration.host.metrics_token
    if token is None:
        return True
    expected = f"Bearer {token.get_secret_value()}"
    return hmac.compare_digest(header.encode("utf-8", "surrogatepass"), expected.encode())


class _Now(Collector):
    """Asks every source at the time of the scrape."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterable[Metric]:
        for source in SOURCES:
            yield from source(self._runtime)

    def describe(self) -> Iterable[Metric]:
        return ()  # it must not be asked when it is registered


def _plugins(runtime: Runtime) -> Iterator[Metric]:
    plugins = _gauge("billhook_plugin_up", "1: loaded; 0: out of order.", "plugin")
    for state in runtime.registry.states():
        if state.status is PluginStatus.ENABLED or state.status in _OUT:
            plugins.add_metric([state.name], float(state.status is PluginStatus.ENABLED))
    connections = _gauge(
        "billhook_connection_up", "1: usable; 0: its plugin is out of order.", "connection", "plugin"
    )
    for each in runtime.connections.all():
        connections.add_metric([each.name, each.plugin], float(each.problem is None))
    yield from (plugins, connections)


def _database(runtime: Runtime) -> Iterator[Metric]:
    now, deadline = runtime.clock.now(), runtime.configuration.host.patience_with_unknown()
    up = _gauge("billhook_database_up", "1: the database answers and has its tables.")
    try:
        with runtime.db.read() as tx:
            found = vitals.read(tx, now=now, deadline=deadline)
    except DatabaseError:
        up.add_metric([], 0.0)
        yield up
        return
    up.add_metric([], 1.0)
    yield up
    yield from _counts(found)
    yield from _ages(found, now)


def _counts(found: Vitals) -> Iterator[Metric]:
    inbox = _gauge("billhook_inbox_deliveries", "Deliveries that wait or were given up.", "status")
    for status, number in found.inbox.items():
        inbox.add_metric([status], float(number))
    effects = _gauge("billhook_effects", "Effects that are open or were given up.", "kind", "status")
    for (kind, status), number in found.effects.items():
        effects.add_metric([kind, status], float(number))
    dead = _gauge("billhook_dead_letters", "What was given up and waits for an operator.", "of")
    for what, number in zip(("inbox", "effects"), found.dead, strict=True):
        dead.add_metric([what], float(number))
    yield from (inbox, effects, dead)
    yield _number("billhook_effects_unknown", "Effects whose outcome is not known.", found.unknown.count)
    about = "Effects whose outcome is unknown for longer than BILLHOOK_UNKNOWN_DEADLINE."
    yield _number("billhook_effects_unknown_overdue", about, found.unknown.overdue)


def _ages(found: Vitals, now: datetime) -> Iterator[Metric]:
    yield _age("billhook_inbox_oldest_age_seconds", "Age of the oldest unprocessed delivery; 0: none.",
               found.oldest_received_at, now)  # fmt: skip
    yield _age("billhook_effects_oldest_due_age_seconds", "How long the oldest effect is overdue; 0: none.",
               found.oldest_due_at, now)  # fmt: skip
    yield _age("billhook_effects_unknown_oldest_age_seconds", "How long the oldest outcome is unknown; 0: none.",
               found.unknown.since, now)  # fmt: skip


def _providers(runtime: Runtime) -> Iterator[Metric]:
    try:
        with runtime.db.read() as tx:
            known, gaps = conditions.of_all(tx), reconcile.count_gaps(tx)
    except DatabaseError:
        return  # said above
    up = _gauge("billhook_provider_up", "1: it answers; 0: calls wait because it did not.", "connection")
    faults = _counter("billhook_plugin_faults", "What a plugin raised or returned against its contract.")
    missed = _counter("billhook_gaps", "What a provider had and no webhook had told.")
    for each in runtime.connections.all():
        condition = known.get(each.name)
        up.add_metric([each.name], float(condition is None or condition.state == BreakerState.CLOSED))
        faults.add_metric([each.name], float(condition.faults if condition else 0))
        missed.add_metric([each.name], float(gaps.get(each.name, 0)))
    yield from (up, faults, missed)


def _breakers(runtime: Runtime) -> Iterator[Metric]:
    breakers = _gauge("billhook_breaker", "1: the state of this process's breaker.", "connection", "state")
    for name, found in runtime.breakers.states().items():
        for state in BreakerState:
            breakers.add_metric([name, state], float(state is found))
    yield breakers


def _retention(runtime: Runtime) -> Iterator[Metric]:
    try:
        with runtime.db.read() as tx:
            oldest = retention.oldest_body(tx)
    except DatabaseError:
        return  # said above
    about = "How long ago the oldest delivery was processed whose body is still kept; 0: none."
    yield _age("billhook_oldest_body_age_seconds", about, oldest, runtime.clock.now())


def _webhooks(runtime: Runtime) -> Iterator[Metric]:
    try:
        with runtime.db.read() as tx:
            known, open_, oldest = (
                endpoints.counts(tx),
                webhook_log.undelivered_by_status(tx),
                webhook_log.oldest_pending(tx),
            )
    except DatabaseError:
        return  # said above
    receivers = _gauge(
        "billhook_webhook_endpoints",
        "Receivers of webhooks; failing: enabled, and the last attempt failed.",
        "state",
    )
    for state, number in known.items():
        receivers.add_metric([state], float(number))
    about = "Webhooks not yet delivered; waiting: behind an earlier one; held: the endpoint is disabled."
    deliveries = _gauge("billhook_webhook_deliveries", about, "status")
    for status, number in open_.items():
        deliveries.add_metric([status], float(number))
    yield from (receivers, deliveries)
    yield _age("billhook_webhook_oldest_pending_age_seconds", "Age of the oldest webhook to be sent; 0: none.",
               oldest, runtime.clock.now())  # fmt: skip


SOURCES: tuple[Callable[[Runtime], Iterator[Metric]], ...] = (
    _plugins,
    _database,
    _providers,
    _retention,
    _breakers,
    _webhooks,
)
"""What is asked at each scrape. A source must be quick and must not raise."""


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=labels)


def _counter(name: str, about: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, about, labels=("connection",))


def _number(name: str, about: str, value: float) -> GaugeMetricFamily:
    gauge = _gauge(name, about)
    gauge.add_metric([], float(value))
    return gauge


def _age(name: str, about: str, since: datetime | None, now: datetime) -> GaugeMetricFamily:
    return _number(name, about, max(0.0, (now - since).total_seconds()) if since else 0.0)
