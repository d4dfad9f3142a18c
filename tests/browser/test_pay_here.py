"""Paying an invoice on our own page in a real browser, with the sandbox's stand-in for the provider's script.

Runs where there is a Chromium (`make browser`); skipped elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import axe_path, chromium_path

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `make browser`")
if chromium_path() is None:
    pytest.skip("needs a Chromium", allow_module_level=True)

from tests.browser.portal_site import PortalSite, portal_site  # noqa: E402
from tests.browser.steps import answer_bank, faults, fill_card, watched  # noqa: E402

GOOD, OTHER = "4242424242424242", "5555555555554444"
ASKS, POOR = "4000002760003184", "4000000000000341"
DEBIT = "DE89370400440532013000"
PAID = "Paid, thank you"


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
    with watched(browser) as page:
        yield page


def opened(site: PortalSite, page: sync_api.Page, customer: str) -> str:
    """Open the pay page of a new invoice, with nothing but its link."""
    url = site.pay_url(site.bill(site.customer(customer)))
    page.goto(url)
    page.locator("[data-pay]").wait_for()
    assert not page.get_by_role("alert").is_visible()
    return url


def owes(site: PortalSite, customer: str, *cards: str, **about: object) -> str:
    """Let somebody owe an invoice, and keep cards since; return the invoice's pay link."""
    invoice = site.bill(site.customer(customer, **about))
    owner = site.owner(customer)
    for card in cards:
        site.sandbox.add_method(owner, card=card)
    return site.pay_url(invoice)


def come_in(site: PortalSite, page: sync_api.Page, customer: str, url: str) -> None:
    """Sign in to the portal, and open a pay page."""
    page.goto(site.way_in(customer))
    page.wait_for_url("**/portal/payment-methods")
    page.goto(url)
    page.locator("#begin").wait_for()


def choose(page: sync_api.Page, name: str) -> None:
    page.get_by_role("radio", name=name).check()


def press_pay(page: sync_api.Page) -> None:
    page.locator("#begin > .btn").click()


def pay_with(page: sync_api.Page, number: str) -> None:
    fill_card(page, "#here", number)
    page.locator("[data-pay]").click()


def until(site: PortalSite, page: sync_api.Page, url: str, heading: str) -> None:
    """Let the host hear what happened, and look at the page."""
    on_its_way = page.get_by_role("heading", name="waiting").or_(
        page.get_by_role("heading", name="on its way")
    )
    on_its_way.or_(page.get_by_role("heading", name=heading)).wait_for()
    for _ in range(3):
        site.work()
    page.goto(url)
    page.get_by_role("heading", name=heading).wait_for()


def taken(site: PortalSite, customer: str) -> list[int]:
    """Return what the provider took of a customer."""
    owner = site.owner(customer)
    charges = [each for each in site.sandbox.charges if each["customer"] == owner]
    return [each["amount"] for each in charges if each["status"] == "succeeded"]


# --- with the provider's fields -----------------------------------------------------------------------------------


def test_a_card_pays(site: PortalSite, page: sync_api.Page) -> None:
    url = opened(site, page, "pays")
    assert not page.get_by_role("button", name="with your bank").is_visible()
    pay_with(page, GOOD)
    until(site, page, url, PAID)
    assert taken(site, "pays") == [4_900]


def test_a_declined_card_says_so_and_another_pays_once(site: PortalSite, page: sync_api.Page) -> None:
    url = opened(site, page, "declined")
    pay_with(page, "4000 0000 0000 0002")
    page.get_by_role("alert").get_by_text("declined").wait_for()
    assert taken(site, "declined") == []
    pay_with(page, OTHER)
    until(site, page, url, PAID)
    assert taken(site, "declined") == [4_900]


