"""What customers live through with payment methods beyond a form that goes well: left, closed, late, refused, by keys alone.

Runs where there is a Chromium (`make browser`); skipped elsewhere. With axe every page that is looked at is also checked for
WCAG 2.2 AA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.chromium import axe_path, chromium_path

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `make browser`")
if chromium_path() is None:
    pytest.skip("needs a Chromium", allow_module_level=True)

from billhook.model import PaymentStatus, Ref, Subscription, SubscriptionStatus  # noqa: E402
from billhook_web.services.wallet import Wish  # noqa: E402
from billhook_web.stores import billing  # noqa: E402
from billhook_web.stores.billing import Row  # noqa: E402
from tests.browser.portal_site import PortalSite, portal_site  # noqa: E402
from tests.browser.steps import PATIENCE, answer_bank, faults, fill_card, watched  # noqa: E402

GOOD, OTHER, ASKS, POOR = "4242424242424242", "5555555555554444", "4000002760003184", "4000000000000341"
FAILING_DEBIT = "DE62370400440532013001"
LIST = "/portal/payment-methods"
FIELDS = 12
"""So many times somebody presses Tab at most to get from one place of a page to the next that they look for."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalSite]:
    with portal_site(tmp_path_factory.mktemp("journeys")) as site:
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
    page.wait_for_url(f"**{LIST}")


def keep(site: PortalSite, customer: str, *cards: str) -> list[str]:
    """Let somebody keep cards, the first as their default; return what they go by."""
    owner = site.owner(site.customer(customer))
    kept = [str(site.sandbox.add_method(owner, card=card)["id"]) for card in cards]
    site.sandbox.set_default(owner, kept[0])
    return kept


def subscribe(site: PortalSite, customer: str) -> None:
    ref = Ref("acme", f"row_{customer}")
    row = Subscription(
        ref=ref, external_id=f"sub_{customer}", customer_id=customer, plan="team", status=SubscriptionStatus.ACTIVE
    )  # fmt: skip
    with site.runtime.db.begin() as tx:
        at = site.runtime.clock.now()
        billing.subscriptions.put(
            tx, ref, row, Row(customer_id=customer, status=SubscriptionStatus.ACTIVE, at=at)
        )


def at_the_question(site: PortalSite, page: sync_api.Page) -> str:
    """Fill in a card whose bank asks, and stop at its question; return the set-up."""
    page.goto(f"{site.url}{LIST}/new")
    page.get_by_role("button", name="Save payment method").wait_for()
    fill_card(page, "#payment-form", ASKS)
    with page.expect_response(lambda response: "/begin/" in response.url) as begun:
        page.get_by_role("button", name="Save payment method").click()
    page.frame_locator('iframe[name="stripe-challenge-frame"]').get_by_role(
        "button", name="Complete"
    ).wait_for()
    return str(begun.value.json()["after"].rpartition("/")[2])


def paid(site: PortalSite, customer: str) -> list[int]:
    owner = site.owner(customer)
    charges = site.sandbox.charges
    return [each["amount"] for each in charges if each["status"] == "succeeded" and each["customer"] == owner]


# --- left and closed -------------------------------------------------------------------------------------------------


def test_a_tab_that_is_closed_at_the_bank_s_question_leaves_nothing(
    site: PortalSite, page: sync_api.Page
) -> None:
    enter(site, page, "gone")
    other = page.context.new_page()
    at_the_question(site, other)
    other.close()
    site.work()
    page.reload()
    page.get_by_text("No payment method yet").wait_for()
    assert site.kept("gone") == []


def test_a_tab_that_is_closed_before_the_bank_says_yes_still_saves_and_pays(
    site: PortalSite, page: sync_api.Page
) -> None:
    keep(site, "closed", POOR)
    invoice = site.bill("closed")
    site.work()
    enter(site, page, "closed")
    page.get_by_text("We couldn’t collect €49.00").wait_for()
    other = page.context.new_page()
    setup = at_the_question(site, other)
    other.close()
    site.sandbox.authenticate(setup, success=True)
    site.sandbox.set_card(str(site.sandbox.world.setups[setup]["payment_method"]), GOOD)
    for _ in range(4):
        site.work()
    page.goto(f"{site.url}{LIST}")
    page.get_by_text("Visa ending 3184").wait_for()
    assert site.kept("closed")[0] == ("3184", True)
    assert paid(site, "closed") == [4_900]
    page.goto(f"{site.url}/portal/")
    page.get_by_text("Nothing to pay").wait_for()
    page.goto(f"{site.url}{LIST}/added/stripe/{setup}")  # they come back after all
    page.get_by_role("heading", name="Visa ending 3184 is saved").wait_for()
    page.get_by_text("It’s your default").wait_for()
    for _ in range(2):
        site.work()
    assert paid(site, "closed") == [4_900]
    with site.runtime.db.read() as tx:
        found = billing.invoices.get(tx, invoice)
    assert found is not None
    assert found.payment_status is PaymentStatus.SUCCEEDED


def test_a_question_answered_wrongly_says_so_and_nothing_is_kept(
    site: PortalSite, page: sync_api.Page
) -> None:
    enter(site, page, "wrong")
    at_the_question(site, page)
    answer_bank(page, "Fail")
    page.get_by_role("alert").get_by_text("Your bank couldn’t confirm that it’s you.").wait_for()
    assert site.kept("wrong") == []


# --- late ------------------------------------------------------------------------------------------------------------


