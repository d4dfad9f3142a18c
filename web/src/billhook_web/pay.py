"""``/pay/<token>``: the page an invoice can always be paid at.

Plain HTML for whoever holds the link: no sign-in, no cookie, nothing of a provider. GET only looks, so a link scanner
begins nothing; POST leads to the provider's checkout. What the provider adds to the address on the way back is never
taken as proof: the page waits until the webhook has said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog
from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for

from billhook.errors import ProviderError, Refused
from billhook.model import Invoice, InvoiceStatus, Period
from billhook.money import Money
from billhook_web.db import DatabaseError
from billhook_web.pages.headers import policy
from billhook_web.runtime import Runtime
from billhook_web.services.paying import PayState, PayView, needs_customer, words_of

log = structlog.get_logger(__name__)

SHORTEST_TOKEN: Final = 24
"""Characters. Ours have 32; anything shorter is a guess and is not looked up."""

RETRY_SECONDS: Final = 10

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_KINDS: Final = {
    "one_off": "One-off charge",
    "add_on": "Add-on",
    "credit": "Prepaid credit",
    "advance_charges": "Usage charges",
    "progressive_billing": "Usage so far",
    "unknown": "",
}
"""Words for the kinds of invoice billing engines have; any other is shown as it is written."""


class Look(StrEnum):
    """Which face the page has. The first two can be paid."""

    OPEN = "open"
    FAILED = "failed"
    WAITING = "waiting"  # the customer is back from the checkout, and nothing is confirmed
    PROCESSING = "processing"
    PAID = "paid"
    VOID = "void"
    DRAFT = "draft"
    SETTLED = "settled"  # nothing was ever due


PAYABLE: Final = frozenset({Look.OPEN, Look.FAILED})
LOOKS_AGAIN: Final = frozenset({Look.WAITING, Look.PROCESSING})


class Trouble(StrEnum):
    """Why a click did not lead to the checkout."""

    BUSY = "busy"  # the provider does not answer; worth another try
    REFUSED = "refused"  # it cannot be paid here; somebody has to look into it


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All the page says, as text ready to show. ``sums`` are the steps from the total to what is due; none when equal."""

    look: Look
    amount: str
    number: str | None
    facts: tuple[tuple[str, str], ...]
    sums: tuple[tuple[str, str], ...]
    reason: str | None
    paid_on: str | None
    overdue: bool
    reopened: bool
    looked_at: str
    trouble: Trouble | None = None


def pay_blueprint(runtime: Runtime) -> Blueprint:
    """Return the pay page's routes."""
    blueprint = Blueprint("pay", __name__)

    @blueprint.get("/pay/<token>")
    def show(token: str) -> Response:
        view = _view(runtime, token)
        return _missing() if view is None else _show(runtime, view, token)

    @blueprint.post("/pay/<token>")
    def pay(token: str) -> Response:
        view = _view(runtime, token)
        return _missing() if view is None else _lead_on(runtime, view, token)

    @blueprint.post("/pay/<token>/form")
    def form(token: str) -> Response:
        return _form(runtime, token)

    def unavailable(error: Exception) -> Response:
        log.warning("pay.unavailable", error=type(error).__name__)
        return _later(make_response(render_template("pay/unavailable.html"), 503))

    for kind in DatabaseError:
        blueprint.register_error_handler(kind, unavailable)

    @blueprint.after_request
    def protect(response: Response) -> Response:
        return _protect(response, local=runtime.configuration.host.public_url.startswith("http:"))

    return blueprint


def describe(view: PayView, *, now: datetime, returned: bool, trouble: Trouble | None = None) -> Page:
    """Say what the page shows. ``returned``: the provider's checkout sent the customer back here, paid or not."""
    invoice = view.invoice
    look = _look(view, returned=returned)
    owed = invoice.paid or invoice.due if look is Look.PAID else invoice.balance or invoice.due
    overdue = invoice.balance > 0 and invoice.due_on is not None and invoice.due_on < now.date()
    return Page(
        look=look,
        amount=money(owed, invoice.currency),
        number=invoice.number,
        facts=tuple(_facts(invoice, overdue=overdue)),
        sums=tuple(_sums(invoice)) if look in PAYABLE else (),
        reason=view.reason,
        paid_on=day(view.paid_at.date()) if view.paid_at else None,
        overdue=overdue,
        reopened=invoice.disputed and invoice.balance > 0,
        looked_at=f"{day(now.date())}, {now.astimezone(UTC):%H:%M} UTC",
        trouble=trouble,
    )


def money(minor: int, currency: str) -> str:
    """Write an amount for people: ``EUR 1,234.50``, with a space that does not break."""
    digits, _, code = str(Money(abs(minor), currency)).partition(" ")
    whole, point, fraction = digits.partition(".")
    sign = "\N{MINUS SIGN}" if minor < 0 else ""
    return f"{sign}{code}\N{NO-BREAK SPACE}{int(whole):,}{point}{fraction}"


def day(value: date) -> str:
    """Write a date for people, whatever the machine's language: ``8 Nov 2026``."""
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def days(period: Period) -> str:
    """Write a period with its last day, which the half-open end is not: 1 to 30 Nov 2026."""
    first, last = period.start.date(), (period.end - timedelta(microseconds=1)).date()
    if first == last:
        return day(last)
    parts = day(first).split()
    same = [a == b for a, b in zip(parts, day(last).split(), strict=True)]
    shown = parts[:1] if same[1] and same[2] else parts[:2] if same[2] else parts
    return f"{' '.join(shown)} \N{EN DASH} {day(last)}"


