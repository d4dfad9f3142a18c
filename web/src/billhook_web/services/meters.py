"""What this process counts while it works: deliveries, how long they waited, tries at effects.

What the database knows is not counted here but asked for when somebody reads ``/metrics``. Labels are names of
connections, kinds and outcomes: never a customer, a ref or an amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram

TRY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LAG_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)


class Meters:
    """Counters of one process, in a registry of their own: two hosts in one process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._received = Counter(
            "billhook_deliveries_received",
            "Webhooks that were stored; repeated: had been stored before.",
            ("connection", "repeated"),
            registry=self.registry,
        )
        self._refused = Counter(
            "billhook_deliveries_refused",
            "Webhooks that were not stored, by reason.",
            ("connection", "reason"),
            registry=self.registry,
        )
        self._lag = Histogram(
            "billhook_processing_lag_seconds",
            "From storing a delivery to having applied it.",
            ("connection",),
            buckets=LAG_SECONDS,
            registry=self.registry,
        )
        self._tries = Histogram(
            "billhook_effect_attempt_seconds",
            "Tries at effects, by what came of them.",
            ("kind", "outcome"),
            buckets=TRY_SECONDS,
            registry=self.registry,
        )

        self._pruned = Counter(
            "billhook_pruned",
            "Rows that were pruned: bodies of deliveries, tries at effects, reconciliation gaps and runs.",
            ("of",),
            registry=self.registry,
        )

        self._webhooks = Histogram(
            "billhook_webhook_attempt_seconds",
            "Attempts to deliver a webhook, by what came of them.",
            ("outcome",),
            buckets=TRY_SECONDS,
            registry=self.registry,
        )
        self._disabled = Counter(
            "billhook_webhook_endpoints_given_up",
            "Webhook endpoints the host disabled by itself, by reason.",
            ("reason",),
            registry=self.registry,
        )

    def received(self, connection: str, *, repeated: bool) -> None:
        """Count a delivery that is stored."""
        self._received.labels(connection, "yes" if repeated else "no").inc()

    def refused(self, connection: str, *, reason: str) -> None:
        """Count a delivery that was not stored. ``connection`` must be a configured one: strangers make up names."""
        self._refused.labels(connection, reason).inc()

    def processed(self, connection: str, *, lag: timedelta) -> None:
        """Count a delivery that was applied ``lag`` after it was received."""
        self._lag.labels(connection).observe(max(0.0, lag.total_seconds()))

    def effect(self, kind: str, *, outcome: str, seconds: float) -> None:
        """Count a try at an effect."""
        self._tries.labels(kind, str(outcome)).observe(seconds)

    def pruned(self, counts: Mapping[str, int]) -> None:
        """Count rows that were pruned, by what they were."""
        for what, number in counts.items():
            self._pruned.labels(what).inc(number)

    def webhook(self, outcome: str, *, seconds: float) -> None:
        """Count an attempt to deliver a webhook."""
        self._webhooks.labels(outcome).observe(seconds)

    def webhook_endpoint_disabled(self, reason: str) -> None:
        """Count an endpoint that the host disabled."""
        self._disabled.labels(str(reason)).inc()
