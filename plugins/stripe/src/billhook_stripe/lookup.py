"""Looking at Stripe before anything is repeated: what became of an earlier call, and what else pays this invoice.

PaymentIntents are listed and compared by their metadata. Stripe's search would be shorter, but it may be a minute behind:
it only adds what an earlier attempt did under a Stripe customer that is no longer known for ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from billhook.errors import NotFound, Temporary
from billhook.events import (
    PaymentCanceled,
    PaymentEvent,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
)
from billhook.model import Decline, DeclineClass, Ref
from billhook.provider import Collected, CollectRequest, CollectState, RefundRequest

from .client import MOST_PAGES, PAGE, StripeApi, plain, readable
from .customers import Customers, escaped
from .facts import Reader
from .payloads import Json, instant, maybe_record, text, words

KEY: Final = "billhook_key"
"""The metadata key that carries our own idempotency key: what a look-up finds a charge by."""
CLOCKS_APART: Final = timedelta(minutes=15)
"""How far Stripe's clock and ours may differ before something is overlooked."""
OPEN: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
"""The states of a PaymentIntent that can still be paid and has moved nothing."""
UNDER_WAY: Final = ("processing", "requires_capture")

_CALLED_OFF = Decline(code="canceled", kind=DeclineClass.SOFT, message="The payment was canceled.")
_INVOICE = (
    "_invoice_id"  # how every billing engine's id of an invoice is called on a payment: <plugin>_invoice_id
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Finds what was done through one connection."""

    api: StripeApi
    customers: Customers
    reader: Reader
    connection: str

    def collected(self, request: CollectRequest) -> Collected | None:
        """Return what became of an earlier :meth:`collect` with this key; None: nothing did."""
        for customer in (*self.customers.known(request.customer, request.mandates), None):
            since = None if customer else request.since - CLOCKS_APART
            with readable("the list of payments"):
                for row in self._intents(customer=customer, since=since):
                    if words(row, "metadata").get(KEY) == request.key:
                        return self.told(row, request)
        return None

    def for_invoice(self, request: CollectRequest, customer: str | None) -> Sequence[Json]:
        """Return the PaymentIntents for the same invoice, ours and others', newest first.

        Those of ``customer`` (None: of the whole account), and of every other Stripe customer that an attempt before this
        one may have used: a link that changed, a mandate that became known meanwhile.
        """
        since = None if customer else request.since - CLOCKS_APART
        known = self.customers.known(request.customer, request.mandates) if customer else ()
        found: dict[str, Json] = {}
        with readable("the list of payments"):
            for owner in dict.fromkeys((customer, *known)):
                rows = self._intents(customer=owner, since=since)
                found |= {
                    text(row, "id"): row for row in rows if _same_invoice(words(row, "metadata"), request)
                }
            if request.attempt > 1:
                found |= {ref: self.intent(ref) for ref in self._searched(request) if ref not in found}
            return sorted(found.values(), key=lambda row: instant(row, "created"), reverse=True)

    def intent(self, ref: str) -> Json:
        """Return one PaymentIntent with its method and last charge; raises :class:`~billhook.errors.NotFound`."""
        with self.api.answers():
            expand = ["payment_method", "latest_charge"]
            return plain(self.api.v1.payment_intents.retrieve(ref, {"expand": expand}))

    def refund(self, request: RefundRequest) -> Ref | None:
        """Return the refund that an earlier call with this key made; None: it made none."""
        with self.api.answers():
            page = self.api.v1.refunds.list({"payment_intent": request.payment.id, "limit": PAGE})
            rows = [plain(each) for each in page.auto_paging_iter()]
        with readable("the list of refunds"):
            ours = [text(row, "id") for row in rows if words(row, "metadata").get(KEY) == request.key]
        return Ref(self.connection, ours[0]) if ours else None

    def told(self, intent: Json, request: CollectRequest, *, by: str | None = None) -> Collected:
        """Say how a PaymentIntent stands, as the answer to a request to collect.

        What the customer may still pay is open on our own pay page, where Stripe's form stands.
        """
        with readable("the payment", money=True):
            ref, status = text(intent, "id"), text(intent, "status")
            facts = self.reader.payment(intent, at=None)
            tried = bool(intent.get("latest_charge"))
        payment = Ref(self.connection, ref) if tried else None
        fact = facts[0] if facts else None
        state, decline = _state(fact)
        if state is CollectState.OPEN and status in OPEN:
            rung = by or ("saved_method" if tried else "page")
            return Collected(state=state, by=rung, session=ref, url=request.return_url, payment=payment)
        return Collected(state=state, by=by or "saved_method", session=ref, payment=payment, decline=decline)

    def _searched(self, request: CollectRequest) -> Iterator[str]:
        """Return the ids of what Stripe's search finds for the invoice; a search may be behind, so look at each."""
        asked = sorted(_names_of_invoice(request))
        if not asked:
            return
        query = " OR ".join(f"metadata['{name}']:'{escaped(value)}'" for name, value in asked)
        with self.api.answers():
            rows = self.api.v1.payment_intents.search({"query": query, "limit": PAGE}).data
        for row in map(plain, rows):
            if _same_invoice(words(row, "metadata"), request):
                yield text(row, "id")

    def _intents(self, *, customer: str | None, since: Any) -> Iterator[Json]:
        """List PaymentIntents, newest first; whoever looks something up must not take a cut list for "not there".

        A customer who is not at Stripe (any more, or in this account) has none.
        """
        params: Any = {"limit": PAGE, "expand": ["data.latest_charge"]}
        params |= {"customer": customer} if customer else {}
        params |= {"created": {"gte": int(since.timestamp())}} if since else {}
        for _ in range(MOST_PAGES):
            try:
                with self.api.answers():
                    page = self.api.v1.payment_intents.list(params)
            except NotFound:
                return
            rows = [plain(each) for each in page.data]
            yield from rows
            if not page.has_more or not rows:
                return
            params = {**params, "starting_after": rows[-1]["id"]}
        raise Temporary(f"Stripe lists more than {MOST_PAGES * PAGE} payments; narrow the time")


def is_taken(intent: Json) -> bool:
    """Say whether a PaymentIntent brought money that was neither given back nor taken back."""
    charge = maybe_record(intent, "latest_charge")
    back = charge.get("refunded") is True or charge.get("disputed") is True
    return intent.get("status") == "succeeded" and not back


def _same_invoice(metadata: dict[str, str], request: CollectRequest) -> bool:
    return bool(_names_of_invoice(request) & set(metadata.items())) or metadata.get(KEY) == request.key


def _names_of_invoice(request: CollectRequest) -> set[tuple[str, str]]:
    return {
        (name, value)
        for name, value in request.metadata.items()
        if name == "billhook_invoice" or name.endswith(_INVOICE)
    }


def _state(fact: PaymentEvent | None) -> tuple[CollectState, Decline | None]:
    match fact:
        case PaymentSucceeded():
            return CollectState.SUCCEEDED, None
        case PaymentFailed():
            return CollectState.DECLINED, fact.decline
        case PaymentCanceled():
            return CollectState.DECLINED, _CALLED_OFF
        case PaymentProcessing(requires_action=False):
            return CollectState.PROCESSING, None
        case PaymentProcessing() | None:
            return CollectState.OPEN, None
