"""What a plugin must offer, and what it may offer: protocols for payment providers, billing engines, webhook sources.

A plugin's objects belong to one connection each. The two operations every payment provider has are :meth:`collect`
and :meth:`find_collected`; everything else is a small ``Supports…`` protocol that a provider implements or not, so a
type checker proves what is claimed, the contract suites test it, and pages show only what works.

How calls end (see :mod:`billhook.errors`): a value · :class:`Refused` (an expected no) · :class:`Temporary` ·
:class:`Permanent` · :class:`OutcomeUnknown`, after which the host looks (``find_…`` / ``look_first``) before it repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from billhook.events import Event, Refetch
from billhook.model import (
    Customer,
    Decline,
    Mandate,
    PaymentMethod,
    Plan,
    Ref,
    Subscription,
    Usage,
)
from billhook.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """Who a provider is and how it behaves. ``plugin`` is its entry point's name, ``title`` what people read.

    unordered_events: deliveries may overtake each other.   thin_events: some only name a thing to fetch.
    late_failure: a payment reported under way may fail days later.   retries_itself: it repeats declined charges.
    merchant_of_record: it is the seller, owns tax and disputes, and writes invoices of its own.
    """

    plugin: str
    title: str
    unordered_events: bool = True
    thin_events: bool = False
    late_failure: bool = False
    merchant_of_record: bool = False
    retries_itself: bool = False


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of checking a connection: what was found and how to mend it."""

    severity: Severity
    what: str
    fix: str = ""


@runtime_checkable
class SupportsCheck(Protocol):
    """Can look at its own set-up by harmless calls."""

    def check(self) -> Sequence[Finding]:
        """Look at credentials, products, licence…; raises :class:`ProviderError` when it cannot look."""
        ...


# --- webhook sources ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """A delivery as it came over the wire. Header names are lower-case; the body is untouched."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A verified delivery's identity. ``key`` is the sender's id of it; ``content_key`` a second one, for senders that
    may send the same thing under two ids. A delivery is known already when either was seen on this connection.
    ``type`` is the sender's word for the event, for people to read."""

    key: str
    content_key: str | None = None
    type: str = ""


@runtime_checkable
class WebhookSource(Protocol):
    """Understands what a provider delivers. ``verify`` and ``parse`` are pure functions of bytes."""

    connection: str
    info: ProviderInfo

    def verify(self, request: WebhookRequest, *, now: datetime) -> Delivery:
        """Check the signature over the raw body; raises :class:`SignatureInvalid`.

        Must not parse more than it needs and must not fail in any other way on hostile input.
        """
        ...

    def parse(self, body: bytes) -> Sequence[Event | Refetch]:
        """Say what the body means. An unknown type gives an empty list; raises :class:`PayloadInvalid`."""
        ...

    def refetch(self, thing: Refetch) -> Sequence[Event]:
        """Ask the provider for what :meth:`parse` could only name. Network; raises :class:`ProviderError`,
        :class:`NotFound`."""
        ...


