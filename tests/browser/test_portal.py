"""The portal in a real browser: the way in with and without a script, keys, the policy, offline, no sideways scrolling.

Runs where there is a Chromium (`make browser`); skipped elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import chromium_path

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `make browser`")
if chromium_path() is None:
    pytest.skip("needs a Chromium", allow_module_level=True)

from tests.browser.portal_states import INVOICES, RETURN_URL, Portal, served  # noqa: E402

PATIENCE = 30_000  # milliseconds: the machine may be busy


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    folder: Path = tmp_path_factory.mktemp("portal")
    with served(folder) as portal:
        yield portal


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path())
        yield browser
        browser.close()


Open = Callable[..., "sync_api.Page"]


@pytest.fixture
def open_page(browser: sync_api.Browser) -> Iterator[Open]:
    """Open a page in a browser of its own; at the end nothing may have been refused or failed in it."""
    contexts, complaints = [], []

    def opened(**options: object) -> sync_api.Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [each for each in complaints if "status of 4" not in each] == []


def test_a_link_goes_in_by_itself(portal: Portal, open_page: Open) -> None:
    page = open_page()
    page.goto(portal.link("past_due"))
    page.get_by_role("heading", name="Overview", exact=True).wait_for()
    assert page.url == f"{portal.url}/portal/"


def test_without_a_script_there_is_a_button(portal: Portal, open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(portal.link("past_due"))
    page.get_by_role("button", name="Open billing").click()
    page.get_by_role("heading", name="Overview", exact=True).wait_for()
    page.get_by_role("link", name="Pay €1,248.00").click()
    page.get_by_text("INV-2026-0113").first.wait_for()
    assert "/pay/" in page.url


def test_the_menu_is_reached_by_keys_and_leads_out(portal: Portal, open_page: Open) -> None:
    page = open_page()
    page.goto(portal.link("clear"))
    page.get_by_role("heading", name="Overview", exact=True).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    menu = page.get_by_role("button", name="Account menu")
    for _ in range(12):
        if menu.evaluate("each => each === document.activeElement"):
            break
        page.keyboard.press("Tab")
    assert "solid" in page.evaluate("getComputedStyle(document.activeElement).outline")
    page.keyboard.press("Enter")
    back = page.get_by_role("link", name="Back to Northwind")
    back.wait_for()
    assert back.get_attribute("href") == RETURN_URL
    page.keyboard.press("Escape")
    back.wait_for(state="hidden")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="You’re signed out").wait_for()
    page.go_back()
    page.get_by_role("heading", name="You’re signed out").wait_for()


def test_a_page_says_that_it_is_offline(portal: Portal, open_page: Open) -> None:
    page = open_page()
    page.goto(portal.link("clear"))
    page.get_by_role("heading", name="Overview", exact=True).wait_for()
    banner = page.get_by_text("You’re offline")
    assert banner.is_hidden()
    page.context.set_offline(True)
    banner.wait_for()
    page.context.set_offline(False)
    banner.wait_for(state="hidden")


def test_a_session_that_ended_in_another_tab_is_told_and_pays_nothing(
    portal: Portal, open_page: Open
) -> None:
    page = open_page()
    page.goto(portal.link("past_due"))
    page.get_by_role("heading", name="Overview", exact=True).wait_for()
    other = page.context.new_page()
    other.goto(f"{portal.url}/portal/")
    other.get_by_role("button", name="Account menu").click()
    other.get_by_role("button", name="Sign out").click()
    other.get_by_role("heading", name="You’re signed out").wait_for()
    page.get_by_role("link", name="Pay €1,248.00").click()
    page.get_by_role("heading", name="You’re signed out").wait_for()
    assert page.get_by_text("open your billing pages again from the app you came from").is_visible()
    assert "/pay/" not in page.url
    assert [each["name"] for each in page.context.cookies() if each["name"].endswith("billhook_portal")] == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_scrolls_sideways(portal: Portal, open_page: Open, width: int) -> None:
    for customer in INVOICES:
        page = open_page(viewport={"width": width, "height": 700})
        page.goto(portal.link(customer))
        page.wait_for_url("**/portal/")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, customer
