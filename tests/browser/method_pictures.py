"""Payment methods and paying on our own page, as pictures: what is kept, adding, removing, and how each may end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from playwright.sync_api import Page

from billhook_web.services.wallet import Wish
from tests.browser.portal_site import PortalSite

LIST = "/portal/payment-methods"


def prepare(site: PortalSite) -> None:
    """Let there be somebody with several methods, somebody with none, and somebody who owes."""
    owner = site.owner(site.customer("pictured"))
    default = site.sandbox.add_method(owner, card="4242424242424242")
    site.sandbox.set_default(owner, default["id"])
    site.sandbox.add_method(owner, card="5555555555554444")
    old = site.sandbox.add_method(owner, card="378282246310005")
    site.sandbox.update_card(old["id"], year=2020, month=1)
    site.customer("nobody")
    owes = site.owner(site.customer("pictured_debt"))
    site.sandbox.add_method(owes, card="4000000000000341")
    site.bill("pictured_debt")
    site.work()


def _entered(page: Page, site: PortalSite, customer: str) -> None:
    page.goto(site.way_in(customer))
    page.get_by_role("heading", name="Payment methods", exact=True).wait_for()


def _several(page: Page, site: PortalSite) -> None:
    _entered(page, site, "pictured")


def _empty(page: Page, site: PortalSite) -> None:
    _entered(page, site, "nobody")


def _german(page: Page, site: PortalSite) -> None:
    page.set_extra_http_headers({"Accept-Language": "de"})
    page.goto(site.way_in("pictured"))
    page.get_by_role("heading", name="Zahlungsarten", exact=True).wait_for()


def _dialog(page: Page, site: PortalSite) -> None:
    _entered(page, site, "pictured")
    page.get_by_role("link", name="Remove").first.click()
    page.get_by_role("dialog").get_by_role("button").wait_for()


def _stays(page: Page, site: PortalSite) -> None:
    _entered(page, site, "pictured")
    default = site.runtime.methods.wallet("pictured").held[0].ref
    page.goto(f"{site.url}{LIST}/{default}/remove")


def _adding(page: Page, site: PortalSite) -> None:
    _entered(page, site, "pictured_debt")
    page.goto(f"{site.url}{LIST}/new")
    page.get_by_role("button", name="Save payment method").wait_for()


def _declined(page: Page, site: PortalSite) -> None:
    _entered(page, site, "nobody")
    page.goto(f"{site.url}{LIST}/new")
    fields = page.frame_locator("#payment-form iframe")
    fields.get_by_label("Card number").fill("4000000000000002")
    fields.get_by_label("Expiry (MM / YY)").fill("08 / 31")
    fields.get_by_label("CVC").fill("123")
    page.get_by_role("button", name="Save payment method").click()
    page.get_by_role("alert").wait_for()


def _waits(page: Page, site: PortalSite) -> None:
    _entered(page, site, "pictured")
    begun = site.runtime.methods.begin("pictured", "stripe", form="pictured", wish=Wish())
    page.goto(f"{site.url}{LIST}/added/stripe/{begun.id}?default=1")
    page.get_by_role("button", name="Go on with your bank").wait_for()


def _pay_here(page: Page, site: PortalSite) -> None:
    invoice = site.bill(site.customer("pictured_payer"))
    page.goto(site.pay_url(invoice))
    page.locator("[data-pay]").wait_for()


def _pay_saved(page: Page, site: PortalSite) -> None:
    customer = site.customer(f"pictured_debtor_{len(site.sandbox.intents)}")
    invoice = site.bill(customer)
    owner = site.owner(customer)
    for card in ("4242424242424242", "4000000000000341", "DE89370400440532013000"):
        site.sandbox.add_method(owner, card=card)
    _entered(page, site, customer)
    page.goto(site.pay_url(invoice))
    page.get_by_role("radio", name="Visa").first.wait_for()


def _pay_saved_declined(page: Page, site: PortalSite) -> None:
    _pay_saved(page, site)
    page.get_by_role("radio", name="0341").check()
    page.locator("#begin > .btn").click()
    page.get_by_role("alert").first.wait_for()


PICTURES: Mapping[str, Callable[[Page, PortalSite], None]] = {
    "methods": _several,
    "methods-empty": _empty,
    "methods-german": _german,
    "methods-remove": _dialog,
    "methods-stays": _stays,
    "methods-add": _adding,
    "methods-declined": _declined,
    "methods-waits": _waits,
    "pay-here": _pay_here,
    "pay-saved": _pay_saved,
    "pay-saved-declined": _pay_saved_declined,
}