# --- reconciliation ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One thing as its provider lists it now. ``kind`` is our word for it (``invoice``, ``payment``, ``customer``…).

    ``news``, a pure function of all facts known about ``ref``, says what may be missing: facts equal to those that a
    webhook would have given, and things to fetch where the list does not tell enough. What is known already may be
    said again. A fact without a time of its own stays undated: it holds as long as nobody says otherwise.
    ``changed_at``: the latest change that the provider dates; None: it dates none.
    """

    kind: str
    ref: Ref
    changed_at: datetime | None
    news: Callable[[Sequence[Event]], Sequence[Event | Refetch]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileWindow:
    """What to look through: what happened from ``since`` (None: ever) to ``until``.

    ``cursor``: go on after the page that gave it; None: begin.
    """

    since: datetime | None
    until: datetime
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilePage:
    """What one call listed. ``cursor`` names the place after it (opaque to the host); None: there is no more.

    ``pause``: how long to leave the provider alone before the next call, when it says that its limit is reached.
    """

    sightings: Sequence[Sighting]
    cursor: str | None
    pause: timedelta = timedelta()


@runtime_checkable
class SupportsReconcile(Protocol):
    """Can list what its provider holds. Implemented by a connection's :class:`WebhookSource`, which knows the facts
    that its webhooks give and fetches what a :class:`Sighting` only names."""

    def reconcile(self, window: ReconcileWindow) -> Iterator[ReconcilePage]:
        """Yield what happened in the window, page by page; one call to the provider for each page.

        Must cover every kind of thing the webhooks tell about, those that cannot be listed by time as a whole, and
        hold one page in memory at a time. It may be stopped after any page and begun again with that page's cursor,
        in another process; what shifted in between may be listed twice but must not be left out.

        :raises ProviderError: the provider could not be asked; the pages before it count.
        """
        ...


# --- payment providers -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectRequest:
    """One attempt to collect one invoice.

    ``key`` is ours, taken before this call and never reused: send it as idempotency key and in the metadata.
    ``taxes`` (minor units) is the part of ``amount`` that the billing engine calls tax. ``return_url`` is our own
    stable pay page. ``present``: the customer is waiting in a browser, so only something to pay at helps.
    ``since`` is when the first attempt with this key was made: where a look-up must begin.
    """

    key: str
    attempt: int
    invoice: Ref
    number: str | None
    amount: Money
    taxes: int
    customer: Customer | None
    metadata: Mapping[str, str]
    return_url: str
    since: datetime
    mandates: Sequence[Mandate] = ()
    present: bool = False


class CollectState(StrEnum):
    """How an attempt to collect ended for now; the rest comes by webhook."""

    OPEN = "open"  # the customer must pay at ``url``
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What the provider answered. ``by`` names the rung of the ladder: ``mandate``, ``saved_method``, ``checkout``.
    ``note``: what an operator should know."""

    state: CollectState
    by: str
    session: str | None = None
    url: str | None = None
    expires_at: datetime | None = None
    payment: Ref | None = None
    decline: Decline | None = None
    note: str | None = None


@runtime_checkable
class PaymentProvider(Protocol):
    """Collects money."""

    connection: str
    info: ProviderInfo

    def collect(self, request: CollectRequest) -> Collected:
        """Try to collect. Must send at most one request that can move money, and never repeat it by itself.

        :raises Refused: this invoice cannot be collected here (amount, currency, set-up); says why and what to do.
        """
        ...

    def find_collected(self, request: CollectRequest) -> Collected | None:
        """Look whether an earlier call with ``request.key`` took effect; None: it did not."""
        ...


@runtime_checkable
class SupportsCheckoutStatus(Protocol):
    """Can tell whether a checkout session may still be paid."""

    def checkout_usable(self, session: str) -> bool:
        """True when a customer sent there now could pay."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Give ``amount`` of ``payment`` back. ``key`` is ours and unique; ``metadata`` goes onto the refund."""

    key: str
    payment: Ref
    amount: Money
    whole: bool
    reason: str | None
    metadata: Mapping[str, str]
    since: datetime


@runtime_checkable
class SupportsRefunds(Protocol):
    """Can give money back."""

    def refund(self, request: RefundRequest) -> Ref:
        """Ask for a refund; its outcome comes by webhook. :raises Refused: window over, method cannot…"""
        ...

    def find_refund(self, request: RefundRequest) -> Ref | None:
        """Look whether an earlier call with ``request.key`` took effect."""
        ...


