"""What people read when something does not work: what happened, what it means for their money, and the way on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from flask import Blueprint, Response, g, request
from werkzeug.exceptions import HTTPException

from billhook.errors import NotFound, OutcomeUnknown, ProviderError, Refused
from billhook_web.db import DatabaseError
from billhook_web.pages import render
from billhook_web.pages.words import N_

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A page that is one message. ``text`` and ``more`` are paragraphs; ``way_on``: what its button says.

    ``fresh_link``: who reads it wants in, so a link by mail is offered where that is on.
    """

    status: int
    tone: str
    icon: str
    title: str
    text: str
    more: str = ""
    way_on: str = ""
    fresh_link: bool = False
    headers: dict[str, str] = field(default_factory=dict)


NOT_FOUND: Final = Trouble(
    status=404,
    tone="",
    icon="search",
    title=N_("We can’t find that page"),
    text=N_(
        "It may have moved, or it belongs to another account. Your invoices and payment methods are where they were."
    ),
    way_on=N_("Go to the overview"),
)
FOREIGN_FORM: Final = Trouble(
    status=403,
    tone="warn",
    icon="shield-check",
    title=N_("We didn’t take that"),
    text=N_(
        "The form came from a page that isn’t open any more, so we did nothing. Nothing was changed or charged."
    ),
    more=N_("Open the page again and send it once more."),
    way_on=N_("Go to the overview"),
)
OURS: Final = Trouble(
    status=500,
    tone="bad",
    icon="triangle-alert",
    title=N_("That didn’t work, and it’s our fault"),
    text=N_(
        "We have a note of it and are looking into it. If you were paying: look at the invoice before you try again, so "
        "that nothing is paid twice."
    ),
    way_on=N_("Go to the overview"),
)
BUSY: Final = Trouble(
    status=503,
    tone="warn",
    icon="clock",
    title=N_("Back in a moment"),
    text=N_("We can’t look that up just now. Nothing was changed or charged."),
    way_on=N_("Try again"),
    headers={"Retry-After": str(RETRY_SECONDS)},
)
PROVIDER_DOWN: Final = Trouble(
    status=503,
    tone="warn",
    icon="cloud-off",
    title=N_("Our payment provider isn’t answering"),
    text=N_(
        "Payments and changes to payment methods have to wait a little. Your access isn’t affected by that."
    ),
    more=N_("Please try again in a few minutes."),
    way_on=N_("Try again"),
    headers={"Retry-After": str(RETRY_SECONDS)},
)
UNCLEAR: Final = Trouble(
    status=504,
    tone="warn",
    icon="clock",
    title=N_("We don’t know yet whether that worked"),
    text=N_(
        "Our payment provider didn’t answer in time. It may have been done; we’re finding out, and nothing is done twice."
    ),
    more=N_("Please look again in a few minutes before you repeat it."),
    way_on=N_("Go to the overview"),
)
REFUSED: Final = Trouble(
    status=409,
    tone="warn",
    icon="info",
    title=N_("That isn’t possible now"),
    text=N_("It may have changed since you opened the page. Nothing was changed or charged."),
    way_on=N_("Go to the overview"),
)
SESSION_OVER: Final = Trouble(
    status=401,
    tone="info",
    icon="log-out",
    title=N_("You’re signed out"),
    text=N_(
        "For your safety these pages close by themselves after a while. What you had confirmed is done; what you were "
        "still typing wasn’t sent."
    ),
    way_on=N_("Open billing again"),
    fresh_link=True,
)
SIGNED_OUT: Final = Trouble(
    status=200,
    tone="good",
    icon="circle-check",
    title=N_("You’re signed out"),
    text=N_("Nobody can see your billing pages on this device any more."),
    fresh_link=True,
)
LINK_OVER: Final = Trouble(
    status=410,
    tone="warn",
    icon="clock",
    title=N_("This link has expired"),
    text=N_("For your safety, links to your billing pages work once and only for a few minutes."),
    way_on=N_("Open billing again"),
    fresh_link=True,
)
NO_LINK: Final = Trouble(
    status=404,
    tone="",
    icon="search",
    title=N_("This link leads nowhere"),
    text=N_(
        "Part of it may have been lost on the way. Open billing again where you found it, and you’ll get a fresh link."
    ),
    fresh_link=True,
)
NO_COOKIES: Final = Trouble(
    status=403,
    tone="warn",
    icon="lock",
    title=N_("Your browser keeps no cookies here"),
    text=N_(
        "We need one cookie to know that it’s you while you look at your billing pages; it is gone when you sign out."
    ),
    more=N_("Allow cookies for this site, then open the link again."),
    way_on=N_("Try again"),
)


def tell(trouble: Trouble, *, return_url: str | None = None, way_on_url: str = "/portal/") -> Response:
    """Return a page that is one message, without navigation.

    :param return_url: where the customer came from.    :param way_on_url: where the button leads.
    """
    reference = g.get("request_id") if trouble in (OURS, UNCLEAR) else None
    response = render(
        "portal/message.html",
        status=trouble.status,
        trouble=trouble,
        return_url=return_url,
        way_on_url=way_on_url,
        reference=reference,
    )
    response.headers.update(trouble.headers)
    return response


def session_over(return_url: str | None) -> Response:
    """Say that the session is over, and lead back to where a fresh link is."""
    response = tell(SESSION_OVER, return_url=return_url, way_on_url=return_url or "")
    if request.headers.get("HX-Request"):
        response.headers["HX-Refresh"] = "true"  # a part of a page must not be replaced by a whole one
    return response


def install_troubles(blueprint: Blueprint) -> None:
    """Answer every error of a blueprint's views with a page."""
    for kind, answer in _ANSWERS:
        blueprint.register_error_handler(kind, answer)


def _plain(trouble: Trouble) -> Callable[[Exception], Response]:
    def answer(exc: Exception) -> Response:
        log.info("portal.told", error=type(exc).__name__, status=trouble.status)
        again = request.full_path.rstrip("?") if request.method == "GET" else "/portal/"
        return tell(
            trouble, return_url=_way_back(), way_on_url=again if trouble.status == 503 else "/portal/"
        )

    return answer


def _on_http(exc: HTTPException) -> Any:
    if exc.response is not None or (exc.code or 500) < 400:
        return exc
    match exc.code:
        case 404 | 405:
            trouble = NOT_FOUND
        case 403:
            trouble = FOREIGN_FORM
        case 500:
            trouble = OURS
        case _:
            trouble = REFUSED
    return _plain(trouble)(exc)


def _on_bug(exc: Exception) -> Response:
    log.error("portal.failed", error=type(exc).__name__, exc_info=False, where=_where(exc))
    return _plain(OURS)(exc)


def _where(exc: Exception) -> str:
    frame = exc.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""


def _way_back() -> str | None:
    found = g.get("visit")
    return found.session.return_url if found else None


_ANSWERS: Final[tuple[tuple[type[Exception], Callable[[Any], Any]], ...]] = (
    (HTTPException, _on_http),
    (NotFound, _plain(NOT_FOUND)),
    (Refused, _plain(REFUSED)),
    (OutcomeUnknown, _plain(UNCLEAR)),
    (ProviderError, _plain(PROVIDER_DOWN)),
    *((kind, _plain(BUSY)) for kind in DatabaseError),
    (Exception, _on_bug),
)
