"""Paying an invoice on our own page in a real browser, with the sandbox's stand-in for the provider's script.

Runs where `uv sync --group e2e` was done and there is a Chromium; skipped elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import chromium_path

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the group e2e")
if chromium_path() is None:
    pytest.skip("needs a Chromium", allow_module_level=True)

from tests.browser.portal_site import PortalSite, portal_site  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalSite]:
    with portal_site(tmp_path_factory.mktemp("pay_here")) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    """A page; a refused source or an error in the console fails its test."""
    context = browser.new_context()
    context.set_default_timeout(45_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert [text for text in problems if "status of 402" not in text and "favicon" not in text] == []


def opened(site: PortalSite, page: sync_api.Page, customer: str) -> str:
    invoice = site.bill(site.customer(customer))
    url = site.pay_url(invoice)
    page.goto(url)
    page.locator("[data-pay]").wait_for()
    assert not page.get_by_role("alert").is_visible()
    return url


def pay(page: sync_api.Page, number: str) -> None:
    fields = page.frame_locator("#here iframe")
    fields.get_by_label("Card number").fill(number)
    fields.get_by_label("Expiry (MM / YY)").fill("08 / 31")
    fields.get_by_label("CVC").fill("123")
    page.locator("[data-pay]").click()


def answer(page: sync_api.Page, word: str) -> None:
    page.frame_locator('iframe[name="stripe-challenge-frame"]').get_by_role("button", name=word).click()


def until(site: PortalSite, page: sync_api.Page, url: str, heading: str) -> None:
    """Let the host hear what happened, and look at the page."""
    page.get_by_role("heading", name="waiting").or_(page.get_by_role("heading", name=heading)).wait_for()
    for _ in range(3):
        site.work()
    page.goto(url)
    page.get_by_role("heading", name=heading).wait_for()


def test_a_card_pays(site: PortalSite, page: sync_api.Page) -> None:
    url = opened(site, page, "pays")
    assert not page.get_by_role("button", name="with your bank").is_visible()
    pay(page, "4242 4242 4242 4242")
    until(site, page, url, "Paid, thank you")
    assert [each["amount"] for each in site.sandbox.charges if each["status"] == "succeeded"] == [4_900]


def test_a_declined_card_says_so_and_another_pays_once(site: PortalSite, page: sync_api.Page) -> None:
    url = opened(site, page, "declined")
    pay(page, "4000 0000 0000 0002")
    page.get_by_role("alert").get_by_text("declined").wait_for()
    pay(page, "5555 5555 5555 4444")
    until(site, page, url, "Paid, thank you")


def test_the_bank_s_question_is_answered(site: PortalSite, page: sync_api.Page) -> None:
    url = opened(site, page, "secure")
    pay(page, "4000 0027 6000 3184")
    answer(page, "Fail")
    page.get_by_role("alert").wait_for()
    page.locator("[data-pay]").click()
    answer(page, "Complete")
    until(site, page, url, "Paid, thank you")


def test_a_bank_debit_is_on_its_way_and_may_still_fail(site: PortalSite, page: sync_api.Page) -> None:
    url = opened(site, page, "debit")
    fields = page.frame_locator("#here iframe")
    fields.get_by_label("SEPA debit").check()
    fields.get_by_label("IBAN").fill("DE62 3704 0044 0532 0130 01")
    fields.get_by_label("Name on the account").fill("Ada Byrne")
    page.locator("[data-pay]").click()
    until(site, page, url, "Your payment is on its way")
    site.sandbox.tick()
    site.work()
    page.goto(url)
    page.get_by_text("The payment was declined").wait_for()


def test_a_saved_card_is_confirmed_with_the_bank(site: PortalSite, page: sync_api.Page) -> None:
    customer = site.customer("confirms")
    method = site.sandbox.add_method(site.owner(customer), card="4000002760003184")
    assert method["id"]
    url = opened(site, page, customer)
    page.get_by_role("button", name="with your bank").click()
    answer(page, "Complete")
    until(site, page, url, "Paid, thank you")
