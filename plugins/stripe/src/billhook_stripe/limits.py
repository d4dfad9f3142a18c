"""Which saved method is left alone: the card networks limit how often a declined card may be tried again, and fine beyond.

Visa allows 20 tries in 30 days (and none after some declines), Mastercard 35 of one amount in 30 days and 10 a day. The
connection's own limit is lower. What was declined is read from Stripe's charges, so it holds over invoices and restarts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from billhook.clock import Clock
from billhook.methods import SavedMethod
from billhook.model import DeclineClass

from .client import PAGE, StripeApi, plain, readable
from .declines import decline
from .facts import expiry
from .payloads import Json, expanded, maybe_record, maybe_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``most`` declines of one card within ``days``; then it rests until some are older."""

    api: StripeApi
    clock: Clock
    most: int
    days: int

    def leaves_alone(self, customer: str, method: SavedMethod) -> str | None:
        """Return why a method must not be charged without the customer now; None: it may be."""
        if not method.usable:
            return "its mandate was withdrawn"
        failed = list(self._failures(customer, method))
        if len(failed) >= self.most:
            return f"it was declined {len(failed)} times in {self.days} days"
        if failed and self._is_final(failed[0], method):
            return f"its bank said not to try it again ({failed[0]['failure_code']})"
        return None

    def _failures(self, customer: str, method: SavedMethod) -> Iterator[Json]:
        """Return the declined charges of the same card or account, newest first."""
        since = self.clock.now() - timedelta(days=self.days)
        with self.api.answers():
            page = self.api.v1.charges.list(
                {"customer": customer, "created": {"gte": int(since.timestamp())}, "limit": PAGE}
            )
        rows = [plain(each) for each in page.data]
        with readable("the list of charges"):
            for row in rows:
                if row.get("status") == "failed" and _fingerprint(row) == method.fingerprint:
                    yield row

    def _is_final(self, charge: Json, method: SavedMethod) -> bool:
        """Say whether the newest decline forbids another try; a card that was renewed since may be tried."""
        outcome = maybe_record(charge, "outcome")
        error = {
            "code": charge.get("failure_code"),
            "decline_code": outcome.get("reason"),
            "advice_code": outcome.get("advice_code"),
            "network_advice_code": outcome.get("network_advice_code"),
        }
        then = expiry(_details(charge))
        renewed = then is not None and then != method.method.expires
        return decline(error).kind is DeclineClass.HARD and not renewed


def _details(charge: Json) -> Json:
    details = expanded(charge, "payment_method_details")
    return expanded(details, maybe_text(details, "type") or "")


def _fingerprint(charge: Json) -> str | None:
    return maybe_text(_details(charge), "fingerprint")
