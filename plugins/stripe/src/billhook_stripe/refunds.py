"""Giving money back, as a whole or in part; Stripe answers at once, or a bank days later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import stripe

from billhook.errors import Refused
from billhook.model import Ref
from billhook.provider import RefundRequest

from .client import StripeApi, keyed, plain, readable
from .lookup import KEY
from .payloads import text

_REASONS: Final = frozenset(("duplicate", "fraudulent", "requested_by_customer"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunder:
    """Refunds payments of one connection."""

    api: StripeApi
    connection: str

    def refund(self, request: RefundRequest) -> Ref:
        """Ask for a refund; how it ends is told by webhook.

        :raises Refused: nothing or less is left, or the bank has taken the payment back.
        :raises OutcomeUnknown: no usable answer; look with ``find_refund`` first.
        """
        if request.amount.minor <= 0:
            raise Refused(f"{request.amount} is nothing to refund", code="amount")
        given: Any = {
            "payment_intent": request.payment.id,
            "amount": request.amount.minor,
            "metadata": {KEY: request.key} | {name: value[:500] for name, value in request.metadata.items()},
        }
        if request.reason in _REASONS:
            given["reason"] = request.reason
        try:
            with self.api.answers(money=True):
                made = plain(self.api.v1.refunds.create(given, keyed(request.key)))
        except stripe.CardError as exc:
            raise Refused(f"The bank takes no refund of this payment ({exc.code})", code=exc.code) from None
        with readable("the answer to the refund", money=True):
            return Ref(self.connection, text(made, "id"))
