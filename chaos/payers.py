"""The payment providers that chaos can be played with: what their customers do, and what their own books say.

Each stands in front of its sandbox, so that the people (:mod:`chaos.load`) and the verdict (:mod:`chaos.verdict`) need
not know which one it is. Amounts are in minor units.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from billhook.clock import Clock
from billhook.testing.sandbox import Headers, Post
from billhook_dodo.sandbox import ApiError as DodoRefuses
from billhook_dodo.sandbox import DodoSandbox
from billhook_stripe.sandbox import ApiError as StripeRefuses
from billhook_stripe.sandbox import Settings, StripeSandbox

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

INVOICE: Final = "lago_invoice_id"
"""The metadata key under which every payment names its invoice."""

DEBIT_SECONDS = 2
"""How long a bank takes to answer a debit. Days in earnest."""

_ASKS = "4000002760003184"  # its bank wants the customer every time
_DEBIT = "DE89370400440532013000"
_EMPTY = "4000000000009995"
_KEPT = ("4242424242424242", _DEBIT, _ASKS)
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


class PageOver(Exception):
    """The page cannot be paid any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where a customer can pay an invoice. ``tries``: how often it was declined there; the page may outlive that."""

    invoice: str
    session: str
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Money that was taken from a customer for an invoice, or is under way. ``payment``: what the host knows it by."""

    invoice: str
    payment: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Money that was given back, or is on its way back."""

    invoice: str | None
    payment: str
    amount: int


class Payer(Protocol):
    """A payment provider, its customers and its books."""

    name: str

    @property
    def app(self) -> WSGIApplication:
        """Return its API."""
        ...

    def environment(self, url: str) -> Mapping[str, str]:
        """Return the connection's settings, its API being at ``url``."""
        ...

    def go_on(self) -> None:
        """Let what is due happen, and send what there is to tell."""
        ...

    def agree(self, customer: str, *, email: str, number: int) -> None:
        """Let a customer agree to be charged without being there; ``number`` draws by what."""
        ...

    def pages(self) -> Mapping[str, Page]:
        """Return the newest page of each invoice, whether or not it can still be paid."""
        ...

    def pay(self, page: Page) -> None:
        """Pay; raises :class:`PageOver`."""
        ...

    def decline(self, page: Page) -> None:
        """Be declined for lack of money; raises :class:`PageOver`."""
        ...

    def refund(self, payment: str, amount: int) -> None:
        """Give money back from the provider's dashboard."""
        ...

    def charges(self) -> Mapping[str, list[Charge]]:
        """Return what was charged, by invoice."""
        ...

    def returns(self) -> list[Return]:
        """Return what was given back."""
        ...

    def asks_again(self) -> Iterable[str]:
        """Name each invoice that was charged and could be paid once more, with what it could be paid by."""
        ...


class DodoPayer:
    """Dodo Payments. Its pages cannot be withdrawn, and each serves one try."""

    name = "dodo"

    def __init__(self, *, clock: Clock, post: Post) -> None:
        self._sandbox = DodoSandbox(clock=clock, post=post)

    @property
    def app(self) -> WSGIApplication:
        return self._sandbox

    def environment(self, url: str) -> Mapping[str, str]:
        return self._sandbox.environment(url)

    def go_on(self) -> None:
        self._sandbox.deliver_webhooks()

    def agree(self, customer: str, *, email: str, number: int) -> None:
        self._sandbox.authorise_mandate(email=email, metadata={"lago_customer_id": customer})

    def pages(self) -> Mapping[str, Page]:
        named = ((each["metadata"].get(INVOICE), each["session_id"]) for each in self._sandbox.checkouts)
        return {invoice: Page(invoice=invoice, session=session) for invoice, session in named if invoice}

    def pay(self, page: Page) -> None:
        _at_dodo(lambda: self._sandbox.pay(page.session))

    def decline(self, page: Page) -> None:
        _at_dodo(lambda: self._sandbox.decline(page.session, code="INSUFFICIENT_FUNDS"))

    def refund(self, payment: str, amount: int) -> None:
        self._sandbox.refund(payment, amount)

    def charges(self) -> Mapping[str, list[Charge]]:
        return _by_invoice(
            Charge(invoice=invoice, payment=each["payment_id"], amount=each["total_amount"])
            for each in self._sandbox.payments
            if (invoice := each["metadata"].get(INVOICE))
            and each["total_amount"]
            and each["status"] in ("succeeded", "processing")
        )

    def returns(self) -> list[Return]:
        paid = {each["payment_id"]: each["metadata"].get(INVOICE) for each in self._sandbox.payments}
        return [
            Return(invoice=paid[each["payment_id"]], payment=each["payment_id"], amount=each["amount"])
            for each in self._sandbox.refunds
        ]

    def asks_again(self) -> Iterable[str]:
        return ()


