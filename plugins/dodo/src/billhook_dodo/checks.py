"""Looking at a connection's set-up by harmless calls: key, products, webhook endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from billhook.config import prefix_of
from billhook.errors import NotFound, Permanent
from billhook.provider import Finding, Severity

from .client import DodoApi, readable
from .config import DodoConfig
from .payloads import Json, maybe_text, records
from .products import Products

NEEDED_EVENTS: Final = frozenset(
    """
    payment.succeeded payment.failed payment.processing payment.cancelled refund.succeeded refund.failed
    dispute.opened dispute.expired dispute.accepted dispute.cancelled dispute.challenged dispute.won dispute.lost
    subscription.active subscription.on_hold subscription.cancelled subscription.failed subscription.expired
    """.split()
)
"""The events without which something would go unseen. Dodo has no ``payment.refunded``."""

_MOST_PAGES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Checks one connection."""

    api: DodoApi
    products: Products
    config: DodoConfig
    connection: str

    def findings(self) -> Sequence[Finding]:
        """Return what was found; with a key that is not accepted, nothing else can be looked at.

        :raises Temporary: Dodo could not be asked.
        """
        try:
            self.api.get("payments", params={"page_size": 1, "page_number": 0})
        except Permanent as exc:
            return [Finding(severity=Severity.ERROR, what=str(exc), fix=f"Set {self._variable('API_KEY')}.")]
        accepted = Finding(severity=Severity.OK, what=f"Dodo accepts the API key in {self.config.mode} mode")
        return [accepted, *self._product_findings(), self._endpoint_finding()]

    def _product_findings(self) -> Iterator[Finding]:
        for currency, product in self.config.products.items():
            yield self._product_finding(currency, product)

    def _product_finding(self, currency: str, product: str) -> Finding:
        fix = f"Change the product in the Dodo dashboard, or take it out of {self._variable('PRODUCTS')}."
        try:
            problem = self.products.problems(product, currency)
        except NotFound:
            problem = f"there is no such product in {self.config.mode} mode"
        if problem is not None:
            return Finding(
                severity=Severity.ERROR, what=f"Product {product} for {currency}: {problem}", fix=fix
            )
        return Finding(severity=Severity.OK, what=f"Product {product} takes invoices in {currency}")

    def _endpoint_finding(self) -> Finding:
        path = f"/webhooks/{self.connection}"
        with readable("the list of webhook endpoints"):
            ours = [
                endpoint
                for endpoint in self._endpoints()
                if urlsplit(maybe_text(endpoint, "url") or "").path.endswith(path)
            ]
            missing = [sorted(NEEDED_EVENTS - _told_of(endpoint)) for endpoint in ours]
        if not ours:
            fix = f"Add one in the Dodo dashboard and put its secret into {self._variable('WEBHOOK_SECRET')}."
            return Finding(severity=Severity.WARNING, what=f"No webhook endpoint ends in {path}", fix=fix)
        if all(endpoint.get("disabled") for endpoint in ours):
            return Finding(
                severity=Severity.ERROR,
                what=f"The webhook endpoint {path} is disabled",
                fix="Enable it in the Dodo dashboard.",
            )
        fewest = min(missing, key=len)
        if fewest:
            what = f"The webhook endpoint {path} is not told of {', '.join(fewest)}"
            return Finding(severity=Severity.WARNING, what=what, fix="Add them to its filter, or remove it.")
        return Finding(severity=Severity.OK, what=f"A webhook endpoint ends in {path}")

    def _endpoints(self) -> Iterator[Json]:
        params: dict[str, str | int] = {"limit": 100}
        for _ in range(_MOST_PAGES):
            page = self.api.get("webhooks", params=params)
            yield from records(page, "data")
            following = maybe_text(page, "iterator")
            if page.get("done") is not False or following is None:
                return
            params["iterator"] = following

    def _variable(self, setting: str) -> str:
        return f"{prefix_of(self.connection)}_{setting}"


def _told_of(endpoint: Json) -> frozenset[str]:
    """Return the events an endpoint is sent; no filter means all."""
    wanted = endpoint.get("filter_types")
    return frozenset(word for word in wanted if isinstance(word, str)) if wanted else NEEDED_EVENTS
