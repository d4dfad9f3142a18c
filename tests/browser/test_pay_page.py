"""The pay page in a real browser: its policy lets people pay, keys reach everything, it changes without a reload.

Runs where there is a Chromium (`make browser`); skipped elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import chromium_path

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `make browser`")
if chromium_path() is None:
    pytest.skip("needs a Chromium", allow_module_level=True)

from tests.browser.pay_states import STATES, Site, served  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("pay")
    with served(folder) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path())
        yield browser
        browser.close()


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
def page(request: pytest.FixtureRequest, browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    context = browser.new_context(java_script_enabled=request.param)
    yield context.new_page()
    context.close()


def test_a_click_reaches_a_checkout_on_another_origin(page: sync_api.Page, site: Site) -> None:
    """Chromium applies form-action to the redirect too: a policy of 'self' alone would strand the customer here."""
    page.goto(site.page("open"))
    page.get_by_role("button").click()
    page.get_by_role("heading", name="Checkout").wait_for()
    assert page.url == site.checkout_url


def test_a_double_click_reaches_the_checkout(page: sync_api.Page, site: Site) -> None:
    page.goto(site.page("failed"))
    page.get_by_role("button").dblclick()
    page.get_by_role("heading", name="Checkout").wait_for()


def test_what_is_focused_is_seen(browser: sync_api.Browser, site: Site) -> None:
    page = browser.new_page()
    page.goto(site.page("open"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outline")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    assert "solid" in outline
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Checkout").wait_for()
    page.close()


def test_a_waiting_page_shows_the_payment_once_it_is_confirmed(browser: sync_api.Browser, site: Site) -> None:
    page = browser.new_page()
    page.goto(site.page("void", "?status=succeeded"))
    page.get_by_role("heading", name="nothing to pay").wait_for()
    site.become("void", "open")
    page.reload()
    page.get_by_role("heading", name="waiting").wait_for()
    page.get_by_text("This page looks again by itself.").wait_for()
    site.become("void", "paid")
    page.get_by_role("heading", name="Paid, thank you").wait_for()
    assert page.title().startswith("Paid")
    site.become("void", "void")
    page.close()


def test_a_waiting_page_can_be_asked_again_without_a_script(browser: sync_api.Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.page("processing"))
    page.get_by_role("link", name="Check again").click()
    page.get_by_role("heading", name="on its way").wait_for()
    context.close()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_scrolls_sideways_or_is_refused_anything(
    browser: sync_api.Browser, site: Site, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 700})
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    for state in STATES:
        page.goto(site.page(state))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, state
    assert complaints == []
    context.close()
