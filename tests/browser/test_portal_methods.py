"""Adding, choosing and removing payment methods in a real browser, with the sandbox's stand-in for the provider's script.

Runs where there is a Chromium (`make browser`); skipped elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import chromium_path

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `make browser`")
if chromium_path() is None:
    pytest.skip("needs a Chromium", allow_module_level=True)

from tests.browser.portal_site import PortalSite, portal_site  # noqa: E402
from tests.browser.steps import answer_bank, fill_card, watched  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalSite]:
    with portal_site(tmp_path_factory.mktemp("portal")) as site:
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
    with watched(browser) as page:
        yield page


def enter(site: PortalSite, page: sync_api.Page, customer: str) -> None:
    page.goto(site.way_in(site.customer(customer)))
    page.get_by_role("heading", name="Payment methods", exact=True).wait_for()


def open_form(page: sync_api.Page) -> None:
    page.get_by_role("link", name="Add payment method").click()
    page.get_by_role("button", name="Save payment method").wait_for()


def fill(page: sync_api.Page, number: str, *, cvc: str = "123") -> None:
    fill_card(page, "#payment-form", number, cvc=cvc)


def save(page: sync_api.Page) -> None:
    page.get_by_role("button", name="Save payment method").click()


def saved(page: sync_api.Page, name: str) -> None:
    page.get_by_role("heading", name=f"{name} is saved").wait_for()


@pytest.mark.parametrize(
    ("number", "cvc", "name"),
    [
        ("4242 4242 4242 4242", "123", "Visa ending 4242"),
        ("3782 822463 10005", "1234", "American Express ending 0005"),
    ],
    ids=["visa", "amex"],
)
def test_a_card_is_added(site: PortalSite, page: sync_api.Page, number: str, cvc: str, name: str) -> None:
    customer = f"add_{cvc}"
    enter(site, page, customer)
    open_form(page)
    fill(page, number, cvc=cvc)
    save(page)
    saved(page, name)
    assert "secret" not in page.url
    page.get_by_role("link", name="See your payment methods").click()
    page.get_by_text(name).first.wait_for()
    assert site.kept(customer) == [(number[-4:], True)]


def test_a_bank_account_is_added(site: PortalSite, page: sync_api.Page) -> None:
    enter(site, page, "sepa")
    open_form(page)
    fields = page.frame_locator("#payment-form iframe")
    fields.get_by_label("SEPA debit").check()
    fields.get_by_label("IBAN").fill("DE89 3704 0044 0532 0130 00")
    fields.get_by_label("Name on the account").fill("Ada Byrne")
    save(page)
    saved(page, "SEPA debit ending 3000")


def test_an_empty_form_says_what_is_missing(site: PortalSite, page: sync_api.Page) -> None:
    enter(site, page, "empty")
    open_form(page)
    save(page)
    page.get_by_role("alert").get_by_text("incomplete").wait_for()
    assert site.kept("empty") == []


def test_a_declined_card_says_so_and_another_one_is_saved(site: PortalSite, page: sync_api.Page) -> None:
    enter(site, page, "declined")
    open_form(page)
    fill(page, "4000 0000 0000 0002")
    save(page)
    page.get_by_role("alert").get_by_text("Nothing was charged.").wait_for()
    assert site.kept("declined") == []
    fill(page, "4242 4242 4242 4242")
    save(page)
    saved(page, "Visa ending 4242")


def test_the_bank_s_question_is_answered(site: PortalSite, page: sync_api.Page) -> None:
    enter(site, page, "secure")
    open_form(page)
    fill(page, "4000 0027 6000 3184")
    save(page)
    answer_bank(page, "Fail")
    page.get_by_role("alert").get_by_text("Your bank couldn’t confirm that it’s you.").wait_for()
    assert site.kept("secure") == []
    save(page)
    answer_bank(page, "Complete")
    saved(page, "Visa ending 3184")


def test_a_question_that_was_left_can_be_gone_on_with(site: PortalSite, page: sync_api.Page) -> None:
    enter(site, page, "left")
    open_form(page)
    fill(page, "4000 0025 0000 3155")
    with page.expect_response(lambda response: "/begin/" in response.url) as begun:
        save(page)
    after = begun.value.json()["after"]
    page.frame_locator('iframe[name="stripe-challenge-frame"]').get_by_role("button").first.wait_for()
    page.goto(f"{site.url}{after}")
    page.get_by_role("heading", name="Your bank hasn’t confirmed it yet").wait_for()
    page.get_by_role("button", name="Go on with your bank").click()
    answer_bank(page, "Complete")
    saved(page, "Visa ending 3155")


def test_a_question_that_was_left_and_then_answered_with_no_leads_to_another_one(
    site: PortalSite, page: sync_api.Page
) -> None:
    enter(site, page, "left_no")
    open_form(page)
    fill(page, "4000 0025 0000 3155")
    with page.expect_response(lambda response: "/begin/" in response.url) as begun:
        save(page)
    page.frame_locator('iframe[name="stripe-challenge-frame"]').get_by_role("button").first.wait_for()
    page.goto(f"{site.url}{begun.value.json()['after']}")
    page.get_by_role("button", name="Go on with your bank").click()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("alert").get_by_text("Nothing was charged.").wait_for()
    page.get_by_role("button", name="Go on with your bank").click()
    answer_bank(page, "Fail")
    page.get_by_role("heading", name="It wasn’t saved").wait_for()
    page.get_by_text("Your bank couldn’t confirm that it’s you.").wait_for()
    page.get_by_role("link", name="Try another one").click()
    page.get_by_role("button", name="Save payment method").wait_for()
    assert site.kept("left_no") == []


def test_two_tabs_save_one_method(site: PortalSite, page: sync_api.Page) -> None:
    enter(site, page, "tabs")
    other = page.context.new_page()
    other.goto(f"{site.url}/portal/payment-methods/new")
    open_form(page)
    for each in (page, other):
        each.get_by_role("button", name="Save payment method").wait_for()
        fill(each, "4242 4242 4242 4242")
    save(page)
    saved(page, "Visa ending 4242")
    save(other)
    saved(other, "Visa ending 4242")
    assert site.kept("tabs") == [("4242", True)]


def test_the_same_card_added_again_is_kept_once(site: PortalSite, page: sync_api.Page) -> None:
    enter(site, page, "twice")
    for _ in range(2):
        page.goto(f"{site.url}/portal/payment-methods")
        open_form(page)
        fill(page, "4242 4242 4242 4242")
        save(page)
        saved(page, "Visa ending 4242")
    page.get_by_text("we kept only the new entry").wait_for()
    assert site.kept("twice") == [("4242", True)]


def test_another_default_and_then_removed_by_keyboard_alone(site: PortalSite, page: sync_api.Page) -> None:
    owner = site.owner(site.customer("keys"))
    first = site.sandbox.add_method(owner, card="4242424242424242")
    site.sandbox.set_default(owner, first["id"])
    site.sandbox.add_method(owner, card="5555555555554444")
    enter(site, page, "keys")
    page.get_by_text("make another one your default first").wait_for()
    page.get_by_role("button", name="Set as default").focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("We charge it first").wait_for()
    page.get_by_role("link", name="Remove").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove payment method").focus()
    page.keyboard.press("Enter")
    page.get_by_text("The payment method was removed").wait_for()
    assert site.kept("keys") == [("4444", True)]


def test_a_failed_invoice_is_tried_again_with_the_new_card(site: PortalSite, page: sync_api.Page) -> None:
    customer = site.customer("owes")
    owner = site.owner(customer)
    site.sandbox.add_method(owner, card="4000000000000341")
    invoice = site.bill(customer)
    site.work()
    enter(site, page, customer)
    page.get_by_text("We couldn’t collect €49.00").wait_for()
    open_form(page)
    page.get_by_text("We try it again at once").wait_for()
    fill(page, "4242 4242 4242 4242")
    save(page)
    page.get_by_text("We’re trying 1 unpaid invoice again").wait_for()
    page.reload()
    for _ in range(3):
        site.work()
    paid = [
        each for each in site.sandbox.charges if each["status"] == "succeeded" and each["customer"] == owner
    ]
    assert [each["amount"] for each in paid] == [4_900]
    assert invoice.id


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    site: PortalSite, browser: sync_api.Browser, scheme: str
) -> None:
    owner = site.owner(site.customer("phone"))
    site.sandbox.add_method(owner, card="4242424242424242")
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(site.way_in("phone"))
    for path in ("", "/new"):
        page.goto(f"{site.url}/portal/payment-methods{path}")
        page.get_by_role("heading").first.wait_for()
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    page.locator("#payment-form iframe").wait_for()
    shown_as = "getComputedStyle(document.querySelector('#payment-form iframe')).colorScheme"
    assert page.evaluate(shown_as) == "light", "or a frame that names no scheme is white in a dark page"
    context.close()
