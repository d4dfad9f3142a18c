"""Collecting one invoice: one PaymentIntent an attempt, and at most one of them can be paid at any time.

1. What else pays this invoice is looked at: money that came or is under way (ours, or another integration's of the same
   account) is never asked for again; what was left open by an earlier attempt is canceled.
2. ``saved_method``: a method the customer keeps is charged without them, the default first, but not one that the card
   networks say to leave alone. When the bank wants the customer to confirm, the same PaymentIntent waits on the pay page.
3. ``page``: a PaymentIntent for our own pay page, where Stripe's form stands. Always while the customer is present.

Every write carries the attempt's key: within 24 hours Stripe answers a repetition with the first answer, and after that
the look-up finds it by its metadata.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import stripe

from billhook.errors import Refused, Temporary
from billhook.methods import SavedMethod
from billhook.model import Ref
from billhook.money import Money
from billhook.provider import Collected, CollectRequest, CollectState

from .client import StripeApi, keyed, plain, readable
from .customers import Customers
from .declines import decline, waits_for_customer
from .limits import Limits
from .lookup import KEY, OPEN, UNDER_WAY, Lookup, is_taken
from .payloads import Json, text, words
from .saved import Methods

log = logging.getLogger("billhook.stripe")

LARGEST: Final = 99_999_999
"""Stripe's amounts have eight digits of minor units."""
_MOST_PAIRS = 50
_LEFT_ALONE = "No saved payment method may be charged just now: {why}. The customer can pay on the pay page."


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Collects through one connection. ``charge`` and ``save`` are the connection's settings."""

    api: StripeApi
    customers: Customers
    methods: Methods
    lookup: Lookup
    limits: Limits
    connection: str
    charge: Literal["auto", "page"]
    save: bool

    def collect(self, request: CollectRequest) -> Collected:
        """Collect by the ladder above.

        :raises Refused: Stripe cannot charge this amount or currency; says what to do.
        :raises OutcomeUnknown: the request left and no usable answer came.
        """
        _check_amount(request.amount)
        owner = (
            self.customers.ensure(request.customer, request.mandates)
            if request.customer is not None
            else None
        )
        customer = text(owner, "id") if owner else None
        earlier = self._earlier(request, customer)
        if earlier is not None:
            return earlier
        if owner is None or request.present or self.charge == "page":
            return self._open(request, customer)
        method, note = self._method(owner)
        if method is None:
            return replace(self._open(request, customer), note=note)
        return self._charged(request, text(owner, "id"), method)

    def _earlier(self, request: CollectRequest, customer: str | None) -> Collected | None:
        """Return what already pays this invoice; None once nothing does and nothing open is left."""
        for intent in self.lookup.for_invoice(request, customer):
            if words(intent, "metadata").get(KEY) == request.key:
                return self.lookup.told(intent, request)
            if intent.get("status") in OPEN:
                self._call_off(intent, request)
            elif intent.get("status") in UNDER_WAY or self._pays(intent, request):
                return self._existing(intent, request)
        return None

    def _pays(self, intent: Json, request: CollectRequest) -> bool:
        amount, currency = request.amount.minor, request.amount.currency.lower()
        return is_taken(intent) and (intent.get("amount"), intent.get("currency")) == (amount, currency)

    def _existing(self, intent: Json, request: CollectRequest) -> Collected:
        log.warning("stripe.paid_already invoice=%s key=%s", request.invoice, request.key)
        ours = KEY in words(intent, "metadata")
        whose = "an earlier attempt" if ours else "another integration of this Stripe account"
        found = self.lookup.told(intent, request, by="existing")
        return replace(
            found, note=f"Nothing was charged: {whose} has collected this invoice, or is about to."
        )

    def _call_off(self, intent: Json, request: CollectRequest) -> None:
        """Cancel what an earlier attempt of ours left open: two that can be paid could be paid twice.

        :raises Temporary: the customer is paying it this very moment.
        """
        if KEY not in words(intent, "metadata"):
            return  # another integration's: not ours to cancel
        try:
            with self.api.answers():
                self.api.v1.payment_intents.cancel(
                    text(intent, "id"),
                    {"cancellation_reason": "abandoned"},
                    keyed(f"{request.key}-calls-off"),
                )
        except Refused as exc:
            raise Temporary(
                f"The earlier payment {intent['id']} is being paid just now ({exc.code})"
            ) from exc

    def _method(self, owner: Json) -> tuple[SavedMethod | None, str | None]:
        """Return the method to charge, or None and why none may be."""
        kept, reasons = self.methods.of_owner(owner), []
        for method in kept:
            why = self.limits.leaves_alone(text(owner, "id"), method)
            if why is None:
                return method, None
            reasons.append(why)
        return None, _LEFT_ALONE.format(why="; ".join(reasons)) if reasons else None

    def _charged(self, request: CollectRequest, customer: str, method: SavedMethod) -> Collected:
        assert method.method.ref is not None  # noqa: S101 - every saved method has its id
        given: Any = self._basics(request, customer) | {
            "payment_method": method.method.ref.id,
            "confirm": True,
            "off_session": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
        try:
            with self.api.answers(money=True):
                made = plain(self.api.v1.payment_intents.create(given, keyed(request.key)))
        except stripe.CardError as exc:
            return self._declined(exc, request)
        return replace(self.lookup.told(made, request), by="saved_method")

    def _declined(self, exc: stripe.CardError, request: CollectRequest) -> Collected:
        body = exc.json_body if isinstance(exc.json_body, dict) else {}
        error: Json = body.get("error") or {}
        intent = error.get("payment_intent")
        if isinstance(intent, dict) and waits_for_customer(error):
            return replace(self.lookup.told(intent, request), by="saved_method")
        with readable("the declined payment", money=True):
            ref = text(intent, "id") if isinstance(intent, dict) else None
        return Collected(
            state=CollectState.DECLINED,
            by="saved_method",
            session=ref,
            payment=Ref(self.connection, ref) if ref else None,
            decline=decline(error),
        )

    def _open(self, request: CollectRequest, customer: str | None) -> Collected:
        given: Any = self._basics(request, customer) | {"automatic_payment_methods": {"enabled": True}}
        if self.save and customer:
            given["setup_future_usage"] = "off_session"
        with self.api.answers(money=True):
            made = plain(self.api.v1.payment_intents.create(given, keyed(request.key)))
        return self.lookup.told(made, request)

    def _basics(self, request: CollectRequest, customer: str | None) -> dict[str, object]:
        pairs = {KEY: request.key} | {name: value[:500] for name, value in request.metadata.items()}
        basics: dict[str, object] = {
            "amount": request.amount.minor,
            "currency": request.amount.currency.lower(),
            "metadata": dict(list(pairs.items())[:_MOST_PAIRS]),
            "description": f"Invoice {request.number}" if request.number else f"Invoice {request.invoice.id}",
        }
        return basics | ({"customer": customer} if customer else {})


def _check_amount(amount: Money) -> None:
    if amount.minor <= 0:
        raise Refused(
            f"{amount} is nothing to collect: mark the invoice paid in the billing engine", code="amount"
        )
    if amount.minor > LARGEST:
        most = Money(LARGEST, amount.currency)
        raise Refused(
            f"{amount} is more than Stripe charges at once ({most}): split the invoice", code="amount"
        )