def test_a_debit_is_shown_on_its_way_and_then_as_failed(site: PortalSite, page: sync_api.Page) -> None:
    keep(site, "debit", FAILING_DEBIT)
    site.bill("debit")
    site.work()
    page.goto(site.way_in("debit", page="overview"))
    page.get_by_text("Processing").first.wait_for()
    assert page.get_by_text("We couldn’t collect").count() == 0
    site.sandbox.tick()  # the bank answers days later
    for _ in range(2):
        site.work()
    page.reload()
    page.get_by_text("We couldn’t collect €49.00").wait_for()
    page.get_by_role("link", name="Pay €49.00").first.wait_for()
    page.goto(f"{site.url}{LIST}")
    page.get_by_text("We couldn’t collect €49.00").wait_for()


# --- what has to stay ------------------------------------------------------------------------------------------------


def test_the_only_one_stays_while_a_plan_needs_it_and_adding_is_offered(
    site: PortalSite, page: sync_api.Page
) -> None:
    (only,) = keep(site, "only", GOOD)
    subscribe(site, "only")
    enter(site, page, "only")
    page.get_by_text("To remove this one, add another first.").wait_for()
    assert page.get_by_role("link", name="Remove").count() == 0
    page.goto(f"{site.url}{LIST}/stripe:{only}/remove")
    assert page.get_by_role("button", name="Remove payment method").count() == 0
    page.get_by_role("main").get_by_role("link", name="Add payment method").click()
    page.get_by_role("button", name="Save payment method").wait_for()
    assert site.kept("only") == [("4242", True)]


def test_one_that_became_the_default_in_another_tab_stays_and_the_page_says_why(
    site: PortalSite, browser: sync_api.Browser
) -> None:
    context = browser.new_context()  # its console tells of the 409, as it should
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    _, second = keep(site, "tabs", GOOD, OTHER)
    enter(site, page, "tabs")
    page.goto(f"{site.url}{LIST}/stripe:{second}/remove")
    other = page.context.new_page()
    other.goto(f"{site.url}{LIST}")
    other.get_by_role("button", name="Set as default").click()
    other.get_by_role("status").get_by_text("We charge it first").wait_for()
    with page.expect_response(lambda response: response.request.method == "POST") as refused:
        page.get_by_role("button", name="Remove payment method").click()
    assert refused.value.status == 409
    page.get_by_text("make another one your default first").wait_for()
    page.get_by_role("link", name="See your payment methods").click()
    page.get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove payment method").click()
    page.get_by_text("The payment method was removed").wait_for()
    assert site.kept("tabs") == [("4444", True)]
    context.close()


# --- keys, pictures of every page ------------------------------------------------------------------------------------


def tab_to(page: sync_api.Page, there: Callable[[], bool]) -> None:
    for _ in range(FIELDS):
        if there():
            return
        page.keyboard.press("Tab")
    assert there()


def test_a_card_is_added_by_keys_alone(site: PortalSite, page: sync_api.Page) -> None:
    enter(site, page, "keys")
    add = page.get_by_role("main").get_by_role("link", name="Add payment method")
    tab_to(page, lambda: bool(add.evaluate("each => each === document.activeElement")))
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Save payment method")
    button.wait_for()
    fields = page.frame_locator("#payment-form iframe")
    fields.get_by_label("Card number").wait_for()
    for label, typed in (
        ("Card number", GOOD),
        ("Expiry (MM / YY)", "0831"),
        ("CVC", "123"),
    ):
        field = fields.get_by_label(label)
        tab_to(page, lambda field=field: bool(field.evaluate("each => each === document.activeElement")))
        page.keyboard.type(typed)
    tab_to(page, lambda: bool(button.evaluate("each => each === document.activeElement")))
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Visa ending 4242 is saved").wait_for()
    assert site.kept("keys") == [("4242", True)]


def every_page(site: PortalSite, customer: str) -> dict[str, str]:
    """Return the address of every page about methods as somebody sees it who keeps two, and words that are on it."""
    first, second = keep(site, customer, GOOD, OTHER)
    begun = site.runtime.methods.begin(customer, "stripe", form="looks", wish=Wish()).id
    done = site.runtime.methods.begin(customer, "stripe", form="done", wish=Wish(default=False)).id
    site.sandbox.save(done, card="378282246310005")
    return {
        "/portal/": "Nothing to pay",
        LIST: "Visa ending 4242",
        f"{LIST}?did=default": "Your default has changed",
        f"{LIST}/new": "Make this my default",
        f"{LIST}/new?replaces=stripe:{first}": "Replace Visa",
        f"{LIST}/stripe:{first}/remove": "make another one your default first",
        f"{LIST}/stripe:{second}/remove": "never charge it again",
        f"{LIST}/added/stripe/{begun}": "Your bank hasn’t confirmed it yet",
        f"{LIST}/added/stripe/{done}": "American Express ending 0005 is saved",
    }


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_every_page_is_fit_to_be_read(
    site: PortalSite, browser: sync_api.Browser, width: int, scheme: str
) -> None:
    pages = every_page(site, f"looks_{scheme}")
    size = {"width": width, "height": 800}
    with watched(browser, viewport=size, color_scheme=scheme, bypass_csp=axe_path() is not None) as page:
        page.goto(site.way_in(f"looks_{scheme}"))
        page.wait_for_url(f"**{LIST}")
        for path, words in pages.items():
            page.goto(f"{site.url}{path}")
            page.get_by_text(words).first.wait_for()
            assert faults(page) == [], path
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            lightness = sum(int(part) for part in background.strip("rgba()").split(",")[:3])
            assert (lightness > 380) == (scheme == "light"), path
