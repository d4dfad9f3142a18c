"""What Dodo's decline codes mean for trying again.

Dodo publishes 44 codes, 15 of them hard; every other one, known or new, may work later. Its guides disagree on
``AUTHENTICATION_FAILURE``: soft in the table, "do not retry" in the on-demand guide. The customer has to act, so it
is retried only with the customer present.
"""

from __future__ import annotations

from typing import Final

from billhook.model import Decline, DeclineClass

HARD: Final = frozenset(
    """
    CARD_DECLINED DO_NOT_HONOR EXPIRED_CARD FRAUDULENT INVALID_ACCOUNT LOST_CARD STOLEN_CARD PICKUP_CARD
    MANDATE_REQUIRED_SYSTEM PAYMENT_METHOD_PROVIDER_DECLINED PAYMENT_METHOD_UNSUPPORTED PROVIDER_UNSUPPORTED
    REVOCATION_OF_AUTHORIZATION TRANSACTION_NOT_ALLOWED TRANSACTION_NOT_APPROVED
    """.split()
)
SENSITIVE: Final = frozenset(("STOLEN_CARD", "LOST_CARD", "PICKUP_CARD", "FRAUDULENT"))
"""Reasons Dodo asks never to show to a customer: the person at the keyboard may be the thief."""

UNSTATED: Final = "UNSTATED"
"""Our word where Dodo says that a payment failed and not why."""


def decline(code: str | None, message: str | None) -> Decline:
    """Return the decline for a payment's ``error_code`` and ``error_message``."""
    known = (code or UNSTATED).upper()
    return Decline(code=known, kind=_class_of(known), message=message or "", sensitive=known in SENSITIVE)


def _class_of(code: str) -> DeclineClass:
    if code in HARD:
        return DeclineClass.HARD
    if code.startswith("AUTHENTICATION_"):
        return DeclineClass.AUTHENTICATION
    return DeclineClass.SOFT