def test_the_bank_s_question_is_answered(site: PortalSite, page: sync_api.Page) -> None:
    url = opened(site, page, "secure")
    pay_with(page, ASKS)
    answer_bank(page, "Fail")
    page.get_by_role("alert").get_by_text("couldn’t confirm that it’s you").wait_for()
    assert taken(site, "secure") == []
    page.locator("[data-pay]").click()
    answer_bank(page, "Complete")
    until(site, page, url, PAID)
    assert taken(site, "secure") == [4_900]


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
    page.get_by_role("region", name="The payment was declined").wait_for()
    assert taken(site, "debit") == []
    assert page.get_by_role("button", name="Try again").is_visible()


def test_a_saved_card_that_could_not_be_charged_alone_is_confirmed_with_the_bank(
    site: PortalSite, page: sync_api.Page
) -> None:
    customer = site.customer("confirms")
    site.sandbox.add_method(site.owner(customer), card=ASKS)
    url = opened(site, page, customer)
    page.get_by_role("button", name="with your bank").click()
    answer_bank(page, "Complete")
    until(site, page, url, PAID)
    assert taken(site, customer) == [4_900]


# --- with what is saved -------------------------------------------------------------------------------------------


def test_the_link_alone_offers_nothing_that_is_saved(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "passed_on", GOOD)
    page.goto(url)
    page.locator("[data-pay]").wait_for()
    assert page.get_by_role("radio").count() == 0
    assert "4242" not in page.content()


def test_a_saved_card_pays(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "keeps", GOOD)
    come_in(site, page, "keeps", url)
    assert page.get_by_role("radio", name="Visa ending 4242").is_checked()
    assert not page.locator("#here").is_visible()
    press_pay(page)
    until(site, page, url, PAID)
    assert taken(site, "keeps") == [4_900]


def test_a_double_click_and_the_back_button_pay_once(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "hasty", GOOD)
    come_in(site, page, "hasty", url)
    page.locator("#begin > .btn").dblclick()
    page.get_by_role("heading", name="on its way").wait_for()
    page.go_back()
    page.get_by_role("heading", name="on its way").wait_for()
    until(site, page, url, PAID)
    assert taken(site, "hasty") == [4_900]


def test_two_tabs_pay_once(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "tabs", GOOD, OTHER)
    come_in(site, page, "tabs", url)
    other = page.context.new_page()
    other.goto(url)
    other.get_by_role("radio", name="Visa ending 4242").check()
    press_pay(page)
    page.get_by_role("heading", name="on its way").wait_for()
    press_pay(other)
    other.get_by_role("heading", name="on its way").wait_for()
    until(site, page, url, PAID)
    assert taken(site, "tabs") == [4_900]


def test_a_saved_card_whose_bank_asks_pays_after_the_answer(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "asks", ASKS)
    come_in(site, page, "asks", url)
    press_pay(page)
    answer_bank(page, "Fail")
    page.get_by_role("alert").get_by_text("couldn’t confirm that it’s you").wait_for()
    assert taken(site, "asks") == []
    press_pay(page)
    answer_bank(page, "Complete")
    until(site, page, url, PAID)
    assert taken(site, "asks") == [4_900]


def test_a_question_that_was_left_is_gone_on_with(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "leaves", ASKS)
    come_in(site, page, "leaves", url)
    press_pay(page)
    page.frame_locator('iframe[name="stripe-challenge-frame"]').get_by_role("button").first.wait_for()
    page.goto(url)
    page.get_by_role("button", name="with your bank").click()
    answer_bank(page, "Complete")
    until(site, page, url, PAID)
    assert taken(site, "leaves") == [4_900]


def test_another_card_is_chosen_instead(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "another", GOOD)
    come_in(site, page, "another", url)
    choose(page, "Another card or account")
    page.locator("[data-pay]").wait_for()
    assert not page.locator("#begin > .btn").is_visible()
    pay_with(page, OTHER)
    until(site, page, url, PAID)
    assert taken(site, "another") == [4_900]
    owner = site.owner("another")
    (charge,) = [each for each in site.sandbox.charges if each["customer"] == owner]
    assert charge["payment_method_details"]["card"]["last4"] == "4444"


