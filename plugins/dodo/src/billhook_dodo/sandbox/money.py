"""Minor units, tax, minimum amounts and exchange rates, as Dodo applies them. Integers only."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import refused

_ZERO_DECIMALS = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF".split())
_THREE_DECIMALS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())

# Smallest total Dodo charges, in minor units. USD is missing from Dodo's table; half a dollar is assumed.
MINIMUMS = {
    "AUD": 50,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "CLP": 1000,
    "EUR": 50,
    "GBP": 30,
    "HUF": 17500,
    "INR": 500,
    "JPY": 50,
    "MXN": 1000,
    "NOK": 300,
    "PLN": 200,
    "SEK": 300,
    "SGD": 50,
    "USD": 50,
}

# Thousandths of a major unit for one euro. Invented and fixed, so that a test can tell the amount beforehand.
_PER_EURO = {
    "AUD": 1650,
    "BRL": 5600,
    "CAD": 1500,
    "CHF": 950,
    "CLP": 1_000_000,
    "EUR": 1000,
    "GBP": 860,
    "HUF": 390_000,
    "INR": 92_000,
    "JPY": 160_000,
    "MXN": 19_000,
    "NOK": 11_600,
    "PLN": 4300,
    "SEK": 11_300,
    "SGD": 1450,
    "USD": 1100,
}


@dataclass(frozen=True, slots=True)
class Taxed:
    """An amount with its tax: ``total`` (minor units) is what the customer pays, ``tax`` the part of it."""

    total: int
    tax: int


def exponent(currency: str) -> int:
    """Return how many decimals ``currency`` has."""
    if currency in _ZERO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def with_tax(amount: int, *, rate_percent: int, inclusive: bool) -> Taxed:
    """Return ``amount`` (minor units) with tax carved out of it (``inclusive``) or added on top."""
    if inclusive:
        return Taxed(amount, amount - rounded(amount * 100, 100 + rate_percent))
    tax = rounded(amount * rate_percent, 100)
    return Taxed(amount + tax, tax)


def convert(amount: int, source: str, target: str) -> int:
    """Return ``amount`` minor units of ``source`` in minor units of ``target``; refuses unknown currencies."""
    if source == target:
        return amount
    for code in (source, target):
        if code not in _PER_EURO:
            raise refused("EXCHANGE_RATE_NOT_FOUND", f"No exchange rate for {code}")
    numerator = amount * _PER_EURO[target] * 10 ** exponent(target)
    return rounded(numerator, _PER_EURO[source] * 10 ** exponent(source))


def check_minimum(total: int, currency: str) -> None:
    """Refuse a total below the smallest amount Dodo charges in ``currency``."""
    least = MINIMUMS.get(currency, 1)
    if total < least:
        message = f"Minimum amount of {spelled(least, currency)} is required"
        raise refused("TOTAL_PAYMENT_AMOUNT_BELOW_MINIMUM_AMOUNT", message)


def rounded(numerator: int, denominator: int) -> int:
    """Return the quotient of two non-negative integers, halves rounded up."""
    return (2 * numerator + denominator) // (2 * denominator)


def spelled(amount: int, currency: str) -> str:
    """Return an amount for people, such as ``120.00 EUR``."""
    decimals = exponent(currency)
    if not decimals:
        return f"{amount} {currency}"
    major, minor = divmod(amount, 10**decimals)
    return f"{major}.{minor:0{decimals}d} {currency}"
