"""Stripe's form on a page of ours, in a real browser: the plugin's adapter, the stand-in script, a strict policy.

Runs where there is a Chromium (`make browser`); skipped elsewhere.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from billhook.clock import SystemClock
from billhook.methods import PageState, SetupRequest
from billhook.testing.connection import make_collect_request, make_context
from billhook_stripe.config import StripeConfig
from billhook_stripe.provider import StripePayments
from billhook_stripe.sandbox import StripeSandbox
from tests.browser.chromium import chromium_path

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `make browser`")
if chromium_path() is None:
    pytest.skip("needs a Chromium", allow_module_level=True)

SCRIPT = """
const about = JSON.parse(document.getElementById("about").textContent);
const out = document.getElementById("out");
const say = (outcome) => { out.textContent = JSON.stringify(outcome); };
const payments = window.billhookPayments;
if (about.resume) payments.resume(about).then(say);
else if (about.method) payments.pay({ ...about, returnUrl: location.href }).then(say);
else {
  const form = payments.form(about);
  form.mount(document.getElementById("form")).then(() => { document.title = "ready"; });
  document.getElementById("go").addEventListener("click", async () => {
    const problem = await form.check();
    if (problem) return say({ problem });
    say(await form.confirm({ clientSecret: about.clientSecret, returnUrl: location.href }));
  });
}
"""


class Shop:
    """A page with the form, as the host would serve it: nothing inline, and only the sources the kit names."""

    def __init__(self, provider: StripePayments) -> None:
        self.kit = provider.page_kit()
        self.about: dict[str, Any] = {}

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        match request.path:
            case "/kit.js":
                return Response(self.kit.adapter, mimetype="text/javascript")
            case "/page.js":
                return Response(SCRIPT, mimetype="text/javascript")
            case "/":
                return Response(self._page(), mimetype="text/html", headers=self._policy())
            case _:
                return Response(status=404)

    def _policy(self) -> dict[str, str]:
        own = {"default-src": ("'none'",), "script-src": ("'self'",), "connect-src": ("'self'",)}
        merged = {
            name: (*own.get(name, ()), *self.kit.sources.get(name, ())) for name in own | self.kit.sources
        }
        return {"Content-Security-Policy": "; ".join(f"{name} {' '.join(at)}" for name, at in merged.items())}

    def _page(self) -> str:
        about = json.dumps({"settings": dict(self.kit.settings), **self.about}).replace("<", "\\u003c")
        scripts = "".join(
            f'<script src="{url}"></script>' for url in (*self.kit.scripts, "/kit.js", "/page.js")
        )
        return (
            '<!doctype html><html lang="en"><title>shop</title><body><div id="form"></div>'
            f'<button id="go">Go</button><p id="out"></p>'
            f'<script type="application/json" id="about">{about}</script>{scripts}'
        )


@dataclass
class Site:
    """Everything that is running."""

    url: str
    shop: Shop
    sandbox: StripeSandbox
    provider: StripePayments
    customer: str


def serve(app: Any) -> tuple[str, Callable[[], None]]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return f"http://127.0.0.1:{server.server_port}", stop


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    sandbox = StripeSandbox(clock=SystemClock())
    stripe_url, stop_stripe = serve(sandbox)
    settings = {name.lower(): value for name, value in sandbox.environment(stripe_url).items()}
    context = make_context(
        "stripe", StripeConfig(**settings), apps={stripe_url: sandbox}, clock=SystemClock()
    )
    provider = StripePayments.connect(context)
    shop = Shop(provider)
    url, stop_shop = serve(shop)
    yield Site(url, shop, sandbox, provider, sandbox.add_customer()["id"])
    stop_shop()
    stop_stripe()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    context = browser.new_context()
    context.set_default_timeout(45_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    refusals = [text for text in problems if "status of 402" not in text and "favicon" not in text]
    assert refusals == []


def fill(page: sync_api.Page, number: str, *, cvc: str = "123") -> None:
    fields = page.frame_locator("#form iframe")
    fields.get_by_label("Card number").fill(number)
    fields.get_by_label("Expiry (MM / YY)").fill("08 / 31")
    fields.get_by_label("CVC").fill(cvc)


def outcome(page: sync_api.Page) -> dict[str, Any]:
    page.wait_for_selector("#out:not(:empty)", state="attached")
    return json.loads(page.locator("#out").inner_text())


def answer(page: sync_api.Page, word: str) -> None:
    page.frame_locator('iframe[name="stripe-challenge-frame"]').get_by_role("button", name=word).click()


def adding(site: Site, page: sync_api.Page, key: str) -> str:
    """Open the page with a set-up; return its id."""
    setup = site.provider.begin_setup(SetupRequest(key=key, provider_customer=site.customer, currency="EUR"))
    site.shop.about = {"mode": "setup", "currency": "EUR", "clientSecret": setup.client_secret}
    page.goto(site.url)
    return setup.id


@pytest.mark.parametrize(
    ("number", "cvc"), [("4242 4242 4242 4242", "123"), ("3782 822463 10005", "1234")], ids=["visa", "amex"]
)
def test_a_card_is_saved(page: sync_api.Page, site: Site, number: str, cvc: str) -> None:
    setup = adding(site, page, f"setup-{number}")
    fill(page, number, cvc=cvc)
    page.click("#go")
    assert outcome(page) == {"state": "succeeded", "message": None}
    done = site.provider.setup(site.customer, setup)
    assert done.state is PageState.SUCCEEDED
    assert done.method is not None
    assert done.method.method.last4 == number[-4:]


def test_an_empty_form_says_what_is_missing_and_sends_nothing(page: sync_api.Page, site: Site) -> None:
    setup = adding(site, page, "setup-empty")
    page.frame_locator("#form iframe").get_by_label("Card number").wait_for()
    page.click("#go")
    assert outcome(page) == {"problem": "Your card number is incomplete."}
    assert site.provider.setup(site.customer, setup).state is PageState.OPEN


@pytest.mark.parametrize(("word", "state"), [("Complete", "succeeded"), ("Fail", "open")])
def test_the_bank_asks_and_hears_an_answer(page: sync_api.Page, site: Site, word: str, state: str) -> None:
    setup = adding(site, page, f"setup-{word}")
    fill(page, "4000002760003184")
    page.click("#go")
    answer(page, word)
    assert outcome(page)["state"] == state
    assert site.provider.setup(site.customer, setup).state == state


def test_a_question_that_was_left_is_taken_up_again(page: sync_api.Page, site: Site) -> None:
    setup = adding(site, page, "setup-left")
    fill(page, "4000002500003155")
    page.click("#go")
    page.get_by_role("button", name="Close").click()
    assert outcome(page)["state"] == "open"
    site.shop.about["resume"] = True
    page.goto(site.url)
    answer(page, "Complete")
    assert outcome(page)["state"] == "succeeded"
    assert site.provider.setup(site.customer, setup).state is PageState.SUCCEEDED


def test_a_declined_card_says_so_and_another_one_pays(page: sync_api.Page, site: Site) -> None:
    collected = site.provider.collect(make_collect_request(4_900, "EUR", invoice="browser-1", present=True))
    assert collected.session is not None
    wanted = site.provider.page_payment(collected.session)
    site.shop.about = {"mode": "payment", "clientSecret": wanted.client_secret}
    page.goto(site.url)
    fill(page, "4000000000000002")
    page.click("#go")
    assert outcome(page) == {"state": "open", "message": "Your card was declined."}
    page.evaluate("document.getElementById('out').textContent = ''")
    fill(page, "5555555555554444")
    page.click("#go")
    assert outcome(page)["state"] == "succeeded"
    assert site.provider.page_payment(collected.session).state is PageState.SUCCEEDED


def test_a_bank_debit_is_processing(page: sync_api.Page, site: Site) -> None:
    collected = site.provider.collect(make_collect_request(4_900, "EUR", invoice="browser-2", present=True))
    assert collected.session is not None
    wanted = site.provider.page_payment(collected.session)
    site.shop.about = {"mode": "payment", "clientSecret": wanted.client_secret}
    page.goto(site.url)
    fields = page.frame_locator("#form iframe")
    fields.get_by_label("SEPA debit").check()
    fields.get_by_label("IBAN").fill("DE89 3704 0044 0532 0130 00")
    fields.get_by_label("Name on the account").fill("Ada Byrne")
    page.click("#go")
    assert outcome(page)["state"] == "processing"


def test_a_saved_card_pays_with_the_bank_s_consent(page: sync_api.Page, site: Site) -> None:
    method = site.sandbox.add_method(site.customer, card="4000000000003220")
    collected = site.provider.collect(make_collect_request(4_900, "EUR", invoice="browser-3", present=True))
    assert collected.session is not None
    wanted = site.provider.page_payment(collected.session)
    site.sandbox.world.intents[collected.session]["customer"] = site.customer
    site.shop.about = {"method": method["id"], "clientSecret": wanted.client_secret}
    page.goto(site.url)
    answer(page, "Complete")
    assert outcome(page)["state"] == "succeeded"