@runtime_checkable
class SupportsSavedMethods(Protocol):
    """Keeps payment methods for later."""

    def payment_methods(self, provider_customer: str) -> Sequence[PaymentMethod]:
        """List what the customer saved there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateRequest:
    """Ask ``customer`` for a standing permission in ``currency``."""

    key: str
    customer: Customer
    currency: str
    metadata: Mapping[str, str]
    return_url: str


@runtime_checkable
class SupportsMandates(Protocol):
    """Can ask a customer once for a standing permission to charge."""

    def mandate_url(self, request: MandateRequest) -> str:
        """Return where the customer gives the permission; it becomes known by webhook."""
        ...


# --- billing engines ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the engine made of something we told it. ``ref``: its document. ``note``: what an operator should know,
    for instance what a missing licence cost. ``facts``: how things stand after it, where no webhook will say so."""

    ref: Ref | None = None
    note: str | None = None
    facts: Sequence[Event] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRecord:
    """A payment for the engine's books. ``reference`` is the provider's payment id.
    ``look_first``: an earlier call may have gone through: look before telling it again."""

    invoice: Ref
    reference: str
    amount: Money
    paid_at: datetime
    look_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteRequest:
    """A refund for the engine's books; ``refund`` is the provider's refund."""

    invoice: Ref
    refund: Ref
    amount: Money
    reason: str | None
    look_first: bool


@runtime_checkable
class BillingEngine(Protocol):
    """Owns customers, plans, subscriptions and invoices."""

    connection: str
    info: ProviderInfo

    def upsert_customer(self, customer: Customer) -> Ref:
        """Create or change the customer; repeating it is harmless.

        :raises Conflict: a value clashes (``field`` names it); somebody must correct it.
        """
        ...

    def fetch_invoice(self, invoice: Ref) -> Sequence[Event]:
        """Say how the invoice stands now, as facts; raises :class:`NotFound`."""
        ...

    def record_payment(self, record: PaymentRecord) -> Recorded:
        """Enter a payment."""
        ...

    def record_failure(self, invoice: Ref) -> Recorded:
        """Enter that the last attempt failed; repeating it is harmless."""
        ...


@runtime_checkable
class SupportsCreditNotes(Protocol):
    """Keeps credit notes."""

    def issue_credit_note(self, request: CreditNoteRequest) -> Recorded:
        """Document a refund that happened elsewhere."""
        ...

    def close_refund(self, credit_note: Ref, *, succeeded: bool) -> Recorded:
        """Say how the refund that ``credit_note`` asked for ended; repeating it is harmless."""
        ...


@runtime_checkable
class SupportsPlans(Protocol):
    """Lists what is sold."""

    def plans(self) -> Sequence[Plan]:
        """Return all plans."""
        ...


@runtime_checkable
class SupportsDefaultMethod(Protocol):
    """Keeps payment methods of a payment provider itself, for what it collects through an integration of its own."""

    def choose_method(self, customer_id: str, method: Ref) -> bool:
        """Take ``method``, the payment provider's, first from now on; False: it keeps no such method, so nothing changes.

        Repeating it is harmless.
        """
        ...


class CancelWhen(StrEnum):
    """When a cancellation takes effect."""

    NOW = "now"
    PERIOD_END = "period_end"


@runtime_checkable
class SupportsSubscriptions(Protocol):
    """Starts, changes and ends subscriptions. ``external_id`` is the agreement's id, stable over plan changes."""

    def subscriptions(self, customer_id: str) -> Sequence[Subscription]:
        """Return all of a customer's, whatever their status."""
        ...

    def subscribe(self, *, customer_id: str, plan: str, external_id: str) -> Subscription:
        """Start one; the same again returns what is there."""
        ...

    def change_plan(self, subscription: Subscription, *, plan: str) -> Subscription:
        """Move to another plan; whether now or at the period's end is the engine's rule and shows in the answer."""
        ...

    def cancel_pending_change(self, subscription: Subscription) -> None:
        """Call off a scheduled plan change."""
        ...

    def cancel(self, subscription: Subscription, *, when: CancelWhen | datetime) -> Subscription:
        """End it now, at the period's end, or at an instant."""
        ...

    def undo_cancel(self, subscription: Subscription) -> Subscription:
        """Take a scheduled end back."""
        ...


@runtime_checkable
class SupportsInvoicePdf(Protocol):
    """Has a PDF of each invoice."""

    def invoice_pdf(self, invoice: Ref) -> bytes | None:
        """Return the file; None: it is being made, ask again later."""
        ...


@runtime_checkable
class SupportsUsage(Protocol):
    """Meters consumption."""

    def usage(self, *, customer_id: str, external_id: str) -> Usage:
        """Return the current period's consumption of one subscription."""
        ...
