"""The customer portal below ``/portal/``: pages an end customer opens through a one-time link of the API.

How to add a page
-----------------

1. Add its :class:`~billhook_web.pages.places.Place` to ``PLACES`` in ``pages/places.py``: navigation and deep links of
   ``POST /api/v1/portal-sessions`` follow from it.
2. Write a module here with a function ``add_<page>(portal, runtime)`` that puts routes on the blueprint, and name it in
   ``_PAGES`` below. Every route is behind the session and the CSRF check already::

       def add_methods(portal: Blueprint, runtime: Runtime) -> None:
           @portal.get("/payment-methods")
           def methods() -> Response:
               me = visit()                       # .customer, .session, .mine: all reading goes through mine
               return show("portal/payment-methods.html", place=METHODS, methods=me.mine....)

           @portal.post("/payment-methods/<ref>/remove")
           def remove(ref: str) -> Response:
               ...                                # billhook.errors.NotFound -> 404 page, ProviderError -> 503 page
               return redirect(url_for("portal.methods"), 303)

3. A page that mounts a provider's form lets its script in by ``show(..., sources=kit.sources)``, loads ``kit.scripts`` and
   then ``script_of(connection)``, the plugin's adapter, which :mod:`billhook_web.pages.assets` serves.
4. The template extends ``portal/base.html`` (blocks ``title``, ``main``, ``scripts``) and imports
   ``portal/parts.html`` *with context*: ``{% import 'portal/parts.html' as c with context %}``. Forms come from
   ``{% call c.form(url) %}...{% endcall %}``, which adds the CSRF token. Texts are ``_("...")``; amounts and dates pass
   ``|money``, ``|day``, ``|moment``. Then ``python scripts/messages.py`` brings the new texts into the German catalogue.

Pages outside the session that look the same (``bare``): ``render("...", bare=true)`` of :mod:`billhook_web.pages`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Blueprint, Flask
from werkzeug.exceptions import NotFound

from billhook_web.portal.cookies import Cookies
from billhook_web.portal.entry import entry_blueprint
from billhook_web.portal.login import login_blueprint
from billhook_web.portal.methods import add_methods
from billhook_web.portal.overview import add_overview
from billhook_web.portal.troubles import install_troubles
from billhook_web.portal.visiting import Visitors, guard
from billhook_web.runtime import Runtime

_PAGES: Final[tuple[Callable[[Blueprint, Runtime], None], ...]] = (add_overview, add_methods)


def register_portal(app: Flask, runtime: Runtime) -> None:
    """Add the portal's routes; :func:`billhook_web.pages.install_pages` comes first."""
    cookies = _cookies(runtime)
    app.register_blueprint(entry_blueprint(runtime, cookies))
    app.jinja_env.globals["email_login"] = runtime.login.on  # pages that turn somebody away offer it
    if runtime.login.on:
        app.register_blueprint(login_blueprint(runtime, cookies))
    portal = Blueprint("portal", __name__, url_prefix="/portal")
    guard(portal, runtime, cookies)
    install_troubles(portal)
    for add in _PAGES:
        add(portal, runtime)
    # Below everything: an address nobody knows is told in the portal's words, after the question who asks.
    portal.add_url_rule("/<path:_rest>", view_func=_unknown, methods=["GET", "POST"])
    app.register_blueprint(portal)


def visitors(runtime: Runtime) -> Visitors:
    """Return what tells the pay page who is signed in."""
    return Visitors(runtime, _cookies(runtime))


def _cookies(runtime: Runtime) -> Cookies:
    return Cookies(secure=runtime.configuration.host.public_url.startswith("https:"))


def _unknown(_rest: str) -> str:
    raise NotFound
