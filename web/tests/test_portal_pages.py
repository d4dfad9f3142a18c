"""The portal's pages: nothing of another customer, no forged form, no injected script, no cache, no frame; and plain words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from flask import Flask
from web.tests.portal_visits import RETURN_URL, Browser, make_host, owe, register

from billhook.errors import OutcomeUnknown, Permanent, Refused, Temporary
from billhook.model import InvoiceStatus, PaymentStatus
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.pages.headers import policy
from billhook_web.pages.places import PLACES
from billhook_web.portal.scope import Mine
from billhook_web.portal.visiting import CSRF_HEADER, LARGEST_FORM
from billhook_web.runtime import Runtime

VENDOR = Path(__file__).resolve().parent.parent / "src" / "billhook_web" / "static" / "vendor"
EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}%(x)s'


@pytest.fixture
def runtime(tmp_path: Path, empty_database: Path) -> Iterator[Runtime]:
    made = make_host(tmp_path, empty_database, BILLHOOK_BRAND_NAME="Northwind & Söhne")
    register(made, "ada", name="Ada", locale="en-GB")
    register(made, "eve", name="Eve")
    yield made
    made.close()


@pytest.fixture
def app(runtime: Runtime) -> Flask:
    return create_app(runtime, Wake(runtime))


@pytest.fixture
def ada(runtime: Runtime, app: Flask) -> Browser:
    return Browser(runtime, app).signed_in("ada")


def test_every_page_asks_who_is_there(runtime: Runtime, app: Flask) -> None:
    stranger = Browser(runtime, app)
    for path in (
        *(place.path for place in PLACES),
        "/portal/invoices/acme:inv_1/pay",
        "/portal/nothing/at/all",
    ):
        answer = stranger.get(path)
        assert answer.status_code == 401, path
        assert "signed out" in answer.text


def test_every_route_of_the_portal_is_behind_the_same_guard(app: Flask) -> None:
    open_to_all = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/portal")}
    outside = {endpoint for endpoint in open_to_all if not endpoint.startswith("portal.")}
    assert outside == {"portal_entry.entry", "portal_entry.enter", "portal_entry.sign_out"}


def test_another_customers_invoice_is_not_there(runtime: Runtime, ada: Browser) -> None:
    mine, theirs = owe(runtime, "ada", "mine"), owe(runtime, "eve", "theirs")
    assert ada.get(f"/portal/invoices/{mine}/pay").status_code == 303
    for ref in (theirs, "acme:none", "nonsense", ":", "acme:"):
        answer = ada.get(f"/portal/invoices/{ref}/pay")
        assert answer.status_code == 404, ref
        assert "theirs" not in answer.text
    assert "theirs" not in ada.get("/portal/").text


def test_the_scope_lists_nothing_of_others(runtime: Runtime) -> None:
    mine, theirs = owe(runtime, "ada", "mine"), owe(runtime, "eve", "theirs")
    scope = Mine(runtime, "ada")
    assert [invoice.ref for invoice in scope.invoices()] == [mine]
    assert [invoice.ref for invoice in scope.owed()] == [mine]
    assert scope.invoice(str(mine)).ref == mine
    for read in (scope.invoice, scope.payment, scope.pay_token):
        with pytest.raises(Refused):
            read(str(theirs))
    assert (scope.payments(), scope.subscriptions(), scope.mandates()) == ((), (), ())


def _nowhere(browser: Browser) -> str | None:
    return None


def _guessed(browser: Browser) -> str | None:
    return "x" * 43


def _of_another_session(browser: Browser) -> str | None:
    return Browser(browser.runtime, browser.app).signed_in("eve").token()


def _of_an_older_session(browser: Browser) -> str | None:
    token = browser.token()
    browser.signed_in("ada")
    return token


@pytest.mark.parametrize("forged", [_nowhere, _guessed, _of_another_session, _of_an_older_session])
def test_a_form_that_is_not_of_this_session_changes_nothing(
    ada: Browser, forged: Callable[[Browser], str | None]
) -> None:
    token = forged(ada)
    for options in ({"data": {"csrf_token": token}}, {"headers": {CSRF_HEADER: token}}) if token else ({},):
        answer = ada.post("/portal/sign-out", **options)
        assert answer.status_code == 403
        assert "Nothing was changed" in answer.text
        assert ada.post("/portal/anything", **options).status_code == 403
    assert ada.get("/portal/").status_code == 200


def test_the_token_may_also_come_as_a_header(ada: Browser) -> None:
    assert ada.post("/portal/anything", headers={CSRF_HEADER: ada.token()}).status_code == 404


def test_a_form_that_is_too_large_is_refused(ada: Browser) -> None:
    answer = ada.post("/portal/anything", data={"csrf_token": "x" * (LARGEST_FORM + 1)})
    assert answer.status_code in (403, 409, 413)


def test_names_are_text_and_never_markup(runtime: Runtime, app: Flask) -> None:
    register(runtime, "mallory", name=EVIL, email="<b>@x.test")
    owe(runtime, "mallory", "inv", number=EVIL, due_on=date(2026, 8, 1))
    browser = Browser(runtime, app)
    link = browser.link("mallory")
    offered = browser.get(link).text
    browser.go_in(link)
    for text in (offered, browser.get("/portal/").text):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<b>@" not in text
        assert "&lt;script&gt;" in text
        assert "{{ 7*7 }}" in text


def test_pages_cannot_be_framed_cached_sniffed_or_scripted(ada: Browser) -> None:
    for answer in (
        ada.get("/portal/"),
        ada.get("/portal/nothing"),
        ada.get(ada.link("ada", return_url=None)),
    ):
        sent = answer.headers
        rules = dict(rule.split(" ", 1) for rule in sent["Content-Security-Policy"].split("; "))
        assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["form-action"] == "'self'"
        assert "unsafe" not in sent["Content-Security-Policy"]
        assert sent["Cache-Control"] == "no-store"
        assert sent["X-Frame-Options"] == "DENY"
        assert sent["X-Content-Type-Options"] == "nosniff"
        assert sent["Referrer-Policy"] in ("same-origin", "no-referrer")
        assert sent["Cross-Origin-Opener-Policy"] == "same-origin"


def test_pages_have_nothing_inline(ada: Browser) -> None:
    """The policy would stop it; here we see that no page wants it."""
    owe(ada.runtime, "ada", due_on=date(2026, 8, 1))
    for text in (ada.get("/portal/").text, ada.get(ada.link("ada")).text, ada.get("/portal/nothing").text):
        assert not re.search(r"<script(?![^>]* src=)", text)
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)


def test_a_plugin_widens_the_policy_of_its_page_only_where_it_may() -> None:
    wide = policy({"script-src": ("https://js.example",), "frame-src": ("https://hooks.example",)})
    assert "script-src 'self' https://js.example" in wide
    assert "frame-src https://hooks.example" in wide
    for directive, source in (
        ("script-src", "'unsafe-inline'"),
        ("script-src", "*"),
        ("script-src", "https://a.example; frame-ancestors *"),
        ("frame-ancestors", "https://a.example"),
        ("default-src", "https://a.example"),
    ):
        with pytest.raises(ValueError, match="may not allow"):
            policy({directive: (source,)})


def test_files_are_kept_for_ever_under_a_name_of_their_content(ada: Browser) -> None:
    page = ada.get("/portal/").text
    addresses = set(re.findall(r'(?:href|src)="(/assets/[^"#]+)', page))
    assert {address.rpartition("/")[2] for address in addresses} >= {
        "portal.css",
        "brand.css",
        "portal.js",
        "icons.svg",
    }
    for address in addresses:
        answer = ada.get(address, headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200, address
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    other = ada.get(re.sub(r"/assets/\w+/", "/assets/0123456789abcdef/", min(addresses)))
    assert (other.status_code, other.headers["Cache-Control"]) == (200, "no-cache")
    assert ada.get("/assets/0123456789abcdef/../../settings.py").status_code == 404


def test_a_visitor_who_has_the_files_loads_little(ada: Browser) -> None:
    """Under 100 kB with all that a first visit loads, as it goes over the wire."""
    page = ada.get("/portal/")
    addresses = set(re.findall(r'(?:href|src)="(/assets/[^"#]+)', page.text))
    loaded = [ada.get(address, headers={"Accept-Encoding": "gzip"}) for address in addresses]
    assert len(page.data) + sum(len(each.data) for each in loaded) < 100_000


def test_a_logo_that_is_opened_by_itself_runs_nothing(tmp_path: Path, empty_database: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    made = make_host(tmp_path, empty_database, BILLHOOK_BRAND_LOGO=str(logo))
    register(made, "ada")
    browser = Browser(made, create_app(made, Wake(made))).signed_in("ada")
    page = browser.get("/portal/").text
    address = re.findall(r'src="(/assets/\w+/logo)"', page)[0]
    answer = browser.get(address)
    assert answer.content_type == "image/svg+xml"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    made.close()


def test_the_overview_puts_first_what_is_due(runtime: Runtime, ada: Browser) -> None:
    owe(runtime, "ada", "open", due_on=date(2026, 10, 1))
    owe(runtime, "ada", "late", due_on=date(2026, 8, 3), balance=12345)
    owe(runtime, "ada", "going", payment_status=PaymentStatus.PROCESSING)
    owe(runtime, "ada", "draft", status=InvoiceStatus.DRAFT)
    owe(runtime, "ada", "gone", status=InvoiceStatus.VOIDED)
    owe(runtime, "ada", "done", payment_status=PaymentStatus.SUCCEEDED, balance=0)
    text = ada.get("/portal/").text
    shown = re.findall(r"Invoice INV-(\w+) ·|Invoice INV-(\w+)</p>", text)
    assert [one or two for one, two in shown] == ["late", "open", "going"]
    assert "€123.45 is past due" in text
    assert "Invoice INV-late was due on 3 Aug 2026." in text


def test_the_overview_without_debts_says_so(ada: Browser) -> None:
    text = ada.get("/portal/").text
    assert "Nothing to pay" in text
    assert 'class="banner bad"' not in text


def test_a_pay_button_leads_to_the_stable_link(runtime: Runtime, ada: Browser) -> None:
    ref = owe(runtime, "ada")
    first, second = (ada.get(f"/portal/invoices/{ref}/pay").location for _ in range(2))
    assert first == second
    assert ada.get(str(first)).status_code == 200


def test_the_way_back_is_on_every_page(ada: Browser) -> None:
    assert RETURN_URL in ada.get("/portal/").text
    assert RETURN_URL in ada.get("/portal/nothing").text
    assert "Northwind &amp; Söhne" in ada.get("/portal/").text


def test_a_known_customers_language_wins_over_the_browsers(runtime: Runtime, app: Flask) -> None:
    register(runtime, "jan", locale="de-DE", timezone="Europe/Berlin")
    owe(runtime, "jan", due_on=date(2026, 8, 3))
    browser = Browser(runtime, app).signed_in("jan")
    answer = browser.get("/portal/", headers={"Accept-Language": "en"})
    assert '<html lang="de">' in answer.text
    assert "49,00\N{NO-BREAK SPACE}€ sind überfällig" in answer.text
    assert "3. Aug. 2026" in answer.text
    assert "Europe/Berlin" in answer.text


def test_otherwise_the_browser_is_asked_for_its_language(runtime: Runtime, app: Flask) -> None:
    stranger = Browser(runtime, app)
    german = stranger.get("/portal/", headers={"Accept-Language": "pl, de-AT;q=0.8, en;q=0.5"})
    assert "Sie sind abgemeldet" in german.text
    assert german.headers["Content-Language"] == "de"
    assert "signed out" in stranger.get("/portal/", headers={"Accept-Language": "pl"}).text


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (Temporary("no answer from the bank"), 503, "isn’t answering"),
        (Permanent("no such key"), 503, "isn’t answering"),
        (OutcomeUnknown("timed out"), 504, "don’t know yet"),
        (Refused("the card is stolen"), 409, "isn’t possible now"),
        (RuntimeError("secret detail"), 500, "our fault"),
    ],
)
def test_what_goes_wrong_is_said_in_the_customers_words(
    runtime: Runtime, raised: Exception, status: int, said: str
) -> None:
    class Deciding:
        def answer(self, customer_id: str) -> None:
            raise raised

    broken = replace(runtime, deciding=Deciding())  # type: ignore[arg-type]  # stands in for it
    browser = Browser(broken, create_app(broken, Wake(broken))).signed_in("ada")
    answer = browser.get("/portal/")
    assert answer.status_code == status
    assert said in answer.text
    assert str(raised) not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_a_part_of_a_page_is_not_replaced_when_the_session_is_over(ada: Browser) -> None:
    ada.wait(hours=1)
    answer = ada.get("/portal/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Refresh"]) == (401, "true")


@pytest.mark.parametrize(("folder", "name"), [("htmx", "htmx.org"), ("inter", "@fontsource-variable/inter")])
def test_vendored_files_are_those_that_were_published(folder: str, name: str) -> None:
    vendor = VENDOR / folder
    listed = dict(reversed(line.split("  ")) for line in (vendor / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == {path.name for path in vendor.iterdir()} - {"SHA256SUMS", "VERSION"}
    assert "LICENSE" in listed
    for file, digest in listed.items():
        assert hashlib.sha256((vendor / file).read_bytes()).hexdigest() == digest, file
    assert re.fullmatch(rf"{re.escape(name)} \d+\.\d+\.\d+\n", (vendor / "VERSION").read_text())
