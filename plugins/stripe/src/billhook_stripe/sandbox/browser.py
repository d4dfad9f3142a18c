"""What a customer's browser loads: a stand-in for Stripe.js, the frame with its fields, and the bank's 3-D Secure page.

``/js/stripe.js`` sets ``window.Stripe`` with the part of Stripe.js that the plugin's adapter uses: ``elements`` with a
Payment Element, ``confirmSetup``, ``confirmPayment``, ``handleNextAction``, ``retrieveSetupIntent``,
``retrievePaymentIntent``. The element is a frame (``/js/element.html``) with the fields *Card number*, *Expiry (MM / YY)*,
*CVC*, and *IBAN* after choosing *SEPA debit*; what is typed there goes from the frame to ``/v1/payment_methods`` and to
nobody else. The bank's question opens in a frame over the page (``/3ds/<intent>``) with the buttons *Complete* and *Fail*;
closing it abandons. With ``?redirect=1`` it is a page of its own that leads back to the ``return_url``.

A browser test may serve these under Stripe's own names: route ``https://js.stripe.com/**`` to ``/js/…``,
``https://api.stripe.com/**`` to ``/…`` and ``https://hooks.stripe.com/**`` to ``/…``; the script then looks for them there.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from .control import document
from .desk import Desk
from .errors import Json, invalid

ASSETS: Final = {
    "stripe.js": ("stripe.js", "text/javascript"),
    "element.html": ("element.html", "text/html"),
    "element.js": ("element.js", "text/javascript"),
    "secure.js": ("secure.js", "text/javascript"),
}


class Browser:
    """Serves ``/js/…`` and ``/3ds/<intent>``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def answer(self, request: Request) -> Response:
        """Return a file, the bank's page, or after its form what comes next."""
        _, kind, rest = request.path.split("/", 2)
        if kind == "js":
            return _asset(
                rest.rpartition("/")[2]
            )  # whatever train it is asked for under, such as endive/stripe.js
        if request.method == "POST":
            return self._decide(rest, request)
        intent = self._intent(rest)
        return Response(_question(intent, leads_back="redirect" in request.args), mimetype="text/html")

    def _decide(self, ref: str, request: Request) -> Response:
        back = self._return_url(ref)
        success = request.form.get("answer") == "complete"
        intent = self._desk.authenticate(ref, success=success)
        if "redirect" not in request.args or back is None:
            return Response(_answered(), mimetype="text/html")
        return redirect(_with_outcome(back, intent), code=303)

    def _return_url(self, ref: str) -> str | None:
        action = self._intent(ref).get("next_action") or {}
        url: str | None = (action.get("redirect_to_url") or {}).get("return_url")
        return url

    def _intent(self, ref: str) -> Json:
        world = self._desk.world
        with self._desk.lock:
            return world.setup(ref) if ref in world.setups else world.intent(ref)


def _asset(name: str) -> Response:
    if name not in ASSETS:
        raise invalid(f"There is no {name} here", status=404)
    file, kind = ASSETS[name]
    text = (files(__package__) / "assets" / file).read_text(encoding="utf-8")
    return Response(text, mimetype=kind, headers={"Access-Control-Allow-Origin": "*"})


def _question(intent: Json, *, leads_back: bool) -> str:
    if intent["status"] != "requires_action":
        return document("3-D Secure", "<h1>Nothing to confirm</h1><p>The bank waits for no answer.</p>")
    what = f"{intent['amount']} {intent['currency'].upper()}" if "amount" in intent else "Saving this card"
    action = "?redirect=1" if leads_back else ""
    return document(
        "3-D Secure",
        f"<h1>Sandbox bank</h1><p>{escape(what)}. Is it you?</p>"
        f'<form method="post" action="{action}"><button name="answer" value="complete">Complete</button>'
        '<button name="answer" value="fail">Fail</button></form>',
    )


def _answered() -> str:
    """Tell the page around this frame, if there is one."""
    return document("3-D Secure", '<p>Thank you.</p><script src="../js/secure.js"></script>')


def _with_outcome(url: str, intent: Json) -> str:
    name = intent["object"]
    outcome = "failed" if intent["status"] == "requires_payment_method" else intent["status"]
    added = {name: intent["id"], f"{name}_client_secret": intent["client_secret"], "redirect_status": outcome}
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(added)) if part)
    return urlunsplit(parts._replace(query=query))
