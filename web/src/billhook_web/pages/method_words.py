"""A payment method as people know it: its name, its mark, when it ends; and why a bank said no, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from billhook.model import Decline, DeclineClass, PaymentMethod
from billhook_web.pages.words import LANGUAGES, N_, Words

_NAMES: Final = {
    "visa": ("Visa", "VISA"),
    "mastercard": ("Mastercard", "MC"),
    "amex": ("American Express", "AMEX"),
    "american_express": ("American Express", "AMEX"),
    "discover": ("Discover", "DISC"),
    "diners": ("Diners Club", "DC"),
    "jcb": ("JCB", "JCB"),
    "unionpay": ("UnionPay", "UP"),
    "cartes_bancaires": ("Cartes Bancaires", "CB"),
}
"""Brand as providers write it → its name, and what fits on its mark. Names of brands are in no language."""

_KINDS: Final = {
    "card": (N_("Card"), "CARD"),
    "sepa_debit": (N_("SEPA debit"), "SEPA"),
    "us_bank_account": (N_("Bank account"), "BANK"),
    "bacs_debit": (N_("Bank account"), "BANK"),
    "link": ("Link", "LINK"),
    "paypal": ("PayPal", "PP"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What is shown of a method. ``name``: Visa; ``last4``: 4242; ``expires``: 08/2031."""

    name: str
    mark: str
    last4: str | None
    expires: str | None
    is_card: bool


def named(method: PaymentMethod, words: Words) -> Named:
    """Say how people know a method; one of an unknown kind goes by what its provider calls it."""
    year, _, month = (method.expires or "").partition("-")
    known = _NAMES.get((method.brand or "").lower())
    if known is None:
        plain = (method.brand or method.kind).replace("_", " ").capitalize()
        kind = _KINDS.get(method.kind) if method.brand is None else None
        known = (words.say(kind[0]), kind[1]) if kind else (plain, plain[:4].upper())
    return Named(
        name=known[0],
        mark=known[1],
        last4=method.last4,
        expires=f"{month}/{year}" if month else None,
        is_card=method.kind == "card",
    )


_REASONS: Final = {
    "insufficient_funds": N_("There isn’t enough money on it."),
    "expired_card": N_("The card has expired."),
    "incorrect_cvc": N_("The security code isn’t right."),
    "invalid_cvc": N_("The security code isn’t right."),
    "incorrect_number": N_("The card number isn’t right."),
    "invalid_number": N_("The card number isn’t right."),
    "card_velocity_exceeded": N_("The card’s limit is reached."),
    "withdrawal_count_limit_exceeded": N_("The card’s limit is reached."),
    "currency_not_supported": N_("The card doesn’t pay in this currency."),
    "card_not_supported": N_("The card can’t be used for this kind of payment."),
    "processing_error": N_("Something went wrong at the bank. It may work in a while."),
    "try_again_later": N_("Something went wrong at the bank. It may work in a while."),
}
"""What providers' codes of declines mean, in lower case: for readers of other languages than the providers write in."""


def decline_reason(decline: Decline | None, words: Words) -> str:
    """Say why a bank said no. Stolen, lost and fraud are nobody's business: they read like no reason at all.

    Providers explain it in English. Who reads another language is told by the code, where it is a known one.
    """
    if decline is None:
        return ""
    if decline.kind is DeclineClass.AUTHENTICATION:
        return words.say("Your bank couldn’t confirm that it’s you.")
    ours = _REASONS.get(decline.code.lower())
    told = decline.message if words.language == LANGUAGES[0] else words.say(ours) if ours else ""
    if decline.sensitive or not told:
        return words.say("Your bank didn’t say why. It can tell you if you call.")
    return told
