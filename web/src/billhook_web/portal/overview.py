"""``/portal/``: how the account stands, what is to be paid, and where to do it."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, url_for

from billhook_web.pages import words
from billhook_web.pages.places import OVERVIEW
from billhook_web.portal import standing
from billhook_web.portal.visiting import show, visit
from billhook_web.runtime import Runtime


def add_overview(portal: Blueprint, runtime: Runtime) -> None:
    """Add the overview, and the way to an invoice's pay page."""

    @portal.get("/")
    def overview() -> Response:
        mine = visit().mine
        now = runtime.clock.now()
        debts = standing.in_order(standing.owed(invoice, now=now) for invoice in mine.owed())
        access = mine.access()
        banner = standing.banner(debts, access, words())
        return show(
            "portal/overview.html",
            place=OVERVIEW,
            debts=debts,
            banner=banner,
            access=standing.sentence(access, words(), told=banner),
        )

    @portal.get("/invoices/<ref>/pay")
    def pay_invoice(ref: str) -> Response:
        """Lead to the invoice's stable pay link: looking at it begins nothing."""
        return make_response(redirect(url_for("pay.show", token=visit().mine.pay_token(ref)), 303))
