"""The hosted pages: plain HTML and forms, no script, like a customer would meet at Dodo."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from . import cards, checkout
from .desk import Desk
from .errors import ApiError
from .money import exponent, spelled
from .records import Session

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:3rem auto;padding:0 1rem;color:#1c1917;"
    "background:#fafaf9}main{background:#fff;border:1px solid #e7e5e4;border-radius:12px;padding:1.5rem}"
    "h1{font-size:2rem;margin:.25rem 0 1rem}small{color:#57534e}button{display:block;width:100%;padding:.75rem;"
    "margin:.5rem 0;border:1px solid #a8a29e;border-radius:8px;background:#fff;font:inherit;cursor:pointer}"
    "button.pay{background:#166534;border-color:#166534;color:#fff}label{display:block;margin:.5rem 0}"
    "input[type=email],input[type=text]{width:100%;padding:.5rem;font:inherit;box-sizing:border-box}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .5rem;"
    "border-bottom:1px solid #e7e5e4;font-size:.9rem}"
)


def document(title: str, body: str, *, wide: bool = False) -> str:
    """Return a whole HTML page; ``body`` is HTML already."""
    width = "<style>body{max-width:72rem}</style>" if wide else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>{width}</head><body><main>{body}</main></body></html>"
    )


class HostedPages:
    """``/session/<id>``, where customers pay, and ``/portal/<customer>``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def answer(self, request: Request) -> Response:
        """Return the page, or after a form the redirect to the merchant (303)."""
        _, kind, ref = request.path.split("/", 2)
        try:
            with self._desk.lock:
                if kind == "portal":
                    return _html(self._portal(ref))
                session = self._desk.world.session(ref)
                if request.method == "POST":
                    return self._submit(session, request)
                return _html(self._show(session))
        except ApiError as exc:
            text = f"<p>{escape(exc.message)}.</p><p><small>{escape(exc.code)}</small></p>"
            return _html(document("Checkout", text), exc.status)

    def _show(self, session: Session) -> str:
        world = self._desk.world
        checkout.usable(world, session)
        fixed = all(line.amount is not None for line in session.lines)
        currency, total = self._total(session)
        shown = spelled(total, currency) if fixed else f"Your own amount in {currency}"
        fields = (
            "" if session.customer_id else '<label>E-mail<input type="email" name="email" required></label>'
        )
        if not fixed:
            fields += f'<label>Amount ({currency})<input type="text" name="amount" inputmode="decimal" required></label>'
        cancel = f'<p><a href="{escape(session.cancel_url)}">Cancel</a></p>' if session.cancel_url else ""
        body = (
            f"<small>Sandbox checkout · no real money</small><h1>{escape(shown)}</h1>"
            f'<form method="post">{fields}'
            f'<label><input type="checkbox" name="save" value="1"> Save this card</label>'
            f'<button class="pay" name="card" value="{cards.GOOD}">Pay with 4242 4242 4242 4242</button>'
            '<button name="code" value="INSUFFICIENT_FUNDS">Decline (insufficient funds)</button>'
            '<button name="code" value="STOLEN_CARD">Decline (stolen card, hard)</button></form>'
            f"{cancel}"
        )
        return document(f"Pay {shown}", body)

    def _total(self, session: Session) -> tuple[str, int]:
        world = self._desk.world
        if session.payment_id is not None:
            quote = world.payment(session.payment_id).quote
            return quote.currency, quote.total
        if session.on_demand is not None and session.on_demand["mandate_only"]:
            return session.currency, 0
        quote = checkout.quote(world, session)
        return quote.currency, quote.total

    def _submit(self, session: Session, request: Request) -> Response:
        form = request.form
        card = (
            cards.declining_card(form["code"]) if form.get("code") else cards.find_card(form.get("card", ""))
        )
        email = form.get("email") or "payer@example.com"
        amount = _minor_units(form["amount"], session.currency) if form.get("amount") else None
        done = checkout.finish(
            self._desk.world, session, card, payer={"email": email}, amount=amount, save="save" in form
        )
        if session.return_url is None:
            return _html(document("Done", f"<h1>{escape(done.status)}</h1><p>You can close this page.</p>"))
        return redirect(self._back(session.return_url, done), code=303)

    def _back(self, return_url: str, done: checkout.Outcome) -> str:
        world, session = self._desk.world, done.session
        added = {"status": done.status, "email": world.customer(session.customer_id or "").email}
        if session.payment_id:
            added["payment_id"] = session.payment_id
        if session.subscription_id:
            added["subscription_id"] = session.subscription_id
        parts = urlsplit(return_url)
        return urlunsplit(parts._replace(query=urlencode(parse_qsl(parts.query) + list(added.items()))))

    def _portal(self, customer_id: str) -> str:
        customer = self._desk.world.customer(customer_id)
        saved = [entry for entry in self._desk.world.methods.values() if entry.customer_id == customer_id]
        rows = "".join(f"<li>Card ending in {entry.card.last_four}</li>" for entry in saved)
        return document(
            "Customer portal", f"<h1>{escape(customer.name)}</h1><ul>{rows or '<li>No cards</li>'}</ul>"
        )


def _html(page: str, status: int = 200) -> Response:
    return Response(page, status=status, mimetype="text/html")


def _minor_units(typed: str, currency: str) -> int:
    try:
        amount = Decimal(typed.strip()).scaleb(exponent(currency))
    except InvalidOperation:
        raise ApiError(422, "INVALID_AMOUNT", f"{typed} is not an amount") from None
    if not amount.is_finite() or amount != amount.to_integral_value() or amount <= 0:
        raise ApiError(422, "INVALID_AMOUNT", f"{typed} is not an amount of {currency}")
    return int(amount)
