"""``/pay/<token>``: the page an invoice can always be paid at.

For whoever holds the link: no sign-in, nothing of a provider's ids. GET only looks, so a link scanner begins nothing; POST
leads to the provider's checkout, or pays with a method the customer keeps (:mod:`.saved` says who may). What the provider
adds to the address on the way back is never taken as proof: the page waits until the webhook has said so.
"""

from __future__ import annotations

from typing import Final

import structlog
from flask import Blueprint, Response, jsonify, make_response, redirect, request, url_for

from billhook.errors import Conflict, NotFound, OutcomeUnknown, ProviderError, Refused
from billhook.methods import PagePayment, PageState
from billhook_web.db import DatabaseError
from billhook_web.pages import render, speak, words
from billhook_web.pages.method_words import decline_reason
from billhook_web.pay import troubles
from billhook_web.pay.page import LOOKS_AGAIN, PAYABLE, describe, look_of
from billhook_web.pay.saved import (
    ANOTHER,
    METHOD_FIELD,
    Payer,
    Visitors,
    Ways,
    click_of_form,
    payer_of,
    ways_to_pay,
)
from billhook_web.pay.troubles import RETRY_SECONDS, Trouble
from billhook_web.runtime import Runtime
from billhook_web.services.paying import PayView, needs_customer
from billhook_web.services.saved_payment import Choice, SavedPayment

__all__ = ["pay_blueprint"]

log = structlog.get_logger(__name__)

SHORTEST_TOKEN: Final = 24
"""Characters. Ours have 32; anything shorter is a guess and is not looked up."""

LARGEST_FORM: Final = 8 * 1024
"""Bytes a form may have."""


def pay_blueprint(runtime: Runtime, visitors: Visitors) -> Blueprint:
    """Return the pay page's routes."""
    blueprint = Blueprint("pay", __name__)
    desk = _Desk(runtime, visitors)

    @blueprint.get("/pay/<token>")
    def show(token: str) -> Response:
        view = desk.view(token)
        return _missing() if view is None else desk.show(view, token)

    @blueprint.post("/pay/<token>")
    def pay(token: str) -> Response:
        request.max_content_length = LARGEST_FORM
        view = desk.view(token)
        return _missing() if view is None else desk.pay(view, token)

    @blueprint.post("/pay/<token>/form")
    def form(token: str) -> Response:
        desk.view(token)  # from here on in the customer's words
        return desk.form(token)

    def unavailable(error: Exception) -> Response:
        log.warning("pay.unavailable", error=type(error).__name__)
        return _later(render("pay/unavailable.html"), 503)

    for kind in DatabaseError:
        blueprint.register_error_handler(kind, unavailable)

    @blueprint.after_request
    def keep_quiet(response: Response) -> Response:
        response.headers["Referrer-Policy"] = (
            "no-referrer"  # the address is all that is needed to see the page
        )
        return response

    return blueprint


