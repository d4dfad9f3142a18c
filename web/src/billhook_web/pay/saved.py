"""Saved payment methods on the pay page: who may pay with them, what is shown of them, and what a click on one leads to.

A pay link is meant to be passed on: to an accountant, or in a forwarded mail. It lets its holder pay, not spend what the
customer keeps. So saved methods are offered to who is signed in to the portal as the invoice's customer, and to others only
where the operator says so; those read a method's name and last digits and nothing else. (docs/decisions/0020)
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final, Protocol

from flask import request

from billhook.clock import new_token
from billhook_web.pages.method_words import Named, named
from billhook_web.pages.words import Words
from billhook_web.runtime import Runtime
from billhook_web.services.paying import PayView
from billhook_web.services.saved_payment import Offer, handle_of
from billhook_web.services.wallet import Held
from billhook_web.stores.portal import Session

ANOTHER: Final = "another"
"""What the form says for no saved method: the provider's own fields, or its checkout."""

METHOD_FIELD: Final = "method"
CLICK_FIELD: Final = "click"
CSRF_FIELD: Final = "csrf_token"
_LONGEST_CLICK: Final = 64  # characters; ours have 32


class Visitors(Protocol):
    """Knows who is signed in to the portal in this browser. The pay page asks, and never requires it."""

    def session(self) -> Session | None:
        """Return the live session of this request; None: nobody is signed in."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Somebody who may pay with what the customer keeps. ``session``: theirs; None: the link alone is enough here."""

    customer_id: str
    session: Session | None

    @property
    def actor(self) -> str:
        """Who this is, in the audit."""
        return f"customer:{self.customer_id}" if self.session else "pay-link"

    def sent(self) -> bool:
        """Say whether this form comes from our page: it carries the session's token. Without a session there is nothing
        of the browser's that another site could use, for all authority is in the address."""
        if self.session is None:
            return True
        given = request.form.get(CSRF_FIELD, "")
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.session.csrf.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One saved method to choose. ``expired`` and ``withdrawn`` ones are shown and cannot be chosen."""

    handle: str
    name: Named
    default: bool
    expires: str | None
    expired: bool
    withdrawn: bool

    @property
    def usable(self) -> bool:
        """Say whether it may be chosen."""
        return not (self.expired or self.withdrawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What is offered besides the provider's own form. ``click`` names this form: sending it twice is one payment."""

    ways: tuple[Way, ...] = ()
    silent: bool = False
    csrf: str | None = None
    click: str = ""
    chosen: str = ANOTHER


def payer_of(runtime: Runtime, visitors: Visitors, view: PayView) -> Payer | None:
    """Return who may pay this invoice with a saved method; None: whoever asks may not."""
    if view.customer is None:
        return None
    session = visitors.session()
    if session is not None and session.customer_id == view.customer.id:
        return Payer(customer_id=view.customer.id, session=session)
    if runtime.configuration.host.pay_saved_methods == "link":
        return Payer(customer_id=view.customer.id, session=None)
    return None


def ways_to_pay(offer: Offer, token: str, payer: Payer, words: Words) -> Ways:
    """Return what the page offers; the first that can be charged is chosen, unless the address says another."""
    ways = tuple(_way(held, token, words, in_full=payer.session is not None) for held in offer.held)
    first = next((each.handle for each in ways if each.usable), ANOTHER)
    return Ways(
        ways=ways,
        silent=offer.silent,
        csrf=payer.session.csrf if payer.session else None,
        click=new_token(),
        chosen=ANOTHER if request.args.get("with") == ANOTHER else first,
    )


def click_of_form() -> str:
    """Return what names the form that was sent."""
    return request.form.get(CLICK_FIELD, "")[:_LONGEST_CLICK]


def _way(held: Held, token: str, words: Words, *, in_full: bool) -> Way:
    name = named(held.saved.method, words)
    return Way(
        handle=handle_of(token, held.ref),
        name=name,
        default=in_full and held.saved.default,
        expires=name.expires if in_full else None,
        expired=held.expiry == "over",
        withdrawn=not held.saved.usable,
    )
