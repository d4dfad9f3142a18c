"""A PaymentIntent that is paid on a page of the host's: how it stands, and paying it with a method the customer keeps.

There is one PaymentIntent for an attempt, and Stripe lets each succeed once: whoever confirms it a second time, with another
method, from another tab or after the answer to the first was lost, is told its state and moves nothing. So paying needs no
lock here. What an attempt by schedule does meanwhile is safe too: it cancels this intent first, and a paid one cannot be
canceled (:mod:`.collect`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import stripe

from billhook.errors import NotFound, Refused
from billhook.methods import PagePayment
from billhook.model import Ref

from .client import StripeApi, keyed, plain, readable
from .declines import decline
from .lookup import OPEN, Lookup
from .payloads import Json, expanded, id_of, maybe_record, maybe_text, money, text
from .saved import STATES

MOVED_ON: Final = "payment_intent_unexpected_state"
"""How Stripe answers who confirms an intent that somebody else has paid or canceled meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPage:
    """Looks at PaymentIntents and confirms them, through one connection."""

    api: StripeApi
    lookup: Lookup
    connection: str

    def look(self, session: str) -> PagePayment:
        """Say how a PaymentIntent stands; raises :class:`~billhook.errors.NotFound`."""
        return self._told(self.lookup.intent(session))

    def pay(self, session: str, method: Ref, *, key: str) -> PagePayment:
        """Confirm it with a method its customer keeps; see :meth:`billhook.methods.SupportsSavedPayment.pay_saved`."""
        intent = self.lookup.intent(session)
        if intent.get("status") not in OPEN:
            return self._told(intent)
        given = _way_of(self._owned(intent, method)) | {"payment_method": method.id}
        try:
            with self.api.answers(money=True):
                self.api.v1.payment_intents.confirm(session, given, keyed(key))
        except stripe.CardError:
            pass  # the intent itself tells why, in full
        except Refused as exc:
            if exc.code != MOVED_ON:
                raise
        return self.look(session)

    def _owned(self, intent: Json, method: Ref) -> Json:
        """Return the method; one that is not kept by the intent's own customer is not there."""
        with self.api.answers():
            found = plain(self.api.v1.payment_methods.retrieve(method.id))
        owner = id_of(found, "customer")
        if owner is None or owner != id_of(intent, "customer"):
            raise NotFound(f"The customer keeps no payment method {method.id}")
        return found

    def _told(self, intent: Json) -> PagePayment:
        with readable("the payment"):
            error, status = maybe_record(intent, "last_payment_error"), text(intent, "status")
            tried = id_of(intent, "payment_method") or maybe_text(expanded(error, "payment_method"), "id")
            return PagePayment(
                session=text(intent, "id"),
                state=STATES[status],
                amount=money(intent, "amount"),
                provider_customer=id_of(intent, "customer"),
                client_secret=maybe_text(intent, "client_secret") if status in OPEN else None,
                method=Ref(self.connection, tried) if tried else None,
                decline=decline(error) if error else None,
                waits=status == "requires_action",
            )


def _way_of(method: Json) -> Any:
    """Return how a kind of method is confirmed: a card while the customer is there, so that the bank may ask them.

    Anything else is taken under the mandate it was saved with. That is off session, and Stripe then refuses to save the
    method by the same call: it is saved already.
    """
    with readable("the payment method"):
        if text(method, "type") == "card":
            return {"use_stripe_sdk": True}
    return {"off_session": True, "setup_future_usage": ""}
