"""The payment methods a customer keeps at Stripe: listed, added by a SetupIntent, chosen, removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from billhook.errors import NotFound, PayloadInvalid
from billhook.methods import PageState, SavedMethod, Setup, SetupRequest
from billhook.model import Ref

from .client import PAGE, StripeApi, keyed, plain, readable
from .customers import Customers
from .declines import decline
from .facts import Reader
from .payloads import Json, expanded, id_of, instant, maybe_record, maybe_text, text

STATES = {
    "requires_payment_method": PageState.OPEN,
    "requires_confirmation": PageState.OPEN,
    "requires_action": PageState.OPEN,
    "requires_capture": PageState.PROCESSING,
    "processing": PageState.PROCESSING,
    "succeeded": PageState.SUCCEEDED,
    "canceled": PageState.CANCELED,
}
"""What Stripe's states of an intent mean for a page."""

_SHOWN_AGAIN = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """Keeps methods through one connection. Every call is about one customer, and reaches nothing of another's."""

    api: StripeApi
    customers: Customers
    reader: Reader

    def of(self, customer: str) -> Sequence[SavedMethod]:
        """Return what a customer keeps, the default first, then the newest.

        :raises NotFound: there is no such customer.
        """
        owner = self.customers.find(customer)
        if owner is None:
            raise NotFound(f"Stripe knows no customer {customer}")
        return self.of_owner(owner)

    def of_owner(self, owner: Json) -> Sequence[SavedMethod]:
        """Return what a customer keeps, given as Stripe shows it."""
        with readable("the customer"):
            default = id_of(maybe_record(owner, "invoice_settings"), "default_payment_method")
            ref = text(owner, "id")
        with self.api.answers():
            page = self.api.v1.customers.payment_methods.list(ref, {"limit": PAGE})
            rows = [plain(each) for each in page.auto_paging_iter()]
        with readable("the list of payment methods"):
            kept = [self._saved(row, default=default) for row in rows]
        return sorted(kept, key=lambda each: not each.default)

    def begin(self, request: SetupRequest) -> Setup:
        """Open a SetupIntent for later charges; the same key gives the same one."""
        given: Any = {
            "customer": request.provider_customer,
            "usage": "off_session",
            "automatic_payment_methods": {"enabled": True},
            "metadata": dict(request.metadata),
        }
        with self.api.answers():
            made = plain(self.api.v1.setup_intents.create(given, keyed(request.key)))
        return self._setup(made, kept=())

    def setup(self, customer: str, ref: str) -> Setup:
        """Say how a SetupIntent of this customer stands; one of another's is not there."""
        with self.api.answers():
            found = plain(self.api.v1.setup_intents.retrieve(ref, {"expand": ["payment_method"]}))
        if id_of(found, "customer") != customer:
            raise NotFound(f"Stripe knows no set-up {ref} of this customer")
        kept = self.of(customer) if found.get("status") == "succeeded" else ()
        return self._setup(found, kept=kept)

    def choose(self, customer: str, method: Ref) -> None:
        """Make a method the default, and let it be shown again."""
        self._owned(customer, method)
        with self.api.answers():
            self.api.v1.customers.update(
                customer, {"invoice_settings": {"default_payment_method": method.id}}
            )
            self.api.v1.payment_methods.update(method.id, {"allow_redisplay": _SHOWN_AGAIN})

    def remove(self, customer: str, method: Ref) -> None:
        """Detach a method for good; one that nobody keeps any more is gone already."""
        found = self._method(method)
        owner = id_of(found, "customer")
        if owner is None:
            return
        if owner != customer:
            raise _no_method(method)
        with self.api.answers():
            self.api.v1.payment_methods.detach(method.id)

    def _owned(self, customer: str, method: Ref) -> None:
        if id_of(self._method(method), "customer") != customer:
            raise _no_method(method)

    def _method(self, method: Ref) -> Json:
        with self.api.answers():
            return plain(self.api.v1.payment_methods.retrieve(method.id))

    def _setup(self, data: Json, *, kept: Sequence[SavedMethod]) -> Setup:
        with readable("the SetupIntent"):
            error = maybe_record(data, "last_setup_error")
            ref, state = text(data, "id"), _state(data)
            secret, chosen = maybe_text(data, "client_secret"), id_of(data, "payment_method")
            why = decline(error) if error else None
        method = next((each for each in kept if each.method.ref and each.method.ref.id == chosen), None)
        done = state in (PageState.SUCCEEDED, PageState.CANCELED)
        return Setup(
            id=ref,
            state=state,
            client_secret=None if done else secret,
            method=method,
            saved_before=_twin(method, kept),
            decline=why,
        )

    def _saved(self, row: Json, *, default: str | None) -> SavedMethod:
        details = expanded(row, text(row, "type"))
        return SavedMethod(
            method=self.reader.method(row, reusable=True),
            default=row.get("id") == default,
            fingerprint=maybe_text(details, "fingerprint"),
            saved_at=instant(row, "created"),
        )


def _twin(method: SavedMethod | None, kept: Sequence[SavedMethod]) -> Ref | None:
    """Return the elder method with the same card or account behind it."""
    if method is None or method.fingerprint is None:
        return None
    same = [each for each in kept if each.fingerprint == method.fingerprint and each is not method]
    return same[-1].method.ref if same else None


def _state(data: Json) -> PageState:
    status = text(data, "status")
    if status not in STATES:
        raise PayloadInvalid(f"status: {status!r} is not known for an intent")
    return STATES[status]


def _no_method(method: Ref) -> NotFound:
    return NotFound(f"The customer has no payment method {method.id}")
