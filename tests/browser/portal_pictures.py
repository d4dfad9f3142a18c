"""The portal's pages as pictures: how an account may stand, the way in and out, and everything that may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from playwright.sync_api import Page

from tests.browser.portal_states import INVOICES, Portal


def overview(page: Page, portal: Portal, customer: str) -> None:
    page.goto(portal.link(customer))
    page.wait_for_url("**/portal/")


def _menu(page: Page, portal: Portal) -> None:
    overview(page, portal, "open")
    page.get_by_role("button", name="Account menu").click()


def _offline(page: Page, portal: Portal) -> None:
    overview(page, portal, "open")
    page.context.set_offline(True)
    page.get_by_text("You’re offline").wait_for()


def _enter(page: Page, portal: Portal) -> None:
    page.route("**/portal.js", lambda route: route.abort())
    page.goto(portal.link("open"))


def _expired(page: Page, portal: Portal) -> None:
    link = portal.link("open")
    portal.clock.advance(timedelta(minutes=6))
    page.goto(link)


def _session_over(page: Page, portal: Portal) -> None:
    overview(page, portal, "open")
    portal.clock.advance(timedelta(minutes=31))
    page.reload()


def _signed_out(page: Page, portal: Portal) -> None:
    _menu(page, portal)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="You’re signed out").wait_for()


def _missing(page: Page, portal: Portal) -> None:
    overview(page, portal, "open")
    page.goto(f"{portal.url}/portal/nothing")


def _foreign_form(page: Page, portal: Portal) -> None:
    _menu(page, portal)
    page.evaluate("document.querySelector('[name=csrf_token]').value = 'x'")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="We didn’t take that").wait_for()


def _standing(customer: str) -> Callable[[Page, Portal], None]:
    return lambda page, portal: overview(page, portal, customer)


PICTURES: Mapping[str, Callable[[Page, Portal], None]] = {
    **{f"portal-{name.replace('_', '-')}": _standing(name) for name in INVOICES},
    "portal-menu": _menu,
    "portal-offline": _offline,
    "portal-enter": _enter,
    "portal-link-expired": _expired,
    "portal-session-over": _session_over,
    "portal-signed-out": _signed_out,
    "portal-not-found": _missing,
    "portal-foreign-form": _foreign_form,
    "portal-provider-down": _standing("down"),
    "portal-our-fault": _standing("bug"),
}
"""By the name of the picture: what shows the page."""
