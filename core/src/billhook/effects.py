"""What has to happen next, as data: planned in the transaction that applied a fact, carried out from the outbox.

An effect has a ``key``: planning the same effect again, from the same or another copy of a fact, is the same effect.
It has a ``lane``: effects of one lane are carried out one at a time, in the order they were planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from billhook.model import Ref
from billhook.money import Money

_REFUND = "refund/"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectInvoice:
    """Collect an invoice: the ``attempt``-th try, not before ``not_before`` (None: at once).

    ``present``: the customer is waiting in a browser for something to pay at.
    """

    kind: Literal["collect_invoice"] = "collect_invoice"
    invoice: Ref
    attempt: int = 1
    present: bool = False
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One effect per invoice and attempt."""
        return f"collect/{self.invoice}/{self.attempt}"

    @property
    def lane(self) -> str:
        """Attempts on one invoice follow each other."""
        return f"collect/{self.invoice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPayment:
    """Tell the billing engine that ``payment`` paid ``amount`` of the invoice."""

    kind: Literal["record_payment"] = "record_payment"
    invoice: Ref
    payment: Ref
    amount: Money
    paid_at: datetime
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One effect per payment."""
        return f"record/{self.payment}"

    @property
    def lane(self) -> str:
        """What the engine is told about one invoice, it is told in order."""
        return f"books/{self.invoice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFailure:
    """Tell the billing engine that ``payment`` failed."""

    kind: Literal["record_failure"] = "record_failure"
    invoice: Ref
    payment: Ref
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One effect per failed payment."""
        return f"record-failure/{self.payment}"

    @property
    def lane(self) -> str:
        """As :attr:`RecordPayment.lane`."""
        return f"books/{self.invoice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueCreditNote:
    """Document a refund of ``payment`` in the billing engine."""

    kind: Literal["issue_credit_note"] = "issue_credit_note"
    invoice: Ref
    payment: Ref
    refund: Ref
    amount: Money
    reason: str | None = None
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One credit note per refund."""
        return f"credit/{self.refund}"

    @property
    def lane(self) -> str:
        """As :attr:`RecordPayment.lane`: the payment must be in the books before its refund."""
        return f"books/{self.invoice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPayment:
    """Give money back because the billing engine's credit note says so."""

    kind: Literal["refund_payment"] = "refund_payment"
    invoice: Ref
    credit_note: Ref
    payment: Ref
    amount: Money
    reason: str | None = None
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One refund per credit note and payment: a note may give back more than one payment brought."""
        return f"{_REFUND}{self.credit_note}/{self.payment}"

    @property
    def lane(self) -> str:
        """Refunds of one invoice follow each other: providers accept one pending refund at a time."""
        return f"refund/{self.invoice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRefund:
    """Tell the billing engine how the refund that its credit note asked for ended."""

    kind: Literal["close_refund"] = "close_refund"
    invoice: Ref
    credit_note: Ref
    refund: Ref
    succeeded: bool
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One per refund and outcome."""
        return f"close/{self.credit_note}/{self.refund}/{'succeeded' if self.succeeded else 'failed'}"

    @property
    def lane(self) -> str:
        """As :attr:`RecordPayment.lane`."""
        return f"books/{self.invoice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncCustomer:
    """Bring a customer to a billing engine as it stands when the call is made; ``version`` counts the changes."""

    kind: Literal["sync_customer"] = "sync_customer"
    customer_id: str
    connection: str
    version: int
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One effect per version."""
        return f"customer/{self.connection}/{self.customer_id}/{self.version}"

    @property
    def lane(self) -> str:
        """Changes of one customer arrive in order."""
        return f"customer/{self.connection}/{self.customer_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSubscription:
    """Have the billing engine end a subscription because an access policy says so: at once, or at its period's end.

    ``standing`` and ``since`` are the customer's when it was decided: better again when it comes to it, it is not done.
    """

    kind: Literal["cancel_subscription"] = "cancel_subscription"
    customer_id: str
    subscription: Ref
    at_once: bool
    standing: str
    since: datetime
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One per subscription and descent into a standing."""
        return f"cancel/{self.subscription}/{self.standing}/{self.since.isoformat()}"

    @property
    def lane(self) -> str:
        """What is done to one subscription is done in order."""
        return f"subscription/{self.subscription}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrangeMethod:
    """Do what a customer wished with a method they have saved: make it the default, retry what could not be collected.

    ``setup`` is the provider's id of how they added it. Their coming back to the page does the same: whichever is first
    does it, the other finds it done.
    """

    kind: Literal["arrange_method"] = "arrange_method"
    customer_id: str
    connection: str
    setup: str
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One effect per set-up."""
        return f"arrange/{self.connection}/{self.setup}"

    @property
    def lane(self) -> str:
        """What a customer adds in one place is arranged in order."""
        return f"methods/{self.connection}/{self.customer_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseMethod:
    """Tell a billing engine that keeps payment methods itself which one the customer chose to be charged first."""

    kind: Literal["choose_method"] = "choose_method"
    customer_id: str
    connection: str
    method: Ref
    chosen_at: datetime
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One effect per choice."""
        return f"choose/{self.connection}/{self.customer_id}/{self.method}/{self.chosen_at.isoformat()}"

    @property
    def lane(self) -> str:
        """As :attr:`SyncCustomer.lane`: the customer must be there, and the last choice counts."""
        return f"customer/{self.connection}/{self.customer_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPortalLinks:
    """Mail customers who share an e-mail address a link each into the portal, because somebody asked with that address.

    ``customer_ids`` is empty when nobody has the address: then there is nothing to do. The links are made when the mail is
    sent, so none of them is in here. ``locale``: BCP 47, for a customer who has none.
    """

    kind: Literal["send_portal_links"] = "send_portal_links"
    request_id: str
    channel: str
    customer_ids: tuple[str, ...]
    locale: str
    not_before: datetime | None = None

    @property
    def key(self) -> str:
        """One effect per request."""
        return f"portal-links/{self.request_id}"

    @property
    def lane(self) -> str:
        """Mails to one address follow each other: the links of the last one count."""
        return f"portal-links/{self.customer_ids[0] if self.customer_ids else self.request_id}"


Effect = (
    CollectInvoice
    | RecordPayment
    | RecordFailure
    | IssueCreditNote
    | RefundPayment
    | CloseRefund
    | SyncCustomer
    | CancelSubscription
    | ArrangeMethod
    | ChooseMethod
    | SendPortalLinks
)


@cache
def _adapter() -> TypeAdapter[Effect]:
    return TypeAdapter(Annotated[Effect, Field(discriminator="kind")])


def to_json(effect: Effect) -> str:
    """Write an effect as JSON; ValueError when a field holds a value of another type than it says."""
    return _adapter().dump_json(effect, warnings="error").decode()


def from_json(text: str | bytes) -> Effect:
    """Read an effect written by :func:`to_json`."""
    return _adapter().validate_json(text)


def credit_note_of(key: str) -> Ref | None:
    """Return the credit note in the key of a :class:`RefundPayment`; None: the key is another's."""
    named = key.removeprefix(_REFUND).partition("/")[0] if key.startswith(_REFUND) else ""
    return Ref.parse(named) if ":" in named else None


def collection_key(invoice: Ref, attempt: int) -> str:
    """Return the idempotency key of one attempt to collect: ``<connection>-inv-<id>``, from the second on with its number.

    The provider sees it as ``Idempotency-Key`` and in the metadata; in our ledger it is unique.
    """
    first = f"{invoice.connection}-inv-{invoice.id}"
    return first if attempt == 1 else f"{first}-attempt-{attempt}"