def _look(view: PayView, *, returned: bool) -> Look:
    match view.state:
        case PayState.OPEN if view.invoice.status is InvoiceStatus.DRAFT:
            return Look.DRAFT
        case PayState.OPEN:
            return Look.WAITING if returned else Look.OPEN
        case PayState.FAILED:  # an earlier failure says nothing about the try the customer comes back from
            return Look.WAITING if returned and view.awaits else Look.FAILED
        case PayState.PAID if view.invoice.due == 0:
            return Look.SETTLED
        case _:
            return Look(view.state.value)


def _facts(invoice: Invoice, *, overdue: bool) -> list[tuple[str, str]]:
    rows = [
        ("Invoice", invoice.number),
        ("For", _purpose(invoice)),
        ("Period", days(invoice.period) if invoice.period else None),
        ("Issued", day(invoice.issued_on) if invoice.issued_on else None),
        ("Due since" if overdue else "Due", day(invoice.due_on) if invoice.due_on else None),
    ]
    return [(label, value) for label, value in rows if value]


def _purpose(invoice: Invoice) -> str:
    """Say what the invoice is for. Subscriptions are counted: their ids are for machines."""
    if invoice.kind == "subscription":
        count = len(invoice.subscriptions)
        return f"{count} subscriptions" if count > 1 else "Subscription"
    return _KINDS.get(invoice.kind, invoice.kind.replace("_", " ").capitalize())


def _sums(invoice: Invoice) -> list[tuple[str, str]]:
    """Lead from the document's total to what is open."""
    if invoice.total == invoice.balance:
        return []
    steps = [("Credit", invoice.due - invoice.total), ("Paid so far", -invoice.paid)]
    return [
        ("Invoice total", money(invoice.total, invoice.currency)),
        *((label, money(minor, invoice.currency)) for label, minor in steps if minor),
        ("Still open", money(invoice.balance, invoice.currency)),
    ]


def _view(runtime: Runtime, token: str) -> PayView | None:
    return runtime.paying.view(token) if len(token) >= SHORTEST_TOKEN else None


def _show(runtime: Runtime, view: PayView, token: str, trouble: Trouble | None = None) -> Response:
    if any("secret" in name for name in request.args):  # some providers send it back in the address
        return make_response(redirect(url_for("pay.show", token=token, status="returned"), 303))
    returned = trouble is None and "status" in request.args  # what it says is no proof, so it is not read
    page = describe(view, now=runtime.clock.now(), returned=returned, trouble=trouble)
    here = view.on_page if page.look in PAYABLE and trouble is None else None
    sum_here = money(here.amount.minor, here.amount.currency) if here else None
    about = {"page": page, "token": token, "here": here, "sum_here": sum_here}
    response = make_response(render_template("pay/invoice.html", **about))
    if here is not None:
        response.headers["Content-Security-Policy"] = policy(here.kit.sources)
    if page.look in LOOKS_AGAIN:
        response.content_security_policy.script_src = response.content_security_policy.connect_src = "'self'"
    return response


def _form(runtime: Runtime, token: str) -> Response:
    """Answer the page's script: how the payment stands, and the secret that opens it. It is in no page and no log."""
    try:
        found = runtime.paying.page_payment(token)
    except Refused:
        return make_response(jsonify(state="canceled"), 409)
    except ProviderError as exc:
        log.warning("pay.provider_error", error=type(exc).__name__)
        return _later(make_response(jsonify(state="busy")))
    if found.decline is not None:
        log.info("pay.declined", session=found.session, code=found.decline.code)
    method = found.method.id if found.method and needs_customer(found.decline) else None
    said = {"state": found.state, "method": method, "message": words_of(found.decline)}
    return make_response(jsonify(**said, clientSecret=found.client_secret))


def _lead_on(runtime: Runtime, view: PayView, token: str) -> Response:
    """Redirect to the checkout, or show why not."""
    invoice = str(view.invoice.ref)
    try:
        url = runtime.paying.checkout(token)
    except Refused as exc:
        log.info("pay.refused", invoice=invoice, error=type(exc).__name__)
        return _with_trouble(runtime, token, Trouble.REFUSED)
    except ProviderError as exc:
        log.warning("pay.provider_error", invoice=invoice, error=type(exc).__name__)
        return _with_trouble(runtime, token, Trouble.BUSY)
    if url is not None:
        log.info("pay.led_on", invoice=invoice)
        return make_response(redirect(url, 303))
    after = _view(runtime, token)
    if after is not None and _look(after, returned=False) in PAYABLE:  # still to be paid, and nowhere to go
        return _with_trouble(runtime, token, Trouble.BUSY)
    return make_response(redirect(url_for("pay.show", token=token), 303))


def _with_trouble(runtime: Runtime, token: str, trouble: Trouble) -> Response:
    view = _view(runtime, token)
    if view is None:
        return _missing()
    response = _show(runtime, view, token, trouble)
    if trouble is Trouble.BUSY:
        return _later(response)
    response.status_code = 409
    return response


def _later(response: Response) -> Response:
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _missing() -> Response:
    return make_response(render_template("pay/missing.html"), 404)


def _protect(response: Response, *, local: bool) -> Response:
    """Add the headers of a page that holds nothing but its own text, style and one form.

    Browsers on Chromium's engine apply ``form-action`` to the redirect after the form too, and where a checkout lives
    is only known after the click: so any https address is allowed, and http where this host itself is only http.
    """
    policy = response.content_security_policy
    policy.default_src = policy.base_uri = policy.frame_ancestors = "'none'"
    policy.style_src = policy.img_src = "'self'"
    policy.form_action = "'self' https: http:" if local else "'self' https:"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response
