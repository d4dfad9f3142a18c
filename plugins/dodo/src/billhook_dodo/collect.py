"""Collecting one invoice: what Dodo cannot charge is refused first, then the ladder is climbed down.

1. ``mandate``: an on-demand subscription, charged off-session. On hold after our own failed charge, its payment
   method is updated instead, which collects the dues: Dodo takes no second charge while it is on hold.
2. ``saved_method``: a checkout confirmed at once with a method the customer saved.
3. ``checkout``: a hosted page. Always used while the customer is present, or when the connection says so.

A rung that Dodo refuses has moved nothing, so the next one is tried. A rung that gives no answer is the last one:
its outcome is unknown and must be looked up (:mod:`billhook_dodo.lookup`) before anything is repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from billhook.clock import Clock
from billhook.config import prefix_of
from billhook.errors import Permanent, Refused
from billhook.model import Mandate, MandateStatus, PaymentMethod, Ref
from billhook.money import Money
from billhook.provider import Collected, CollectRequest, CollectState

from .bodies import LOCKED_FLAGS, billing_address, customer, metadata
from .client import DodoApi, readable
from .facts import TaxMode
from .lookup import LINK_LIFE, Lookup
from .payloads import Json, maybe_text, text
from .products import MINIMUMS, Products
from .saved import saved_methods

log = logging.getLogger("billhook.dodo")

LARGEST: Final = 2_147_483_647
"""Dodo's amounts are 32-bit integers of minor units."""

