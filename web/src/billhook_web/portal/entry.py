"""``/portal/enter/<token>``: a one-time link becomes a session, and ``/portal/sign-out`` ends it.

GET only shows a form, so that a mail scanner or a preview uses nothing up; a script sends it at once, without one there is
a button. The browser is marked by a cookie first: only the browser that was shown the form can send it, and it may do so
twice, for a double click loses the first answer.
"""

from __future__ import annotations

import hmac
from typing import Final

import structlog
from flask import Blueprint, Response, make_response, redirect, request

from billhook.clock import new_token
from billhook_web.pages import protect, render, speak
from billhook_web.pages.places import place
from billhook_web.portal.cookies import Cookies
from billhook_web.portal.scope import Mine
from billhook_web.portal.troubles import (
    FOREIGN_FORM,
    LINK_OVER,
    NO_COOKIES,
    NO_LINK,
    SIGNED_OUT,
    install_troubles,
    tell,
)
from billhook_web.portal.visiting import CSRF_FIELD, LARGEST_FORM, is_own_form
from billhook_web.runtime import Runtime
from billhook_web.stores.portal import Link

log = structlog.get_logger(__name__)

_PATH: Final = "/portal/enter/<token>"


def entry_blueprint(runtime: Runtime, cookies: Cookies) -> Blueprint:
    """Return the routes that nobody has to be signed in for."""
    blueprint = Blueprint("portal_entry", __name__)
    install_troubles(blueprint)

    @blueprint.before_request
    def limit() -> None:
        request.max_content_length = LARGEST_FORM

    @blueprint.after_request
    def _protect(response: Response) -> Response:
        return protect(response)  # also what only leads on

    @blueprint.get(_PATH)
    def entry(token: str) -> Response:
        return _offer(runtime, cookies, token)

    @blueprint.post(_PATH)
    def enter(token: str) -> Response:
        return _enter(runtime, cookies, token)

    @blueprint.post("/portal/sign-out")
    def sign_out() -> Response:
        return _sign_out(runtime, cookies)

    return blueprint


def _offer(runtime: Runtime, cookies: Cookies, token: str) -> Response:
    """Show what the link opens. Nothing is used up."""
    link = runtime.portal.link(token)
    if link is None:
        return _private(tell(NO_LINK))
    browser = cookies.entry() or new_token(size=32)
    if not runtime.portal.usable(link, browser=browser):
        return _over(runtime, cookies, link)
    customer = Mine(runtime, link.customer_id).customer()
    speak(customer.locale, customer.timezone)
    response = render("portal/enter.html", token=token, mark=browser, account=customer)
    cookies.set_entry(response, browser)
    return _private(response)


def _enter(runtime: Runtime, cookies: Cookies, token: str) -> Response:
    browser = cookies.entry()
    sent = request.form.get(CSRF_FIELD, "")
    link = runtime.portal.link(token)
    if link is None:
        return _private(tell(NO_LINK))
    if browser is None or not hmac.compare_digest(sent.encode("utf-8", "replace"), browser.encode()):
        return _private(tell(NO_COOKIES, return_url=link.return_url, way_on_url=request.path))
    begun = runtime.portal.begin(token, browser=browser, replaces=cookies.session())
    if begun is None:
        return _over(runtime, cookies, link)
    log.info("portal.entered", page=begun.page)
    response = make_response(redirect(place(begun.page).path, 303))
    cookies.set_session(response, begun.token, lives=runtime.portal.limits.longest)
    return _private(response)


def _over(runtime: Runtime, cookies: Cookies, link: Link) -> Response:
    """The link lets nobody in. Who is in already (a reload, the back button) goes on."""
    token = cookies.session()
    session = runtime.portal.find(token) if token else None
    if session and session.customer_id == link.customer_id and runtime.portal.is_live(session):
        return make_response(redirect(place(link.page).path, 303))
    return _private(tell(LINK_OVER, return_url=link.return_url, way_on_url=link.return_url or ""))


def _sign_out(runtime: Runtime, cookies: Cookies) -> Response:
    token = cookies.session()
    session = runtime.portal.find(token) if token else None
    if session is not None and runtime.portal.is_live(session):
        if not is_own_form(session):
            return tell(FOREIGN_FORM)
        runtime.portal.end(session)
    response = tell(SIGNED_OUT, return_url=session.return_url if session else None, way_on_url="")
    cookies.drop_session(response)
    return response


def _private(response: Response) -> Response:
    """The address holds a secret: nobody is told it as where the reader comes from."""
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
