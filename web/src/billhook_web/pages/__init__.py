"""What every page for people is made with: words, style, headers. Used by the portal and the pay page.

:func:`install_pages` prepares the application once; :func:`render` makes a page::

    return render("portal/overview.html", place=OVERVIEW, owed=owed)                 # a Response, protected
    return render("portal/add.html", sources=kit.sources, status=409, form=form)     # lets a provider's script in

Templates may use ``_("Pay %(amount)s", amount=...)``, ``ngettext``, the filters ``money``, ``day`` and ``moment``, and the
globals ``asset(name)``, ``script_of(connection)``, ``brand`` and ``words``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from flask import Flask, Response, current_app, g, make_response, render_template, request

from billhook.methods import SupportsPageKit
from billhook.money import Money
from billhook_web.pages.assets import Assets, assets_blueprint
from billhook_web.pages.headers import Sources, protect
from billhook_web.pages.words import Words, words_for
from billhook_web.runtime import Runtime

__all__ = ["Brand", "Sources", "brand", "install_pages", "protect", "render", "speak", "words"]

_EXTENSION = "billhook_pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """Who the pages are of."""

    name: str
    support_url: str | None
    has_logo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pages:
    brand: Brand
    assets: Assets


def install_pages(app: Flask, runtime: Runtime) -> None:
    """Give the application its words, style and brand, from the settings."""
    settings = runtime.configuration.host
    logo = settings.logo()
    assets = Assets(accent=settings.accent(), logo=logo, scripts=lambda name: _adapter(runtime, name))
    made = Brand(name=settings.brand_name, support_url=settings.brand_support_url, has_logo=logo is not None)
    app.extensions[_EXTENSION] = _Pages(brand=made, assets=assets)
    app.register_blueprint(assets_blueprint(assets))
    env = app.jinja_env
    env.add_extension("jinja2.ext.i18n")
    env.install_gettext_callables(  # type: ignore[attr-defined]  # the extension adds it
        lambda text: words().catalog.gettext(text),
        lambda one, many, number: words().catalog.ngettext(one, many, number),
        newstyle=True,
    )
    env.filters |= {"money": _money, "day": _day, "moment": _moment}
    env.globals |= {"asset": assets.url, "script_of": assets.script_url, "brand": made}


def render(
    template: str, *, status: int = 200, sources: Sources | None = None, **context: object
) -> Response:
    """Return a page with its headers.

    :param sources: what a provider's script on this page needs of the Content-Security-Policy, by directive.
    """
    response = make_response(render_template(template, words=words(), **context), status)
    response.content_language.add(words().language)
    response.vary.update(("Accept-Language", "Cookie"))
    return protect(response, sources=sources)


def words() -> Words:
    """Return how to speak to whoever asks: as :func:`speak` said, else as the browser asks for."""
    if "words" not in g:
        g.words = words_for(None, accepted=request.accept_languages.values())
    found: Words = g.words
    return found


def speak(locale: str | None, timezone: str | None) -> None:
    """From here on in this request, speak to somebody whose locale (BCP 47) and time zone (IANA) are known."""
    g.words = words_for(locale, accepted=request.accept_languages.values(), timezone=timezone)


def brand() -> Brand:
    """Return who the pages are of."""
    found: _Pages = current_app.extensions[_EXTENSION]
    return found.brand


def _adapter(runtime: Runtime, connection: str) -> str | None:
    """Return the script by which a connection's plugin mounts its provider's form; None: it has none."""
    found = runtime.connections.get(connection)
    provider: object = found.provider if found else None
    return provider.page_kit().adapter if isinstance(provider, SupportsPageKit) else None


def _money(amount: Money | int, currency: str | None = None) -> str:
    return words().money(amount if isinstance(amount, Money) else Money(amount, currency or ""))


def _day(value: date | datetime) -> str:
    return words().day(value)


def _moment(value: datetime) -> str:
    return words().moment(value)