_Rung = Callable[[CollectRequest], Collected | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Collects through one connection. ``charge`` is the connection's setting."""

    api: DodoApi
    products: Products
    lookup: Lookup
    clock: Clock
    connection: str
    tax_mode: TaxMode
    charge: Literal["auto", "checkout"]

    def collect(self, request: CollectRequest) -> Collected:
        """Climb down the ladder until a rung holds.

        :raises Refused: Dodo cannot charge this amount, tax or currency; says what to do.
        :raises OutcomeUnknown: the request left and no usable answer came.
        """
        self._check_amount(request.amount)
        note = self._check_taxes(request)
        for rung in self._rungs(request):
            try:
                collected = rung(request)
            except Refused as exc:
                log.info("dodo.rung_refused key=%s code=%s", request.key, exc.code)
                continue
            if collected is not None:
                return replace(collected, note=note)
        return replace(self._hosted(request), note=note)

    def _check_amount(self, amount: Money) -> None:
        least = MINIMUMS.get(amount.currency, 1)
        if amount.minor <= 0:
            raise Refused(
                f"{amount} is nothing to collect: mark the invoice paid in the billing engine", code="amount"
            )
        if amount.minor < least:
            raise Refused(
                f"{amount} is below the {Money(least, amount.currency)} that Dodo charges at least: add it to the next "
                "invoice or collect it another way",
                code="amount_below_minimum",
            )
        if amount.minor > LARGEST:
            raise Refused(
                f"{amount} is more than Dodo can charge at once ({Money(LARGEST, amount.currency)}): split the invoice",
                code="amount_too_large",
            )

    def _check_taxes(self, request: CollectRequest) -> str | None:
        """Guard against taxing twice: on its own routes Dodo is the seller and works out the tax itself."""
        if request.taxes <= 0 or self.tax_mode == "byop":
            return None
        taxes = Money(request.taxes, request.amount.currency)
        setting = f"{prefix_of(self.connection)}_TAX_MODE"
        ways_out = (
            "take the taxes out of the billing engine, because Dodo is the seller and pays them, or set "
            f"{setting}=byop if Dodo only routes to your own Stripe or Adyen"
        )
        if self.tax_mode == "exclusive":
            raise Refused(
                f"The invoice holds {taxes} of tax and Dodo would add its own on top: {ways_out}",
                code="double_tax",
            )
        log.warning("dodo.double_tax invoice=%s key=%s", request.invoice, request.key)
        return (
            f"The invoice holds {taxes} of tax, and Dodo takes its own tax out of the same total, so you pay tax twice: "
            f"{ways_out}"
        )

    def _rungs(self, request: CollectRequest) -> Iterator[_Rung]:
        if request.present or self.charge == "checkout":
            return
        yield self._by_mandate
        if request.attempt >= 2:
            yield self._by_updating_mandate
        yield self._by_saved_method

    def _by_mandate(self, request: CollectRequest) -> Collected | None:
        mandate = self._mandate(request, MandateStatus.ACTIVE)
        if mandate is None:
            return None
        body: dict[str, object] = {
            "product_price": request.amount.minor,
            "product_currency": request.amount.currency,
            # Left out, Dodo would put the subscription's metadata on the payment.
            "metadata": metadata(request.metadata, key=request.key),
        }
        if request.number:
            body["product_description"] = f"Invoice {request.number}"
        answer = self.api.post(
            "subscriptions", mandate.ref.id, "charge", json=body, key=request.key, moves_money=True
        )
        return self._under_way(answer, by="mandate")

    def _by_updating_mandate(self, request: CollectRequest) -> Collected | None:
        """Collect the dues of a mandate on hold, when they are this invoice's, with the method saved last."""
        mandate = self._mandate(request, MandateStatus.ON_HOLD)
        if mandate is None or not self.lookup.owes(mandate, request):
            return None
        method = self._reusable(mandate.provider_customer or self._dodo_customer(request))
        if method is None or method.ref is None:
            return None
        answer = self.api.post(
            "subscriptions",
            mandate.ref.id,
            "update-payment-method",
            json={"type": "existing", "payment_method_id": method.ref.id},
            key=request.key,
            moves_money=True,
        )
        return self._under_way(answer, by="mandate") if answer.get("payment_id") else None

    def _by_saved_method(self, request: CollectRequest) -> Collected | None:
        customer_id, address = self._dodo_customer(request), billing_address(request.customer)
        if customer_id is None or not address:
            return None
        method = self._reusable(customer_id)
        if method is None or method.ref is None:
            return None
        confirmation = {"confirm": True, "payment_method_id": method.ref.id}
        answer = self._checkout(request, **confirmation)
        return self._under_way(answer, by="saved_method")

    def _hosted(self, request: CollectRequest) -> Collected:
        answer = self._checkout(request)
        with readable("the checkout session", money=True):
            session, url = text(answer, "session_id"), maybe_text(answer, "checkout_url")
        if url is None:
            raise Permanent(f"Dodo made checkout session {session} without a page to pay at")
        return Collected(
            state=CollectState.OPEN,
            by="checkout",
            session=session,
            url=url,
            expires_at=self.clock.now() + LINK_LIFE,
        )

    def _checkout(self, request: CollectRequest, **confirmation: object) -> Json:
        """Open a session. A page moves no money, yet a lost answer is looked up too: one session per key."""
        product = self.products.for_invoices(request.amount.currency)
        body: dict[str, object] = {
            "product_cart": [{"product_id": product, "quantity": 1, "amount": request.amount.minor}],
            "billing_currency": request.amount.currency,
            "metadata": metadata(request.metadata, key=request.key),
            "return_url": request.return_url,
            "feature_flags": LOCKED_FLAGS,
            **customer(request.customer, self.connection),
            **billing_address(request.customer),
            **confirmation,
        }
        return self.api.post("checkouts", json=body, key=request.key, moves_money=True)

    def _under_way(self, answer: Json, *, by: str) -> Collected:
        with readable("the answer to the charge", money=True):
            payment = Ref(self.connection, text(answer, "payment_id"))
            session = maybe_text(answer, "session_id")
        return Collected(state=CollectState.PROCESSING, by=by, payment=payment, session=session)

    def _mandate(self, request: CollectRequest, status: MandateStatus) -> Mandate | None:
        """Return the newest mandate here with that status, in the invoice's currency or one not known."""
        fitting = [
            mandate
            for mandate in request.mandates
            if mandate.ref.connection == self.connection
            and mandate.status is status
            and mandate.currency in (None, request.amount.currency)
        ]
        return max(fitting, key=lambda mandate: (mandate.at, mandate.ref), default=None)

    def _reusable(self, customer_id: str | None) -> PaymentMethod | None:
        """Return the method the customer used last of those that may be charged without them."""
        if customer_id is None:
            return None
        methods = saved_methods(self.api, self.connection, customer_id)
        return next((method for method in methods if method.reusable), None)

    def _dodo_customer(self, request: CollectRequest) -> str | None:
        return request.customer.provider_ids.get(self.connection) if request.customer else None
