"""Login by mail in a real browser: the form, the mail on loopback, the link, and the portal behind it.

Runs where there is a Chromium (`make browser`); skipped elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import chromium_path

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `make browser`")
if chromium_path() is None:
    pytest.skip("needs a Chromium", allow_module_level=True)

from tests.browser.login_site import LoginSite, login_site  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginSite]:
    with login_site(tmp_path_factory.mktemp("login")) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    """A page in a browser of its own; a refused source or an error in the console fails its test."""
    context = browser.new_context()
    context.set_default_timeout(45_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert [text for text in problems if "favicon" not in text and "status of 401" not in text] == []


def ask(site: LoginSite, page: sync_api.Page, address: str) -> None:
    page.goto(f"{site.url}/portal/login")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_role("button", name="Send me a link").click()
    page.get_by_role("heading", name="Look into your mail").wait_for()


def test_a_customer_who_is_turned_away_gets_in_by_mail(site: LoginSite, page: sync_api.Page) -> None:
    address = site.customer("ada", name="Ada Byrne")
    page.goto(f"{site.url}/portal/")
    page.get_by_role("link", name="Send me a new link").click()
    page.get_by_label("E-mail address").fill(address)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Look into your mail").wait_for()
    (link,) = site.links_to(address)
    page.goto(link)
    page.get_by_role("heading", name="Overview").wait_for()
    page.locator("#main").get_by_text("Ada Byrne", exact=True).wait_for()
    assert page.url == f"{site.url}/portal/"


def test_a_stranger_reads_the_same(site: LoginSite, page: sync_api.Page) -> None:
    ask(site, page, site.customer("eve"))
    known = page.inner_text("main")
    ask(site, page, "stranger@acme.test")
    assert page.inner_text("main") == known
    assert site.links_to("stranger@acme.test") == []


def test_the_form_works_without_scripts(site: LoginSite, browser: sync_api.Browser) -> None:
    address = site.customer("bee", name="Bee")
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(45_000)
    page = context.new_page()
    ask(site, page, address)
    page.goto(site.links_to(address)[0])
    page.get_by_role("button", name="Open billing").click()
    page.get_by_role("heading", name="Overview").wait_for()
    assert page.url == f"{site.url}/portal/"
    context.close()