class _Desk:
    """Answers for pay links."""

    def __init__(self, runtime: Runtime, visitors: Visitors) -> None:
        self._runtime = runtime
        self._visitors = visitors
        self._saved = SavedPayment(
            db=runtime.db,
            clock=runtime.clock,
            connections=runtime.connections,
            ask=runtime.breakers.ask,
            paying=runtime.paying,
        )
        self._local = runtime.configuration.host.public_url.startswith("http:")

    def view(self, token: str) -> PayView | None:
        """Return what the link shows, and speak to its customer from here on; None: there is no such link."""
        view = self._runtime.paying.view(token) if len(token) >= SHORTEST_TOKEN else None
        if view is not None and view.customer is not None:
            speak(view.customer.locale, view.customer.timezone)
        return view

    def show(
        self, view: PayView, token: str, trouble: Trouble | None = None, reason: str | None = None
    ) -> Response:
        """Return the page. ``reason``: why the bank said no just now."""
        if any("secret" in name for name in request.args):  # some providers send it back in the address
            return make_response(redirect(url_for("pay.show", token=token, status="returned"), 303))
        returned = trouble is None and "status" in request.args  # what it says is no proof, so it is not read
        page = describe(view, words(), now=self._runtime.clock.now(), returned=returned)
        payable = page.look in PAYABLE
        here = view.on_page if payable and (trouble is None or trouble.form) else None
        sources = {**here.kit.sources} if here else {}
        if payable:
            sources["form-action"] = ("https:", "http:") if self._local else ("https:",)
        return render(
            "pay/invoice.html",
            status=trouble.status if trouble else 200,
            sources=sources,
            page=page,
            token=token,
            here=here,
            saved=self._ways(view, token) if payable else Ways(),
            elsewhere=self._title(view),
            trouble=trouble,
            reason=page.reason if reason is None else reason,
            looks_again=page.look in LOOKS_AGAIN,
            at_once="confirm" in request.args,
        )

    def pay(self, view: PayView, token: str) -> Response:
        """Pay with the saved method that was chosen, or lead to where the customer pays."""
        chosen = request.form.get(METHOD_FIELD, "")
        if chosen in ("", ANOTHER):
            return self._lead_on(view, token, chosen)
        payer = payer_of(self._runtime, self._visitors, view)
        if payer is None or not payer.sent():
            log.warning("pay.foreign_form", invoice=str(view.invoice.ref))
            return self._with_trouble(token, troubles.FOREIGN_FORM)
        return self._pay_saved(view, token, payer, chosen)

    def form(self, token: str) -> Response:
        """Answer the page's script: how the payment stands, and the secret that opens it. It is in no page and no log."""
        try:
            found = self._runtime.paying.page_payment(token)
        except Refused:
            return _quiet(jsonify(state="canceled"), 409)
        except ProviderError as exc:
            log.warning("pay.provider_error", error=type(exc).__name__)
            return _later(_quiet(jsonify(state="busy"), 503), 503)
        if found.decline is not None:
            log.info("pay.declined", session=found.session, code=found.decline.code)
        method = found.method.id if found.method and needs_customer(found.decline) else None
        message = decline_reason(found.decline, words()) or None
        said = {"state": found.state, "method": method, "waits": found.waits, "message": message}
        return _quiet(jsonify(**said, clientSecret=found.client_secret), 200)

    def _ways(self, view: PayView, token: str) -> Ways:
        payer = payer_of(self._runtime, self._visitors, view)
        if payer is None:
            return Ways()
        return ways_to_pay(self._saved.offer(view), token, payer, words())

    def _title(self, view: PayView) -> str | None:
        """Return what people call the provider the invoice is paid at."""
        found = self._runtime.connections.get(view.payer) if view.payer else None
        return found.provider.info.title if found and found.provider else None

    def _pay_saved(self, view: PayView, token: str, payer: Payer, chosen: str) -> Response:
        choice = Choice(method=chosen, click=click_of_form(), actor=payer.actor)
        try:
            return self._went(self._saved.pay(token, choice), view, token)
        except (Refused, ProviderError) as exc:
            log.info("pay.saved_not_taken", invoice=str(view.invoice.ref), error=type(exc).__name__)
            after = self.view(token)
            if after is not None and not after.payable:  # paid, or under way: the page says how it stands
                return make_response(redirect(url_for("pay.show", token=token), 303))
            return self._with_trouble(token, _trouble_of(exc))

    def _went(self, found: PagePayment, view: PayView, token: str) -> Response:
        match found.state:
            case PageState.SUCCEEDED | PageState.PROCESSING:
                return make_response(redirect(url_for("pay.show", token=token, status="returned"), 303))
            case PageState.OPEN if found.waits:
                return make_response(redirect(url_for("pay.show", token=token, confirm="1"), 303))
            case PageState.OPEN:
                code = found.decline.code if found.decline else None
                log.info("pay.declined", invoice=str(view.invoice.ref), code=code)
                reason = decline_reason(found.decline, words())
                return self._with_trouble(token, troubles.DECLINED, reason)
            case PageState.CANCELED:  # called off meanwhile: the page shows what is so now
                return make_response(redirect(url_for("pay.show", token=token), 303))

    def _lead_on(self, view: PayView, token: str, chosen: str) -> Response:
        """Redirect to the checkout, or show why not."""
        invoice = str(view.invoice.ref)
        try:
            url = self._runtime.paying.checkout(token)
        except Refused as exc:
            log.info("pay.refused", invoice=invoice, error=type(exc).__name__)
            return self._with_trouble(token, troubles.REFUSED)
        except ProviderError as exc:
            log.warning("pay.provider_error", invoice=invoice, error=type(exc).__name__)
            return self._with_trouble(token, troubles.BUSY)
        if url is not None:
            log.info("pay.led_on", invoice=invoice)
            return make_response(redirect(_with(url, token, chosen), 303))
        after = self.view(token)
        if (
            after is not None and look_of(after, returned=False) in PAYABLE
        ):  # still to be paid, and nowhere to go
            return self._with_trouble(token, troubles.BUSY)
        return make_response(redirect(url_for("pay.show", token=token), 303))

    def _with_trouble(self, token: str, trouble: Trouble, reason: str = "") -> Response:
        view = self.view(token)
        if view is None:
            return _missing()
        response = self.show(view, token, trouble, reason)
        return _later(response, trouble.status) if trouble.later else response


def _with(url: str, token: str, chosen: str) -> str:
    """Return where to go on; our own page then shows the provider's fields, as they asked for."""
    here = url_for("pay.show", token=token)
    return f"{url}?with={ANOTHER}" if chosen == ANOTHER and url.endswith(here) else url


def _trouble_of(exc: Exception) -> Trouble:
    match exc:
        case NotFound():
            return troubles.GONE
        case Conflict(code="unusable"):
            return troubles.UNUSABLE
        case Conflict(code="over"):  # and yet it is still to be paid: somebody is opening it this very moment
            return troubles.NO_ANSWER
        case OutcomeUnknown():
            return troubles.UNCLEAR
        case ProviderError():
            return troubles.NO_ANSWER
        case _:
            return troubles.NOT_WITH_THIS


def _quiet(response: Response, status: int) -> Response:
    """Put the headers of an answer on that is for the page's script only."""
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _later(response: Response, status: int) -> Response:
    response.status_code = status
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _missing() -> Response:
    return render("pay/missing.html", status=404)