class StripePayer:
    """Stripe. Customers keep cards, accounts, and cards whose bank wants to be asked; a page outlives a decline."""

    name = "stripe"

    def __init__(self, *, clock: Clock, post: Post) -> None:
        settings = Settings(debit_delay=timedelta(seconds=DEBIT_SECONDS))
        self._sandbox = StripeSandbox(clock=clock, post=post, settings=settings)

    @property
    def app(self) -> WSGIApplication:
        return self._sandbox

    def environment(self, url: str) -> Mapping[str, str]:
        return self._sandbox.environment(url)

    def go_on(self) -> None:
        self._sandbox.tick()
        self._sandbox.deliver_webhooks()

    def agree(self, customer: str, *, email: str, number: int) -> None:
        owner = {"lago_customer_id": customer}
        made = self._sandbox.add_customer(email=email, metadata=owner)
        card = _KEPT[number % len(_KEPT)]
        self._sandbox.add_method(made["id"], card=card, default=True, metadata=owner)

    def pages(self) -> Mapping[str, Page]:
        tries = [each["payment_intent"] for each in self._sandbox.charges if each["status"] == "failed"]
        return {
            invoice: Page(invoice=invoice, session=each["id"], tries=tries.count(each["id"]))
            for each in self._sandbox.intents
            if (invoice := each["metadata"].get(INVOICE))
        }

    def pay(self, page: Page) -> None:
        _at_stripe(lambda: self._sandbox.pay(page.session))

    def decline(self, page: Page) -> None:
        _at_stripe(lambda: self._sandbox.pay(page.session, card=_EMPTY))

    def refund(self, payment: str, amount: int) -> None:
        self._sandbox.refund(payment, amount)

    def charges(self) -> Mapping[str, list[Charge]]:
        return _by_invoice(
            Charge(invoice=invoice, payment=each["payment_intent"], amount=each["amount"])
            for each in self._sandbox.charges
            if (invoice := each["metadata"].get(INVOICE)) and each["status"] in ("succeeded", "pending")
        )

    def returns(self) -> list[Return]:
        paid = {each["id"]: each["metadata"].get(INVOICE) for each in self._sandbox.intents}
        return [
            Return(
                invoice=paid[each["payment_intent"]], payment=each["payment_intent"], amount=each["amount"]
            )
            for each in self._sandbox.refunds
            if each["status"] in ("succeeded", "pending")
        ]

    def asks_again(self) -> Iterable[str]:
        charged = self.charges()
        for each in self._sandbox.intents:
            invoice = each["metadata"].get(INVOICE)
            if invoice in charged and each["status"] in _OPEN:
                yield f"{invoice} was charged and could be paid again by {each['id']} ({each['status']})"


PAYERS: Final[Mapping[str, type[DodoPayer] | type[StripePayer]]] = {"dodo": DodoPayer, "stripe": StripePayer}


def delivery_of(body: bytes, headers: Headers) -> str:
    """Return what a provider's delivery is known by, the same in every repetition: a header's word, or the event's id."""
    given = {name.lower(): value for name, value in headers.items()}
    for name in ("x-lago-unique-key", "webhook-id"):
        if name in given:
            return given[name]
    event: dict[str, Any] = json.loads(body)
    return str(event["id"])


def _by_invoice(charges: Iterable[Charge]) -> dict[str, list[Charge]]:
    found: dict[str, list[Charge]] = {}
    for charge in charges:
        found.setdefault(charge.invoice, []).append(charge)
    return found


def _at_dodo(do: Callable[[], object]) -> None:
    try:
        do()
    except DodoRefuses as exc:
        raise PageOver(str(exc)) from exc


def _at_stripe(do: Callable[[], object]) -> None:
    try:
        do()
    except StripeRefuses as exc:
        raise PageOver(str(exc)) from exc
