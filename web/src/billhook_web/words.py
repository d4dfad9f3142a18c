"""Words, amounts and dates as the reader writes them: English and German, in the reader's locale and time zone.

The catalogue is ``billhook_web/locale/<language>/messages.po``, read as it is. A text is written in English where it is
said: ``_("Pay %(amount)s", amount=...)`` in templates, ``words.say(...)`` in code, ``N_("...")`` where it is only named.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from gettext import NullTranslations
from importlib.resources import files
from io import BytesIO
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_interval, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

from billhook.model import Period
from billhook.money import Money, exponent

LANGUAGES: Final = ("en", "de")
"""The languages that are complete. English comes first: it is what the texts are written in."""

_MINUS: Final = "\N{MINUS SIGN}"
_WORLD: Final = Locale("en", "001")  # English without a country: 1 Dec 2026


def N_(text: str) -> str:
    """Name a text that is translated where it is shown."""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How one reader is spoken to. ``language``: of the texts; ``locale``: of amounts and dates; ``zone``: of times."""

    language: str
    locale: Locale
    zone: tzinfo
    catalog: NullTranslations

    @property
    def tag(self) -> str:
        """The locale as BCP 47, for scripts and the provider's form."""
        return str(self.locale).replace("_", "-")

    def say(self, text: str, **values: object) -> str:
        """Return the text in the reader's language, with the values put in. It is plain text, not HTML."""
        return self.catalog.gettext(text) % values

    def count(self, one: str, many: str, number: int, **values: object) -> str:
        """Return the text for this number of things; ``%(num)s`` is the number."""
        return self.catalog.ngettext(one, many, number) % {"num": number, **values}

    def money(self, amount: Money) -> str:
        """Write an amount: $58.40, 58,40 €. Decimal places are the currency's by ISO 4217, never CLDR's."""
        places = exponent(amount.currency)
        pattern = copy.copy(self.locale.currency_formats["standard"])
        pattern.frac_prec = (places, places)
        value = Decimal(amount.minor).scaleb(-places)
        text: str = pattern.apply(value, self.locale, currency=amount.currency, currency_digits=False)
        return text.replace("-", _MINUS)

    def day(self, value: date | datetime) -> str:
        """Write a date: 1 Dec 2026, 1. Dez. 2026. An instant is shown as the day it is in the reader's zone."""
        if isinstance(value, datetime):
            value = value.astimezone(self.zone).date()
        return format_skeleton(
            "yMMMd", datetime(value.year, value.month, value.day, tzinfo=UTC), locale=self.locale
        )

    def days(self, period: Period) -> str:
        """Write a period with its last day, which the half-open end is not: 1 to 30 Nov 2026."""
        first = period.start.astimezone(self.zone).date()
        last = (period.end - timedelta(microseconds=1)).astimezone(self.zone).date()
        return format_interval(first, last, "yMMMd", locale=self.locale)

    def moment(self, value: datetime) -> str:
        """Write a day with its time, in the reader's zone."""
        time = format_skeleton("Hm", value, tzinfo=self.zone, locale=self.locale)
        return f"{self.day(value)}, {time}"

    def zone_name(self) -> str:
        """Name the reader's time zone as IANA does: Europe/London."""
        return str(self.zone)


def words_for(locale: str | None, *, accepted: Iterable[str] = (), timezone: str | None = None) -> Words:
    """Return how to speak to somebody.

    :param locale: what is known of them, BCP 47; it wins.    :param accepted: what their browser asks for, the best
        first.    :param timezone: IANA; None or unknown: UTC.
    """
    found = next((each for tag in (locale, *accepted) if (each := _known(tag)) is not None), _WORLD)
    return Words(
        language=found.language, locale=found, zone=_zone(timezone), catalog=catalog_of(found.language)
    )


@lru_cache
def catalog_of(language: str) -> NullTranslations:
    """Return the texts in a language; English ones are as they are written."""
    if language == LANGUAGES[0]:
        return NullTranslations()
    source = files("billhook_web") / "locale" / language / "messages.po"
    with source.open("rb") as file:
        catalog = read_po(file, locale=language)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)


@lru_cache(maxsize=256)
def _known(tag: str | None) -> Locale | None:
    """Return the locale of a tag in a language that we speak: its country counts where CLDR knows it."""
    language, _, rest = (tag or "").replace("_", "-").partition("-")
    if language.lower() not in LANGUAGES:
        return None
    for wanted in (f"{language}-{rest}", language):
        try:
            found = Locale.parse(wanted.rstrip("-"), sep="-")
        except (ValueError, UnknownLocaleError):
            continue
        return _WORLD if found == Locale("en") else found
    return None


@lru_cache(maxsize=256)
def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
