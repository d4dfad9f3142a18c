"""``/demo/``: what people who look around can do: open the portal again, bill the customer, and let time pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Final

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from billhook.money import Money
from billhook.testing.story import EngineStory, PaymentStory
from billhook_web.demo.casting import Role
from billhook_web.demo.play import NAMES
from billhook_web.demo.stage import NotSettled, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

GUEST: Final = "acct_hana"
"""The customer whose portal people look at."""

MOUNT: Final = "/demo"
BILL: Final = Money(4_200, "EUR")
SPANS: Final = {
    "an hour": timedelta(hours=1),
    "a day": timedelta(days=1),
    "three days": timedelta(days=3),
    "a month": timedelta(days=31),
}
"""How far the clock can be skipped, and how that is called."""

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:44rem;padding:0 1rem;color-scheme:light dark}"
    "button{font:inherit;padding:.5rem 1rem;margin:0 .5rem .5rem 0;cursor:pointer}form{display:inline}"
    "li{margin:.25rem 0}[role=status]{padding:.75rem 1rem;border:1px solid;border-radius:.5rem}"
)


@dataclass(frozen=True, slots=True)
class Desk:
    """A WSGI app for people at the stage. Only for the demo: whoever reaches it may do everything it offers."""

    stage: Stage

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        return self.answer(Request(environ))(environ, start_response)

    def answer(self, request: Request) -> Response:
        """Return the page, a fresh way into the portal, or what came of a button."""
        name = request.path.strip("/")
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.method != "GET":
            return Response("Another site's page may not do this.\n", 403)
        match request.method, name:
            case "GET" | "HEAD", "":
                return self._page("")
            case "GET" | "HEAD", "portal":
                return redirect(self.way_in(), code=303)
            case "POST", "bill":
                return self._done(f"{NAMES[GUEST]} is billed {BILL}", self._bill)
            case "POST", "skip" if (span := SPANS.get(request.form.get("span", ""))) is not None:
                return self._done(
                    f"{request.form['span'].capitalize()} passed", lambda: self.stage.skip(span)
                )
            case _:
                return Response("There is no such thing at the desk.\n", 404)

    def way_in(self) -> str:
        """Return a fresh link into the guest's portal; it works once, for five minutes of the demo's clock."""
        issued = self.stage.runtime.portal.issue(GUEST, page="payment-methods", return_url=None)
        return f"{self.stage.url}/portal/enter/{issued.token}"

    def _bill(self) -> None:
        self.stage.cast.engine.story.invoice(GUEST, BILL)
        self.stage.settle()

    def _done(self, what: str, do: Callable[[], None]) -> Response:
        try:
            do()
        except NotSettled as exc:
            return self._page(f"{what}, and not all that follows is done yet: {exc}")
        return self._page(f"{what}; all that follows is done.")

    def _page(self, said: str) -> Response:
        now = self.stage.clock.now()
        told = f'<p role="status">{escape(said)}</p>' if said else ""
        spans = "".join(f'<button name="span" value="{each}">Let {each} pass</button>' for each in SPANS)
        body = (
            f"<h1>The demo’s desk</h1>{told}<p>It is {now:%A, %d %B %Y, %H:%M} UTC.</p>"
            f'<form method="post" action="{MOUNT}/skip">{spans}</form>'
            f'<form method="post" action="{MOUNT}/bill"><button>{NAMES[GUEST]} is billed {BILL}</button></form>'
            f'<p><a href="{MOUNT}/portal">Open the portal of {NAMES[GUEST]}</a> (a fresh link each time)</p>'
            f"<h2>At the providers</h2><ul>{self._sandboxes()}</ul>"
        )
        return Response(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><title>The demo’s desk</title>'
            f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head>'
            f"<body><main>{body}</main></body></html>",
            mimetype="text/html",
        )

    def _sandboxes(self) -> str:
        return "".join(
            f'<li><a href="{role.mount}{role.story.page}">{escape(role.story.title)} sandbox</a>: {what}</li>'
            for role, what in self._known()
        )

    def _known(self) -> list[tuple[Role[EngineStory | PaymentStory], str]]:
        """Pair each sandbox with what its page shows."""
        cast = self.stage.cast
        payments = (
            (role, "its payments, and the test cards and accounts it takes") for role in cast.roles[1:]
        )
        return [(cast.engine, "its customers and invoices"), *payments]
