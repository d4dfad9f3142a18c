"""Looking at a connection's set-up by harmless calls: keys and the webhook endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from billhook.config import prefix_of
from billhook.errors import Permanent
from billhook.provider import Finding, Severity

from .client import API_VERSION, PAGE, StripeApi, plain, readable
from .config import SCRIPT, StripeConfig
from .payloads import Json, maybe_text

NEEDED_EVENTS: Final = frozenset(
    """
    payment_intent.succeeded payment_intent.payment_failed payment_intent.processing payment_intent.requires_action
    payment_intent.canceled refund.created refund.updated refund.failed charge.dispute.created charge.dispute.updated
    charge.dispute.closed setup_intent.succeeded payment_method.attached payment_method.detached payment_method.updated
    payment_method.automatically_updated mandate.updated
    """.split()
)
"""The events without which something would go unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Checks one connection."""

    api: StripeApi
    config: StripeConfig
    connection: str

    def findings(self) -> Sequence[Finding]:
        """Return what was found; with a key that is not accepted, nothing else can be looked at.

        :raises Temporary: Stripe could not be asked.
        """
        mode = "live" if self.config.live else "test"
        try:
            with self.api.answers():
                self.api.v1.payment_intents.list({"limit": 1})
        except Permanent as exc:
            return [Finding(severity=Severity.ERROR, what=str(exc), fix=f"Set {self._variable('API_KEY')}.")]
        accepted = Finding(severity=Severity.OK, what=f"Stripe accepts the API key in {mode} mode")
        return [accepted, *self._script_finding(), self._endpoint_finding()]

    def _script_finding(self) -> Iterator[Finding]:
        if self.config.js_url != SCRIPT and self.config.live:
            yield Finding(
                severity=Severity.ERROR,
                what="Live card numbers would be typed into a script that is not Stripe's own",
                fix=f"Remove {self._variable('JS_URL')}.",
            )

    def _endpoint_finding(self) -> Finding:
        path = f"/webhooks/{self.connection}"
        with self.api.answers(), readable("the list of webhook endpoints"):
            rows = [plain(each) for each in self.api.v1.webhook_endpoints.list({"limit": PAGE}).data]
            ours = [row for row in rows if urlsplit(maybe_text(row, "url") or "").path.endswith(path)]
        if not ours:
            fix = (
                f"Add one in the Stripe dashboard and put its secret into {self._variable('WEBHOOK_SECRET')}."
            )
            return _warning(f"No webhook endpoint ends in {path}", fix)
        working = [row for row in ours if row.get("status") != "disabled"]
        if not working:
            what = f"The webhook endpoint {path} is disabled"
            return Finding(severity=Severity.ERROR, what=what, fix="Enable it in the Stripe dashboard.")
        missing = min((sorted(NEEDED_EVENTS - _told_of(row)) for row in working), key=len)
        if missing:
            what = f"The webhook endpoint {path} is not told of {', '.join(missing)}"
            return _warning(what, "Add them to its events.")
        versions = {maybe_text(row, "api_version") for row in working}
        if versions.isdisjoint({API_VERSION, None}):
            what = (
                f"The webhook endpoint {path} speaks API version {', '.join(sorted(filter(None, versions)))}"
            )
            return _warning(what, f"It is read all the same; {API_VERSION} is what this plugin was made for.")
        return Finding(severity=Severity.OK, what=f"A webhook endpoint ends in {path}")

    def _variable(self, setting: str) -> str:
        return f"{prefix_of(self.connection)}_{setting}"


def _told_of(endpoint: Json) -> frozenset[str]:
    """Return the events an endpoint is told of; ``*`` stands for all."""
    told = frozenset(each for each in endpoint.get("enabled_events") or () if isinstance(each, str))
    return NEEDED_EVENTS if "*" in told else told


def _warning(what: str, fix: str) -> Finding:
    return Finding(severity=Severity.WARNING, what=what, fix=fix)
