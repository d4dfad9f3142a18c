"""Stripe's test cards and accounts, and what happens when one is used.

After Stripe's published list of test numbers. ``pm_card_…`` names are Stripe's own for the same cards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .errors import ApiError, Json, invalid


class Secure(StrEnum):
    """When the bank asks the customer to authenticate (3-D Secure)."""

    NEVER = "never"
    UNLESS_SET_UP = "unless_set_up"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """How a bank says no: Stripe's ``code``, the bank's ``decline_code``, and what Stripe advises."""

    code: str = "card_declined"
    decline_code: str | None = None
    advice: str | None = None
    network_advice: str | None = None
    message: str = "Your card was declined."

    def error(self) -> Json:
        """Return it as the intent's last error shows it."""
        shown: Json = {"type": "card_error", "code": self.code, "message": self.message}
        more = {
            "decline_code": self.decline_code,
            "advice_code": self.advice,
            "network_advice_code": self.network_advice,
        }
        return shown | {name: value for name, value in more.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A test card or bank account. ``decline`` answers every use, ``charge_decline`` only charges."""

    number: str
    kind: str = "card"
    brand: str = "visa"
    country: str = "US"
    secure: Secure = Secure.NEVER
    decline: Decline | None = None
    charge_decline: Decline | None = None
    disputed: bool = False
    refund_fails: bool = False
    fails_late: bool = False
    name: str | None = None

    @property
    def last4(self) -> str:
        """Return the digits everybody may see."""
        return self.number[-4:]

    @property
    def late(self) -> bool:
        """Say whether the bank answers days later."""
        return self.kind != "card"

    def declines_charge(self) -> Decline | None:
        """Return how a charge ends when it does not succeed."""
        return self.decline or self.charge_decline


_FUNDS = Decline(
    decline_code="insufficient_funds", advice="try_again_later", message="Your card has insufficient funds."
)
_GENERIC = Decline(decline_code="generic_decline", advice="try_again_later")


def _never(decline_code: str) -> Decline:
    return Decline(decline_code=decline_code, advice="do_not_try_again")


AUTHENTICATION_REQUIRED: Final = Decline(
    code="authentication_required",
    decline_code="authentication_required",
    message="Your card was declined. This transaction requires authentication.",
)
GOOD: Final = "4242424242424242"
GOOD_IBAN: Final = "DE89370400440532013000"
FAILING_IBAN: Final = "DE62370400440532013001"
LATE_FAILURE: Final = Decline(
    code="payment_intent_payment_attempt_failed",
    decline_code="insufficient_funds",
    message="The customer's account has insufficient funds to cover this payment.",
)

_ALL = (
    Card(number=GOOD, name="pm_card_visa"),
    Card(number="4000056655665556", name="pm_card_visa_debit"),
    Card(number="5555555555554444", brand="mastercard", name="pm_card_mastercard"),
    Card(number="378282246310005", brand="amex", name="pm_card_amex"),
    Card(number="4000002760000016", country="DE", name="pm_card_de"),
    Card(number="4000002500003155", secure=Secure.UNLESS_SET_UP, name="pm_card_authenticationRequiredOnSetup"),
    Card(number="4000002760003184", secure=Secure.ALWAYS, name="pm_card_authenticationRequired"),
    Card(number="4000000000003220", secure=Secure.ALWAYS, name="pm_card_threeDSecure2Required"),
    Card(number="4000008260003178", secure=Secure.ALWAYS, charge_decline=_FUNDS,
         name="pm_card_authenticationRequiredChargeDeclinedInsufficientFunds"),
    Card(number="4000000000000341", charge_decline=_GENERIC, name="pm_card_chargeCustomerFail"),
    Card(number="4000000000000002", decline=_GENERIC, name="pm_card_chargeDeclined"),
    Card(number="4000000000009995", decline=_FUNDS, name="pm_card_chargeDeclinedInsufficientFunds"),
    Card(number="4000000000009987", decline=_never("lost_card"), name="pm_card_chargeDeclinedLostCard"),
    Card(number="4000000000009979", decline=_never("stolen_card"), name="pm_card_chargeDeclinedStolenCard"),
    Card(number="4100000000000019", decline=_never("highest_risk_level"), name="pm_card_radarBlock"),
    Card(number="4000000000000069", name="pm_card_chargeDeclinedExpiredCard",
         decline=Decline(code="expired_card", decline_code="expired_card", advice="confirm_card_data",
                         message="Your card has expired.")),
    Card(number="4000000000000127", name="pm_card_chargeDeclinedIncorrectCvc",
         decline=Decline(code="incorrect_cvc", decline_code="incorrect_cvc", advice="confirm_card_data",
                         message="Your card's security code is incorrect.")),
    Card(number="4000000000000119", name="pm_card_chargeDeclinedProcessingError",
         decline=Decline(code="processing_error", decline_code="processing_error", advice="try_again_later",
                         message="An error occurred while processing your card. Try again in a little bit.")),
    Card(number="4000000000000259", disputed=True, name="pm_card_createDispute"),
    Card(number="4000000000005126", refund_fails=True, name="pm_card_refundFail"),
    Card(number=GOOD_IBAN, kind="sepa_debit", brand="", country="DE"),
    Card(number=FAILING_IBAN, kind="sepa_debit", brand="", country="DE", fails_late=True),
)  # fmt: skip

TEST_CARDS: Final = {card.number: card for card in _ALL}
TOKENS: Final = {card.name: card for card in _ALL if card.name}

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}")


def find_card(number: str) -> Card:
    """Return the test card with this number (spaces allowed); refuses what is no card and what is a real one."""
    digits = re.sub(r"[\s-]", "", number)
    card = TEST_CARDS.get(digits)
    if card is not None and card.kind == "card":
        return card
    if not re.fullmatch(r"[0-9]{12,19}", digits) or not _luhn(digits):
        raise _card_error("incorrect_number", "Your card number is incorrect.")
    raise _card_error(
        "card_declined",
        "Your card was declined. Your request was in test mode, but used a non test card.",
        decline_code="test_mode_live_card",
    )


def find_account(iban: str) -> Card:
    """Return the test account with this IBAN."""
    known = TEST_CARDS.get(re.sub(r"\s", "", iban).upper())
    if known is None or not _IBAN.fullmatch(known.number):
        raise invalid(
            "The IBAN you provided is invalid.", code="invalid_bank_account_iban", param="sepa_debit[iban]"
        )
    return known


def _card_error(code: str, message: str, *, decline_code: str | None = None) -> ApiError:
    return ApiError(402, "card_error", message, code=code, param="number", decline_code=decline_code)


def _luhn(digits: str) -> bool:
    odd = sum(int(digit) for digit in digits[-1::-2])
    even = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (odd + even) % 10 == 0
