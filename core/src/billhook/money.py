"""Amounts of money: whole minor units and a currency, added, compared and shared out without losing a cent.

An amount is never a float and never a fraction. What a minor unit is worth is said by :data:`EXPONENTS`, the
number of decimal places ISO 4217 gives the currency. A provider that counts differently (one
calls the Malagasy ariary zero-decimal, ISO gives it two places) converts in its own plugin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


def _table(places: Mapping[int, str]) -> dict[str, int]:
    return {code: exponent for exponent, codes in places.items() for code in codes.split()}


WITHDRAWN: Final = frozenset({"ANG", "BGN", "CUC", "HRK", "MRO", "SLL", "STD", "ZWL"})
"""Currencies no longer in ISO 4217, kept readable: old invoices name them, providers list them."""

EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(
    _table(
        {
            0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
            2: """
               AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
               CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
               GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
               MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
               PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
               TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
               """
            + " ".join(WITHDRAWN),
            3: "BHD IQD JOD KWD LYD OMR TND",
            4: "CLF UYW",
        }
    )
)
"""Decimal places of every currency in use. Metals, fund units and test codes have none and are not money here."""

_AMOUNT = re.compile(r"(?P<sign>[+-]?)(?P<whole>[0-9]{1,30})(?:\.(?P<fraction>[0-9]{1,30}))?")


def exponent(currency: str) -> int:
    """Return how many decimal places ``currency`` has: USD 2, JPY 0, KWD 3.

    :raises ValueError: it is not the upper-case ISO 4217 code of a currency.
    """
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise ValueError(
            f"{currency!r} is not a currency code; use an ISO 4217 code in upper case, such as 'EUR'"
        ) from None


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """``minor`` smallest units (cents) of ``currency``; negative is owed the other way round.

    Amounts of different currencies are unequal, and adding or ordering them raises ValueError.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:  # a bool is an int to isinstance, and never an amount
            raise ValueError(f"an amount is a whole number of minor units, not {self.minor!r}")
        exponent(self.currency)

    @classmethod
    def zero(cls, currency: str) -> Money:
        """Return nothing, of ``currency``: the start of a sum."""
        return cls(0, currency)

    @classmethod
    def parse(cls, text: str, currency: str) -> Money:
        """Read a decimal amount such as ``"249.95"`` exactly.

        :raises ValueError: it is not digits with at most the currency's decimal places after a point.
        """
        places = exponent(currency)
        match = _AMOUNT.fullmatch(text)
        fraction = (match["fraction"] or "") if match else ""
        if match is None or len(fraction) > places:
            raise ValueError(f"{text!r} is not an amount in {currency}; allowed are {_allowed(places)}")
        minor = int(match["whole"] + fraction.ljust(places, "0"))
        return cls(-minor if match["sign"] == "-" else minor, currency)

    @property
    def is_zero(self) -> bool:
        """Whether it is exactly nothing."""
        return self.minor == 0

    def allocate(self, weights: Sequence[int]) -> tuple[Money, ...]:
        """Share it out in proportion to ``weights``; the parts always add up to the whole.

        Every part is rounded towards zero, then the cents left over go one each to the parts that lost most
        by it, the earlier first. A negative amount is shared like the positive one, with the signs turned.

        :raises ValueError: a weight is negative or not an int, or none is above zero.
        """
        _check_weights(weights)
        total, size = sum(weights), abs(self.minor)
        shares = [divmod(size * weight, total) for weight in weights]
        by_loss = sorted(range(len(shares)), key=lambda index: -shares[index][1])
        favoured = frozenset(by_loss[: size - sum(share for share, _ in shares)])
        sign = -1 if self.minor < 0 else 1
        return tuple(
            Money(sign * (share + (index in favoured)), self.currency)
            for index, (share, _) in enumerate(shares)
        )

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.minor > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.minor >= self._same(other)

    def __str__(self) -> str:
        places = exponent(self.currency)
        digits = str(abs(self.minor)).rjust(places + 1, "0")
        point = len(digits) - places
        amount = f"{digits[:point]}.{digits[point:]}" if places else digits
        return f"{'-' if self.minor < 0 else ''}{amount} {self.currency}"

    def _same(self, other: Money) -> int:
        if not isinstance(other, Money):
            raise TypeError(f"{self} can only be combined with Money, not {type(other).__name__}")
        if self.currency != other.currency:
            raise ValueError(
                f"{self.currency} and {other.currency} are different currencies; convert one first"
            )
        return other.minor


def _allowed(places: int) -> str:
    if places == 0:
        return "whole numbers only, such as '1000'"
    return f"digits and a point with up to {places} decimal places, such as '12.{'5'.ljust(places, '0')}'"


def _check_weights(weights: Iterable[int]) -> None:
    total = 0
    for weight in weights:
        if type(weight) is not int or weight < 0:
            raise ValueError(f"a weight is a whole number, zero or above, not {weight!r}")
        total += weight
    if total == 0:
        raise ValueError("at least one weight must be above zero")
