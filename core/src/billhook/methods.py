"""What a payment provider may offer to a customer's own pages: saving, choosing and removing payment methods, and
paying on a page of the host's instead of the provider's.

Card numbers never reach the host: the provider's own script takes them in the customer's browser. Two scripts work
together on such a page, and the host knows neither by name: the provider's (:attr:`PageKit.scripts`) and a small adapter
that comes with the plugin (:attr:`PageKit.adapter`). The adapter sets ``window.billhookPayments`` with three functions::

    form({settings, mode, currency, amount, clientSecret, locale, dark}) -> form
        mode: "setup" (keep a method) or "payment" (pay ``amount`` minor units); clientSecret may be null with "setup":
        the secret is then only made when the customer has filled the form in.
        form.mount(element)                      -> Promise, resolved when the fields can be used
        form.check()                             -> Promise of null, or of what the customer must correct, in words
        form.confirm({clientSecret, returnUrl})  -> Promise of an outcome; may leave the page for the bank's
        form.destroy()
    pay({settings, clientSecret, method, returnUrl})  -> Promise of an outcome: pay with a saved method (its ref's id)
    resume({settings, mode, clientSecret})            -> Promise of an outcome: go on after a reload or a way to the bank
    outcome = {state: "succeeded" | "processing" | "open", message: null or text for the customer}

An outcome is for the eyes only. What counts is what the provider tells the server: :meth:`SupportsMethodManagement.setup`,
:meth:`SupportsPagePayment.page_payment`, and the webhooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from billhook.model import Customer, Decline, PaymentMethod, Ref
from billhook.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PageKit:
    """What a page must load and let in so that payment details can be typed there.

    ``scripts``: addresses of the provider's own, to be loaded in this order, never copied. ``adapter``: the source of
    the plugin's script, for the host to serve from its own origin, loaded after them. ``settings``: public values that
    the adapter is handed. ``sources``: what the page's Content-Security-Policy has to allow on top, by directive.
    """

    scripts: tuple[str, ...]
    adapter: str = field(repr=False)
    settings: Mapping[str, str]
    sources: Mapping[str, tuple[str, ...]]


@runtime_checkable
class SupportsPageKit(Protocol):
    """Has a script by which payment details go from the customer's browser to the provider alone."""

    def page_kit(self) -> PageKit:
        """Return what the page needs. Calls nobody."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMethod:
    """A payment method a customer keeps at a provider; ``method.ref`` is set.

    ``default``: taken first for invoices. ``fingerprint``: equal for the same card or account saved twice; None: not
    told. ``usable``: may be charged without the customer (False: its mandate was withdrawn). ``saved_at``: UTC.
    """

    method: PaymentMethod
    default: bool = False
    fingerprint: str | None = None
    usable: bool = True
    saved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRequest:
    """Let a customer add a payment method for later. ``key`` is ours: the same one gives the same set-up.

    ``currency`` (ISO 4217) decides which methods are offered; None: whatever the provider thinks right.
    """

    key: str
    provider_customer: str
    currency: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class PageState(StrEnum):
    """How far the customer has come with a form."""

    OPEN = "open"  # they must do something: fill it in, confirm with the bank, or take another method
    PROCESSING = "processing"  # the bank answers later
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"  # given up: begin another


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Adding a method, as it stands at the provider. ``client_secret`` opens it to the customer's browser and to nobody
    else: never in a log, a mail or a URL of ours. ``decline``: why the last try failed. ``method``: what was saved.
    ``saved_before``: the same card or account was kept already, as this one.
    """

    id: str
    state: PageState
    client_secret: str | None = field(default=None, repr=False)
    method: SavedMethod | None = None
    saved_before: Ref | None = None
    decline: Decline | None = None


@runtime_checkable
class SupportsMethodManagement(Protocol):
    """Lets customers keep payment methods. Every call names the provider's customer, and reaches nothing of another's:
    a method or set-up of somebody else is :class:`~billhook.errors.NotFound`."""

    def provider_customer(self, customer: Customer) -> str:
        """Return the id the customer has there, making the customer where there is none yet, and never a second one."""
        ...

    def saved_methods(self, provider_customer: str) -> Sequence[SavedMethod]:
        """List what the customer keeps, of every kind: the default first, then the newest."""
        ...

    def begin_setup(self, request: SetupRequest) -> Setup:
        """Begin to add a method; repeating it with the same key is harmless."""
        ...

    def setup(self, provider_customer: str, setup: str) -> Setup:
        """Say how a set-up stands."""
        ...

    def set_default(self, provider_customer: str, method: Ref) -> None:
        """Take this method first from now on; repeating it is harmless."""
        ...

    def remove_method(self, provider_customer: str, method: Ref) -> None:
        """Forget a method; it can not be brought back. Removing one that is gone already is harmless."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePayment:
    """An open attempt to collect, to be paid on a page of ours. See :class:`Setup` for ``client_secret``.

    ``method``: the saved one that the bank wants confirmed. ``decline``: why the last try failed. ``waits``: the bank has
    asked the customer, and the script's ``resume`` leads to its question.
    """

    session: str
    state: PageState
    amount: Money
    provider_customer: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    method: Ref | None = None
    decline: Decline | None = None
    waits: bool = False


@runtime_checkable
class SupportsPagePayment(Protocol):
    """Its open attempts have no page of the provider's: :attr:`~billhook.provider.Collected.url` is our own pay page, which
    shows the provider's form."""

    def page_payment(self, session: str) -> PagePayment:
        """Say how the attempt with this session stands and what the page needs; raises
        :class:`~billhook.errors.NotFound`."""
        ...


@runtime_checkable
class SupportsSavedPayment(Protocol):
    """Can take an open attempt from a method that its customer keeps, while they are there to answer their bank."""

    def pay_saved(self, session: str, method: Ref, *, key: str) -> PagePayment:
        """Take the attempt with this session from a saved method, and say how it stands then.

        However often and with whatever keys it is called, one session moves money once at most: what is paid, under way
        or canceled is left alone and answered as it stands. A decline is no error: the state is open, and ``decline`` says
        why. Repeating with the same ``key`` is the same call. The customer is there, so the bank may ask (``waits``).

        :raises NotFound: no such session, or its customer keeps no such method.    :raises Refused: not with this method.
        :raises OutcomeUnknown: it was asked for and no usable answer came: look before anything else.
        """
        ...
