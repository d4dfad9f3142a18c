"""``/portal/login``: a customer asks with their e-mail address, and gets a link by mail if we know it.

Where the operator wants it. The answer is the same page for every address, in the same time: who asks learns nothing about
who is a customer. The link leads to :mod:`billhook_web.portal.entry`, as those of the API do.
"""

from __future__ import annotations

import hmac
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import structlog
from flask import Blueprint, Response, make_response, redirect, request

from billhook.clock import new_token
from billhook.errors import NotFound
from billhook.notifier import is_address
from billhook_web.pages import render, words
from billhook_web.pages.words import N_
from billhook_web.portal.cookies import Cookies
from billhook_web.portal.troubles import BUSY, install_troubles, tell
from billhook_web.portal.visiting import CSRF_FIELD, LARGEST_FORM
from billhook_web.runtime import Runtime
from billhook_web.services.portal_login import Scope, TooOften

log = structlog.get_logger(__name__)

_PATH: Final = "/portal/login"
_SENT: Final = "/portal/login/sent"
_NO_ADDRESS: Final = N_("Enter your e-mail address, such as name@example.com.")
_STALE: Final = N_(
    "The page was open for too long. Please send it once more; if that doesn’t help, allow cookies for this site."
)
_WAIT: Final = N_("Too many links were asked for from your network. Please try again in %(minutes)s minutes.")


def login_blueprint(runtime: Runtime, cookies: Cookies) -> Blueprint:
    """Return the routes; nobody has to be signed in for them."""
    blueprint = Blueprint("portal_login", __name__)
    install_troubles(blueprint)

    @blueprint.before_request
    def limit() -> None:
        request.max_content_length = LARGEST_FORM

    @blueprint.get(_PATH)
    def login() -> Response:
        return _form(cookies)

    @blueprint.post(_PATH)
    def ask() -> Response:
        return _ask(runtime, cookies)

    @blueprint.get(_SENT)
    def sent() -> Response:
        return render("portal/login-sent.html")

    return blueprint


def _form(cookies: Cookies, *, address: str = "", error: str = "", status: int = 200) -> Response:
    """Show the form. The browser is marked, so that no other page can send it."""
    mark = cookies.entry() or new_token(size=32)
    response = render("portal/login.html", status=status, csrf=mark, address=address, error=error)
    cookies.set_entry(response, mark)
    return response


def _ask(runtime: Runtime, cookies: Cookies) -> Response:
    mark, address = cookies.entry(), request.form.get("email", "").strip()
    sent = request.form.get(CSRF_FIELD, "")
    if mark is None or not hmac.compare_digest(sent.encode("utf-8", "replace"), mark.encode()):
        return _form(cookies, address=address, error=words().say(_STALE), status=403)
    if not is_address(address):
        return _form(cookies, address=address, error=words().say(_NO_ADDRESS), status=422)
    try:
        runtime.login.ask(address, client=client(runtime), locale=words().tag)
    except NotFound:
        return tell(BUSY, way_on_url=_PATH)
    except TooOften as exc:
        return _too_often(cookies, address, exc)
    return make_response(redirect(_SENT, 303))


def _too_often(cookies: Cookies, address: str, exc: TooOften) -> Response:
    """An address that was asked with often is answered like any other: its owner has had the mails."""
    if exc.scope is Scope.ADDRESS:
        return make_response(redirect(_SENT, 303))
    if exc.scope is Scope.CLIENT:
        said = words().say(_WAIT, minutes=int(exc.wait.total_seconds() // 60) + 1)
        response = _form(cookies, address=address, error=said, status=429)
    else:
        response = tell(BUSY, way_on_url=_PATH)
    response.headers["Retry-After"] = str(int(exc.wait.total_seconds()) + 1)
    return response


def client(runtime: Runtime) -> str:
    """Return who asks: the address that reached us, or the last one before the operator's own proxies.

    Of IPv6 the network counts (/64): whoever has one address there has them all.
    """
    trusted = [ip_network(each) for each in runtime.configuration.host.trusted_proxies]
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    found = request.remote_addr or ""
    for said in reversed(forwarded):
        address = _address(found)
        if address is None or not any(address in network for network in trusted):
            break
        found = said.strip() or found
    address = _address(found)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address or "unknown")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; one of IPv4 that comes in the clothes of IPv6, as on a socket for both, counts as what it is."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
