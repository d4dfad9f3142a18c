"""Dodo's test cards and what happens when one is charged."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A test card. ``decline`` is the error code while the customer is present, ``off_session`` when not."""

    number: str
    country: str = "DE"
    decline: str | None = None
    off_session: str | None = None

    @property
    def last_four(self) -> str:
        """The digits a payment shows."""
        return self.number[-4:]


def _card(number: str, *, country: str = "DE", decline: str | None = None, later: str | None = None) -> Card:
    return Card(number=number, country=country, decline=decline, off_session=later or decline)


GOOD = "4242424242424242"
NO_FUNDS = "4000000000009995"
FAILS_LATER = "4000000000000341"

_CARDS = (
    _card(GOOD),
    _card("4000000000000002", decline="GENERIC_DECLINE"),
    _card(NO_FUNDS, decline="INSUFFICIENT_FUNDS"),
    _card(FAILS_LATER, later="GENERIC_DECLINE"),
    _card("4576238912771450", country="IN"),
    _card("4706131211212123", country="IN", decline="GENERIC_DECLINE"),
)
TEST_CARDS = {card.number: card for card in _CARDS}

HARD_DECLINES = frozenset(
    (
        "CARD_DECLINED",
        "DO_NOT_HONOR",
        "EXPIRED_CARD",
        "FRAUDULENT",
        "INVALID_ACCOUNT",
        "LOST_CARD",
        "STOLEN_CARD",
        "PICKUP_CARD",
        "MANDATE_REQUIRED_SYSTEM",
        "PAYMENT_METHOD_PROVIDER_DECLINED",
        "PAYMENT_METHOD_UNSUPPORTED",
        "PROVIDER_UNSUPPORTED",
        "REVOCATION_OF_AUTHORIZATION",
        "TRANSACTION_NOT_ALLOWED",
        "TRANSACTION_NOT_APPROVED",
    )
)


def find_card(number: str) -> Card:
    """Return the test card with this number (spaces allowed); refuses any other number."""
    card = TEST_CARDS.get(number.replace(" ", ""))
    if card is None:
        raise refused("INVALID_CARD", "This is no test card; the sandbox takes test cards only")
    return card


def declining_card(code: str) -> Card:
    """Return a card that is declined with ``code``, whoever is present."""
    return Card(number="4000000000000002", decline=code, off_session=code)


def decline_message(code: str) -> str:
    """Return the text a failed payment carries for ``code``."""
    words = code.replace("_", " ").lower()
    return f"The payment was declined: {words}."
