"""What Stripe shows of a card or a bank account: never the number, but what tells two of them apart."""

from __future__ import annotations

import hashlib

from .cards import Card
from .errors import Json


def fingerprint(card: Card) -> str:
    """Return what is equal for the same card or account, whoever saved it and however often."""
    return hashlib.sha256(card.number.encode()).hexdigest()[:16]


def card_details(card: Card, given: Json) -> Json:
    """Return what a payment method shows of a card; ``given`` is what was typed."""
    return {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass" if given.get("cvc") else None,
        },
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": given.get("exp_month") or 8,
        "exp_year": given.get("exp_year") or 2031,
        "fingerprint": fingerprint(card),
        "funding": "credit",
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def account_details(card: Card) -> Json:
    """Return what a payment method shows of a bank account."""
    return {
        "bank_code": "37040044",
        "branch_code": "",
        "country": card.country,
        "fingerprint": fingerprint(card),
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": card.last4,
    }
