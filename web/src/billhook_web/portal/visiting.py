"""Who is asking: every page of the portal is behind :func:`admit`, which finds the session and checks what is written.

A view gets what it may see from :func:`visit` and answers with :func:`show`.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from flask import Blueprint, Response, g, request
from werkzeug.exceptions import Forbidden

from billhook.errors import NotFound
from billhook.model import Customer
from billhook_web.pages import Sources, protect, render, speak
from billhook_web.pages.places import PLACES, Place
from billhook_web.portal.cookies import Cookies
from billhook_web.portal.scope import Mine
from billhook_web.portal.troubles import session_over
from billhook_web.runtime import Runtime
from billhook_web.stores.portal import Session

log = structlog.get_logger(__name__)

CSRF_FIELD: Final = "csrf_token"
CSRF_HEADER: Final = "X-CSRF-Token"
LARGEST_FORM: Final = 64 * 1024
"""Bytes a form may have."""

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of somebody who is signed in. ``mine`` is all they may see."""

    session: Session
    mine: Mine
    customer: Customer


def guard(blueprint: Blueprint, runtime: Runtime, cookies: Cookies) -> None:
    """Let only those in who are signed in, and only writes that come from our own forms."""

    @blueprint.before_request
    def _admit() -> Response | None:
        return admit(runtime, cookies)

    @blueprint.after_request
    def _protect(response: Response) -> Response:
        return protect(response)  # also what only leads on: it may name an address that is a secret


def admit(runtime: Runtime, cookies: Cookies) -> Response | None:
    """Find the session of this request and prepare :func:`visit`; return the answer when there is none.

    :raises Forbidden: a write without this session's own token.
    """
    request.max_content_length = LARGEST_FORM
    token = cookies.session()
    session = runtime.portal.find(token) if token else None
    customer = _customer(runtime, session)
    if session is None or customer is None or not runtime.portal.is_live(session):
        return session_over(session.return_url if session else None)
    g.visit = Visit(session=session, mine=Mine(runtime, session.customer_id), customer=customer)
    if request.method not in _READS and not is_own_form(session):
        log.warning("portal.foreign_form", route=request.url_rule.rule if request.url_rule else None)
        raise Forbidden
    runtime.portal.touch(session)
    return None


class Visitors:
    """Tells pages outside the portal who is signed in to it, in the browser that asks."""

    def __init__(self, runtime: Runtime, cookies: Cookies) -> None:
        self._runtime = runtime
        self._cookies = cookies

    def session(self) -> Session | None:
        """Return the live session of this request; None: nobody is signed in."""
        token = self._cookies.session()
        session = self._runtime.portal.find(token) if token else None
        return session if session is not None and self._runtime.portal.is_live(session) else None


def visit() -> Visit:
    """Return who is asking."""
    found: Visit = g.visit
    return found


def show(
    template: str,
    *,
    place: Place | None,
    status: int = 200,
    sources: Sources | None = None,
    **context: object,
) -> Response:
    """Return a page of the portal, with its navigation; ``place`` is marked in it.

    :param sources: what a provider's script on this page needs, as :attr:`billhook.methods.PageKit.sources`.
    """
    return render(template, status=status, sources=sources, place=place, **frame(), **context)


def frame(places: Iterable[Place] = PLACES) -> dict[str, object]:
    """Return what ``portal/base.html`` shows around a page: navigation, account, sign-out, the way back."""
    found: Visit | None = g.get("visit")
    if found is None:
        return {}
    return {
        "places": tuple(places),
        "account": found.customer,
        "csrf": found.session.csrf,
        "return_url": found.session.return_url,
    }


def is_own_form(session: Session) -> bool:
    """Say whether a write carries the token of this session, as a field or as a header."""
    sent = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    return hmac.compare_digest(sent.encode("utf-8", "replace"), session.csrf.encode())


def _customer(runtime: Runtime, session: Session | None) -> Customer | None:
    if session is None:
        return None
    try:
        customer = Mine(runtime, session.customer_id).customer()
    except NotFound:
        return None
    speak(customer.locale, customer.timezone)
    return customer