def test_a_saved_card_is_declined_and_a_new_one_pays_in_german(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "deutsch", POOR, locale="de-DE")
    come_in(site, page, "deutsch", url)
    assert page.get_by_role("heading", name="Fälliger Betrag").is_visible()
    assert page.get_by_role("button", name="49,00\xa0€ bezahlen").is_visible()
    press_pay(page)
    said = page.get_by_role("alert").filter(has_text="Die Zahlung wurde abgelehnt")
    said.wait_for()
    assert "Es wurde nichts abgebucht" in said.inner_text()
    choose(page, "Andere Karte oder anderes Konto")
    page.locator("[data-pay]").wait_for()
    pay_with(page, GOOD)
    page.get_by_role("heading", name="Wir warten").wait_for()
    for _ in range(3):
        site.work()
    page.goto(url)
    page.get_by_role("heading", name="Bezahlt, vielen Dank").wait_for()
    assert taken(site, "deutsch") == [4_900]


def test_a_saved_account_is_debited(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "account", DEBIT)
    come_in(site, page, "account", url)
    choose(page, "SEPA debit ending 3000")
    press_pay(page)
    until(site, page, url, "Your payment is on its way")
    site.sandbox.tick()
    for _ in range(3):
        site.work()
    page.goto(url)
    page.get_by_role("heading", name=PAID).wait_for()
    assert taken(site, "account") == [4_900]


def test_a_saved_card_pays_without_a_script(site: PortalSite, browser: sync_api.Browser) -> None:
    url = owes(site, "plain", GOOD)
    with watched(browser, java_script_enabled=False) as page:
        page.goto(site.way_in("plain"))
        page.get_by_role("button", name="Open billing").click()
        page.wait_for_url("**/portal/payment-methods")
        page.goto(url)
        press_pay(page)
        until(site, page, url, PAID)
    assert taken(site, "plain") == [4_900]


def test_a_card_that_was_removed_meanwhile_is_told(site: PortalSite, browser: sync_api.Browser) -> None:
    url = owes(site, "gone", GOOD, OTHER)
    with watched(browser, expected=("status of 404", "favicon")) as page:
        come_in(site, page, "gone", url)
        choose(page, "Visa ending 4242")
        held = site.runtime.methods.wallet("gone").held
        (ref,) = [each.ref for each in held if each.saved.method.last4 == "4242"]
        site.forget("gone", ref)
        with page.expect_response(lambda response: response.request.method == "POST") as told:
            press_pay(page)
        page.get_by_role("alert").get_by_text("isn’t here any more").wait_for()
    assert told.value.status == 404
    assert taken(site, "gone") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_whole_on_every_screen(
    site: PortalSite, browser: sync_api.Browser, width: int, scheme: str
) -> None:
    customer = f"screen_{width}_{scheme}"
    url = owes(site, customer, GOOD, OTHER, DEBIT)
    old = site.sandbox.add_method(site.owner(customer), card="378282246310005")
    site.sandbox.update_card(old["id"], year=2020, month=1)
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with watched(browser, bypass_csp=axe_path() is not None, **options) as page:
        come_in(site, page, customer, url)
        assert page.get_by_role("radio", name="American Express").is_disabled()
        assert faults(page) == []
        choose(page, "Another card or account")
        page.locator("[data-pay]").wait_for()
        assert faults(page) == []


def test_keys_alone_choose_and_pay(site: PortalSite, page: sync_api.Page) -> None:
    url = owes(site, "keyboard", GOOD, OTHER)
    come_in(site, page, "keyboard", url)
    chosen = page.locator('input[name="method"]:checked')
    before = chosen.input_value()
    chosen.focus()
    page.keyboard.press("ArrowDown")
    assert chosen.input_value() != before
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.keyboard.press("Enter")
    until(site, page, url, PAID)
    assert taken(site, "keyboard") == [4_900]
