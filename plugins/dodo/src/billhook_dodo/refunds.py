"""Giving money back. Dodo refunds for 30 days, one refund at a time, and by line item when it is not everything.

Amounts without ``currency`` would be read in the currency Dodo settles in, so it is named wherever that is not the
one the customer paid in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from billhook.errors import Refused
from billhook.model import Ref
from billhook.money import Money
from billhook.provider import RefundRequest

from .bodies import reason
from .client import DodoApi, readable
from .payloads import Json, minor, records, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunder:
    """Refunds payments of one connection."""

    api: DodoApi
    connection: str

    def refund(self, request: RefundRequest) -> Ref:
        """Ask for a refund; whether it came through is told by webhook.

        :raises Refused: the window is over, the method takes whole refunds only, or less is left than asked for.
        :raises Temporary: another refund of this payment is under way.
        :raises OutcomeUnknown: no usable answer; look with ``find_refund`` first.
        """
        if request.amount.minor <= 0:
            raise Refused(f"{request.amount} is nothing to refund", code="amount")
        body: dict[str, object] = {
            "payment_id": request.payment.id,
            "reason": reason(request.reason, key=request.key),
        }
        if not request.whole:
            body |= self._part(request)
        answer = self.api.post("refunds", json=body, key=request.key, moves_money=True)
        with readable("the answer to the refund", money=True):
            return Ref(self.connection, text(answer, "refund_id"))

    def _part(self, request: RefundRequest) -> dict[str, object]:
        """Return which lines give how much back."""
        payment, currency = request.payment.id, request.amount.currency
        lines = self.api.get("payments", payment, "line-items")
        settled_in_it = lines.get("currency") == currency
        if not settled_in_it:
            lines = self.api.get("payments", payment, "line-items", params={"currency": currency})
        if lines.get("partial_refund_allowed") is False:
            raise Refused(
                "This payment method is refunded as a whole or not at all: refund the whole payment",
                code="PARTIAL_REFUND_NOT_ALLOWED",
            )
        with readable("the payment's line items"):
            items = list(_shares(lines, request.amount))
        return {"items": items} if settled_in_it else {"items": items, "currency": currency}


def _shares(lines: Json, amount: Money) -> Iterator[dict[str, object]]:
    """Take ``amount`` from the lines in their order, from each as much as it has left."""
    missing = amount.minor
    for line in records(lines, "items"):
        share = min(missing, minor(line, "refundable_amount"))
        if share:
            yield {"item_id": text(line, "items_id"), "amount": share, "tax_inclusive": True}
        missing -= share
    if missing:
        left = Money(amount.minor - missing, amount.currency)
        raise Refused(f"Only {left} of the payment is left to refund, not {amount}", code="refund_too_large")
