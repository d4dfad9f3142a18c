"""What Stripe's declines mean for trying again: its advice first, then the network's, then the bank's code.

Card networks forbid or limit repeated tries, and fine who goes on; so what needs the customer (a corrected or another
card) counts as hard here: nothing is tried again by schedule. An unknown code may work later.
"""

from __future__ import annotations

from typing import Final

from billhook.model import Decline, DeclineClass

from .payloads import Json, maybe_text

AUTHENTICATION: Final = frozenset(
    """
    authentication_required authentication_not_handled payment_intent_authentication_failure
    setup_intent_authentication_failure
    """.split()
)
WAITS_FOR_CUSTOMER: Final = frozenset(("authentication_required", "authentication_not_handled"))
"""The bank wants the customer to confirm: the same intent can go on as soon as they do."""

NEVER: Final = frozenset(
    """
    incorrect_number lost_card pickup_card stolen_card revocation_of_authorization revocation_of_all_authorizations
    highest_risk_level transaction_not_allowed fraudulent merchant_blacklist restricted_card stop_payment_order
    invalid_account security_violation do_not_try_again previously_declined_do_not_retry card_not_supported
    currency_not_supported
    """.split()
)
CUSTOMER_CORRECTS: Final = frozenset(
    """
    expired_card incorrect_cvc invalid_cvc invalid_expiry_month invalid_expiry_year incorrect_zip invalid_number
    new_account_information_available test_mode_live_card
    """.split()
)
SENSITIVE: Final = frozenset(
    "lost_card stolen_card pickup_card fraudulent merchant_blacklist highest_risk_level".split()
)
"""Reasons never shown to a customer: the person at the keyboard may be the thief."""

UNSTATED: Final = "unstated"
"""Our word where Stripe says that a payment failed and not why."""

_ADVICE = {
    "do_not_try_again": DeclineClass.HARD,
    "confirm_card_data": DeclineClass.HARD,
    "try_again_later": DeclineClass.SOFT,
}
_NETWORK_ADVICE = {
    **dict.fromkeys(("01", "03", "21", "40", "41", "43"), DeclineClass.HARD),
    **dict.fromkeys(("02", "24", "25", "26", "27", "28", "29", "30"), DeclineClass.SOFT),
}


def decline(error: Json) -> Decline:
    """Return the decline for an intent's ``last_payment_error`` or ``last_setup_error``, or an API error."""
    bank, code = maybe_text(error, "decline_code"), maybe_text(error, "code")
    shown = bank or code or UNSTATED
    return Decline(
        code=shown,
        kind=_class_of(error, {bank, code}),
        message=maybe_text(error, "message") or "",
        sensitive=shown in SENSITIVE,
    )


def waits_for_customer(error: Json) -> bool:
    """Say whether the charge was turned away only because the bank wants the customer to confirm it."""
    return bool({error.get("decline_code"), error.get("code")} & WAITS_FOR_CUSTOMER)


def _class_of(error: Json, codes: set[str | None]) -> DeclineClass:
    if codes & AUTHENTICATION:
        return DeclineClass.AUTHENTICATION
    advice, network = maybe_text(error, "advice_code"), maybe_text(error, "network_advice_code")
    told = _ADVICE.get(advice or "") or _NETWORK_ADVICE.get(network or "")
    if told is not None:
        return told
    return DeclineClass.HARD if codes & (NEVER | CUSTOMER_CORRECTS) else DeclineClass.SOFT
