"""Words, amounts and dates of pages: the catalogue is complete, and every reader gets their own way of writing."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pytest
from scripts import messages

from billhook.errors import ConfigInvalid
from billhook.money import Money
from billhook_web.branding import READABLE, Accent, contrast
from billhook_web.origins import origin_of
from billhook_web.pages.words import LANGUAGES, words_for
from billhook_web.settings import read_configuration

CATALOGUES = sorted(messages.LOCALES.glob("*/messages.po"))


def test_there_is_a_catalogue_for_every_language() -> None:
    assert {path.parent.name for path in CATALOGUES} | {"en"} == set(LANGUAGES)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.name)
def test_every_text_is_translated_and_none_is_left_over(path: messages.Path) -> None:
    assert messages.missing(path) == []
    assert messages.brought_up_to_date(path) == path.read_bytes(), "run python scripts/messages.py"


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.name)
def test_every_translation_has_the_same_places_for_values(path: messages.Path) -> None:
    for message in messages.read(path):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        wanted = {name for text in ids for name in re.findall(r"%\((\w+)\)s", text)}
        for text in strings if message.id else ():
            assert set(re.findall(r"%\((\w+)\)s", text)) == wanted, message.id


@pytest.mark.parametrize(
    ("locale", "euros", "yen", "day"),
    [
        ("en-GB", "€1,234.50", "JP¥1,200", "1 Dec 2026"),
        ("en-US", "€1,234.50", "¥1,200", "Dec 1, 2026"),
        ("de-DE", "1.234,50\N{NO-BREAK SPACE}€", "1.200\N{NO-BREAK SPACE}¥", "1. Dez. 2026"),
        ("de-AT", "€\N{NO-BREAK SPACE}1.234,50", "¥\N{NO-BREAK SPACE}1.200", "1. Dez. 2026"),
    ],
)
def test_amounts_and_dates_are_written_as_the_reader_does(
    locale: str, euros: str, yen: str, day: str
) -> None:
    words = words_for(locale)
    assert words.money(Money(123450, "EUR")) == euros
    assert words.money(Money(1200, "JPY")) == yen
    assert words.day(date(2026, 12, 1)) == day


def test_decimal_places_are_those_of_iso_4217() -> None:
    """CLDR writes dinars without them; three places were billed."""
    words = words_for("en-US")
    assert words.money(Money(1234, "IQD")).endswith("1.234")
    assert words.money(Money(1234, "KWD")).endswith("1.234")
    assert words.money(Money(-1, "USD")) == "\N{MINUS SIGN}$0.01"


def test_an_instant_is_the_day_it_is_where_the_reader_lives() -> None:
    late = datetime(2026, 12, 1, 23, 30, tzinfo=UTC)
    assert words_for("de-DE", timezone="Europe/Berlin").moment(late) == "2. Dez. 2026, 00:30"
    assert words_for("de-DE").day(late) == "1. Dez. 2026"


@pytest.mark.parametrize(
    ("locale", "accepted", "language"),
    [
        (None, (), "en"),
        ("de", (), "de"),
        ("DE_at", (), "de"),
        ("fr-FR", ("de-CH",), "de"),
        ("en", ("de",), "en"),
        (None, ("pl", "de"), "de"),
        ("xx-../../etc/passwd", (), "en"),
        ("de-" + "x" * 40, (), "de"),
    ],
)
def test_a_language_is_found_for_everybody(
    locale: str | None, accepted: tuple[str, ...], language: str
) -> None:
    assert words_for(locale, accepted=accepted).language == language


def test_an_unknown_time_zone_is_utc() -> None:
    assert words_for("en", timezone="Mars/Olympus").zone_name() == "UTC"


@pytest.mark.parametrize("colour", ["#2f5bea", "#000080", "#b3261e", "#11734a", "#000000", "#6b21a8"])
def test_text_in_the_brands_colour_can_be_read_in_light_and_dark(colour: str) -> None:
    accent = Accent.of(colour)
    for under in ("#ffffff", "#f6f7f9", accent.soft):
        assert contrast(accent.light, under) >= READABLE
    for under in ("#161b22", "#0b0f16", accent.dark_soft):
        assert contrast(accent.dark, under) >= READABLE


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BILLHOOK_BRAND_ACCENT", "#ffd700", "contrast"),
        ("BILLHOOK_BRAND_ACCENT", "gold", "six hex digits"),
        ("BILLHOOK_BRAND_LOGO", "/nowhere/logo.svg", "cannot be read"),
        ("BILLHOOK_BRAND_LOGO", "/etc/passwd", ".svg"),
        ("BILLHOOK_BRAND_SUPPORT_URL", "javascript:alert(1)", "https://"),
        ("BILLHOOK_PORTAL_RETURN_ORIGINS", "https://app.test/path", "no origin"),
        ("BILLHOOK_PORTAL_RETURN_ORIGINS", "app.test", "no origin"),
        ("BILLHOOK_PORTAL_IDLE", "PT1S", "5 minutes"),
    ],
)
def test_settings_that_cannot_work_are_told_at_start_up(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_configuration({name: value})
    assert name in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://App.Test/a?b#c", "https://app.test"),
        ("https://app.test:443/", "https://app.test"),
        ("http://app.test:8080", "http://app.test:8080"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
        ("https://user@app.test/", ""),
        ("https://app.test\\@evil.test/", ""),
        ("//app.test/", ""),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("https://app.test:99999/", ""),
        (" https://app.test/", ""),
        ("https://app.test/\n", ""),
        ("https:/app.test", ""),
        ("", ""),
    ],
)
def test_an_origin_is_read_as_a_browser_reads_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin
