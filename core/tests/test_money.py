"""Money: exact, one currency at a time, never losing a cent."""

from __future__ import annotations

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billhook.money import EXPONENTS, WITHDRAWN, Money, exponent

currencies = st.sampled_from(sorted(EXPONENTS))
minors = st.integers(min_value=-(10**18), max_value=10**18)
amounts = st.builds(Money, minors, currencies)
weights = st.lists(st.integers(min_value=0, max_value=10**6), min_size=1, max_size=12).filter(any)


def test_exponents_are_those_of_iso_4217() -> None:
    published = {item.code: item.exponent for item in iso4217.Currency if item.exponent is not None}

    assert {code: places for code, places in EXPONENTS.items() if code not in WITHDRAWN} == published


def test_withdrawn_currencies_are_readable_and_not_in_use() -> None:
    assert {item.code for item in iso4217.Currency}.isdisjoint(WITHDRAWN)
    assert str(Money(1050, "BGN")) == "10.50 BGN"


@pytest.mark.parametrize("currency", ["usd", "US", "XXX", "XAU", "", "EURO", "€"])
def test_what_is_not_a_currency_code_is_refused(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217 code in upper case"):
        Money(1, currency)
    with pytest.raises(ValueError, match="ISO 4217"):
        exponent(currency)


@pytest.mark.parametrize("minor", [True, False, 1.0, "1", None])
def test_only_an_int_is_an_amount(minor: object) -> None:
    with pytest.raises(ValueError, match="whole number of minor units"):
        Money(minor, "EUR")  # type: ignore[arg-type]  # the refusal is what is tested


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(24995, "USD"), "249.95 USD"),
        (Money(1000, "JPY"), "1000 JPY"),
        (Money(1234, "KWD"), "1.234 KWD"),
        (Money(-5, "EUR"), "-0.05 EUR"),
        (Money(0, "EUR"), "0.00 EUR"),
        (Money(0, "JPY"), "0 JPY"),
        (Money(1, "CLF"), "0.0001 CLF"),
        (Money(-100, "USD"), "-1.00 USD"),
    ],
)
def test_text_has_the_places_of_the_currency(money: Money, text: str) -> None:
    assert str(money) == text


@given(amounts)
def test_text_reads_back_as_the_same_amount(money: Money) -> None:
    amount, currency = str(money).split()

    assert Money.parse(amount, currency) == money


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("249.95", "USD", 24995),
        ("249.9", "USD", 24990),
        ("249", "USD", 24900),
        ("+1.10", "EUR", 110),
        ("-0.05", "EUR", -5),
        ("007", "JPY", 7),
        ("1.234", "KWD", 1234),
        ("0.1", "EUR", 10),
    ],
)
def test_parse_is_exact(text: str, currency: str, minor: int) -> None:
    assert Money.parse(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    "text", ["", "1,00", "1.000", "1.", ".5", "1e3", " 1", "1\n", "NaN", "--1", "1.2.3", "\u0661"]
)
def test_parse_refuses_what_is_not_an_amount_and_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"up to 2 decimal places, such as '12\.50'"):
        Money.parse(text, "EUR")


def test_parse_refuses_decimal_places_the_currency_does_not_have() -> None:
    with pytest.raises(ValueError, match="whole numbers only"):
        Money.parse("10.0", "JPY")


@given(minors, minors, currencies)
def test_adding_and_subtracting_are_those_of_the_minor_units(one: int, two: int, currency: str) -> None:
    left, right = Money(one, currency), Money(two, currency)

    assert left + right == Money(one + two, currency)
    assert left - right == left + -right
    assert sum([left, right], Money.zero(currency)) == left + right
    assert (left < right, left <= right, left > right, left >= right) == (
        one < two,
        one <= two,
        one > two,
        one >= two,
    )


def test_currencies_do_not_mix() -> None:
    euro, dollar = Money(1, "EUR"), Money(1, "USD")

    assert euro != dollar
    for combine in (Money.__add__, Money.__sub__, Money.__lt__, Money.__le__, Money.__gt__, Money.__ge__):
        with pytest.raises(ValueError, match="EUR and USD"):
            combine(euro, dollar)


def test_a_bare_number_is_not_money() -> None:
    with pytest.raises(TypeError, match="only be combined with Money, not int"):
        Money(1, "EUR") + 1  # type: ignore[operator]  # the refusal is what is tested


def test_only_nothing_is_zero() -> None:
    assert Money.zero("EUR").is_zero
    assert not Money(-1, "EUR").is_zero


@given(amounts, weights)
def test_allocation_never_loses_a_cent(money: Money, parts: list[int]) -> None:
    shares = money.allocate(parts)

    assert len(shares) == len(parts)
    assert sum(shares, Money.zero(money.currency)) == money


@given(amounts, weights)
def test_every_share_is_less_than_one_minor_unit_from_its_exact_part(money: Money, parts: list[int]) -> None:
    total = sum(parts)

    for share, weight in zip(money.allocate(parts), parts, strict=True):
        assert abs(share.minor * total - money.minor * weight) < total


@given(amounts, weights)
def test_a_negative_amount_is_shared_like_the_positive_one(money: Money, parts: list[int]) -> None:
    assert tuple(-share for share in (-money).allocate(parts)) == money.allocate(parts)


def test_left_over_cents_go_to_the_largest_remainders_and_earlier_parts_first() -> None:
    assert [share.minor for share in Money(100, "EUR").allocate([1, 1, 1])] == [34, 33, 33]
    assert [share.minor for share in Money(5, "EUR").allocate([3, 7])] == [2, 3]
    assert [share.minor for share in Money(10, "EUR").allocate([1, 0, 5])] == [2, 0, 8]
    assert [share.minor for share in Money(-100, "EUR").allocate([1, 1, 1])] == [-34, -33, -33]


@pytest.mark.parametrize("parts", [[], [0, 0], [-1, 2], [True], [1.5]])
def test_weights_that_cannot_share_are_refused(parts: list[int]) -> None:
    with pytest.raises(ValueError, match="weight"):
        Money(1, "EUR").allocate(parts)
