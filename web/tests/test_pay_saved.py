"""Paying with a saved method on the pay page: who may, what is shown of it, what a click leads to, what is never doubled."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from web.tests.keeping import PAY_SECRET, STOLEN, Shop, make_shop
from web.tests.portal_visits import Browser
from werkzeug.test import TestResponse

from billhook.errors import OutcomeUnknown, Temporary
from billhook.methods import PageState
from billhook.model import AttemptStatus, Decline, DeclineClass, Ref
from billhook.money import Money
from billhook_web.services import saved_payment
from billhook_web.stores import audit, billing

SOFT = Decline(code="insufficient_funds", kind=DeclineClass.SOFT, message="There is not enough money on it.")
OPEN_AGAIN = {"state": PageState.OPEN, "waits": False}


class Till:
    """An invoice of EUR 49.00 of acct_1, its link, and a browser that may be signed in."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.provider = shop.provider()
        self.browser = Browser(shop.runtime, shop.app)
        self.invoice = shop.engine.bill("acct_1", Money(4_900, "EUR"))
        shop.apply_and_deliver(*shop.engine.facts_of(self.invoice))
        with shop.runtime.db.begin() as tx:
            url = shop.runtime.collecting.pay_url(tx, self.invoice)
        self.path = url.removeprefix("https://billing.test")

    def keep(self, name: str = "pm_1", *, owner: str = "acct_1", **about: object) -> str:
        """Let a customer have a method; return what this page calls it."""
        ref = self.provider.keep(f"cus_{owner}", name, **about)  # type: ignore[arg-type]  # what the tests name
        return saved_payment.handle_of(self.path.rpartition("/")[2], ref)

    def signed_in(self, customer: str = "acct_1") -> Till:
        self.browser.signed_in(customer)
        return self

    def get(self, query: str = "") -> TestResponse:
        return self.browser.get(f"{self.path}{query}")

    def form(self, text: str | None = None) -> dict[str, str]:
        """Return the hidden fields of the page's form."""
        text = self.get().text if text is None else text
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))

    def pay(self, method: str, **fields: str) -> TestResponse:
        return self.browser.post(self.path, data={**self.form(), "method": method, **fields})

    def attempts(self) -> list[AttemptStatus]:
        with self.shop.runtime.db.read() as tx:
            return [each.status for each in billing.attempts_of(tx, self.invoice)]

    def audited(self) -> list[tuple[str, str]]:
        with self.shop.runtime.db.read() as tx:
            return [(each.actor, each.detail["method"]) for each in audit.page(tx, action="invoice.pay")]


@pytest.fixture
def till(tmp_path: Path, empty_database: Path) -> Iterator[Till]:
    shop = make_shop(Path(shutil.copy(empty_database, tmp_path / "billhook.sqlite3")))
    yield Till(shop)
    shop.runtime.close()


@pytest.fixture
def open_till(tmp_path: Path, empty_database: Path) -> Iterator[Till]:
    """One whose operator lets whoever has the link pay with what is saved."""
    path = Path(shutil.copy(empty_database, tmp_path / "billhook.sqlite3"))
    shop = make_shop(path, BILLHOOK_PAY_SAVED_METHODS="link")
    yield Till(shop)
    shop.runtime.close()


# --- who may, and what is shown -----------------------------------------------------------------------------------


def test_who_is_signed_in_chooses_among_what_they_keep(till: Till) -> None:
    till.keep()
    till.keep("pm_2", brand="mastercard", last4="4444", expires="2030-01")
    text = till.signed_in().get().text
    for shown in (
        "Visa ending 4242",
        "Expires 08/2031",
        "Default",
        "Mastercard ending 4444",
        "Another card or account",
    ):
        assert shown in text
    for hidden in ("pm_1", "pm_2", "cus_", PAY_SECRET):
        assert hidden not in text


def test_the_first_that_can_be_charged_is_chosen(till: Till) -> None:
    till.keep(expires="2020-01")
    second = till.keep("pm_2", last4="4444")
    text = till.signed_in().get().text
    (chosen,) = re.findall(r'value="(\w+)" checked', text)
    assert chosen == second
    assert re.search(r'value="\w+" disabled', text)
    assert "Expired 01/2020. It can’t be charged any more." in text


def test_another_can_be_chosen_in_the_address(till: Till) -> None:
    till.keep()
    assert 'value="another" checked' in till.signed_in().get("?with=another").text


def test_a_withdrawn_permission_is_shown_and_cannot_be_chosen(till: Till) -> None:
    till.keep()
    mine = till.provider.kept["cus_acct_1"]
    till.provider.kept["cus_acct_1"] = [replace(each, usable=False) for each in mine]
    text = till.signed_in().get().text
    assert "Your bank withdrew the permission to charge it." in text
    assert re.search(r'value="\w+" disabled', text)


def test_the_link_alone_shows_and_charges_nothing_that_is_saved(till: Till) -> None:
    method = till.keep()
    text = till.get().text
    assert "4242" not in text
    assert 'name="method"' not in text
    assert till.provider.asked == []
    answer = till.pay(method)
    assert answer.status_code == 403
    assert "Nothing was charged" in answer.text
    assert till.provider.taken == []


def test_somebody_else_who_is_signed_in_sees_and_charges_nothing(till: Till) -> None:
    method = till.keep()
    till.keep("pm_2", owner="acct_2", last4="9999")
    till.signed_in("acct_2")
    text = till.get().text
    assert "4242" not in text
    assert "9999" not in text
    assert till.pay(method, csrf_token=till.browser.token()).status_code == 403
    assert till.provider.taken == []


def test_where_the_operator_allows_it_the_link_shows_brand_and_last_digits_only(open_till: Till) -> None:
    method = open_till.keep()
    old = open_till.keep("pm_2", last4="4444", expires="2020-01")
    text = open_till.get().text
    assert "Visa ending 4242" in text
    for hidden in ("08/2031", "01/2020", "Default"):
        assert hidden not in text
    assert "Expired. It can’t be charged any more." in text
    assert open_till.pay(old).status_code == 409
    assert open_till.pay(method).status_code == 303
    assert open_till.audited() == [("pay-link", "keeps:pm_1")]


def test_a_session_that_is_over_charges_nothing(till: Till) -> None:
    method = till.keep()
    fields = till.signed_in().form()
    till.browser.wait(minutes=31)
    answer = till.browser.post(till.path, data={**fields, "method": method})
    assert answer.status_code == 403
    assert "You were signed out" in answer.text
    assert till.provider.taken == []


@pytest.mark.parametrize("token", [None, "", "x" * 43, "é"])
def test_a_form_of_another_site_charges_nothing(till: Till, token: str | None) -> None:
    method = till.keep()
    fields = {**till.signed_in().form(), "method": method, "csrf_token": token or ""}
    assert till.browser.post(till.path, data=fields).status_code == 403
    assert till.provider.taken == []


# --- what a click leads to ----------------------------------------------------------------------------------------


def test_a_saved_card_pays_the_attempt_that_is_open(till: Till) -> None:
    method = till.keep()
    answer = till.signed_in().pay(method)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{till.path}?status=returned")
    assert till.attempts() == [AttemptStatus.PROCESSING]
    assert "Your payment is on its way" in till.get("?status=returned").text
    assert till.audited() == [("customer:acct_1", "keeps:pm_1")]
    assert len(till.provider.on_page) == 1


def test_a_form_that_is_sent_twice_is_one_payment(till: Till) -> None:
    method = till.keep()
    fields = {**till.signed_in().form(), "method": method}
    locations = [till.browser.post(till.path, data=fields).headers["Location"] for _ in range(2)]
    assert locations == [f"{till.path}?status=returned", till.path]
    assert len(till.provider.taken) == 1
    assert till.attempts() == [AttemptStatus.PROCESSING]


def test_a_form_is_named_anew_each_time_it_is_shown_and_the_call_after_it(till: Till) -> None:
    method = till.keep()
    till.provider.banks["pm_1"] = {**OPEN_AGAIN, "decline": SOFT}
    till.signed_in()
    first = {**till.form(), "method": method}
    for fields in (first, first, {**till.form(), "method": method}):
        assert till.browser.post(till.path, data=fields).status_code == 402
    keys = [key for _, _, key in till.provider.taken]
    assert keys[0] == keys[1] != keys[2]


def test_a_decline_is_told_and_another_way_is_offered(till: Till) -> None:
    method = till.keep()
    till.provider.banks["pm_1"] = {**OPEN_AGAIN, "decline": SOFT}
    answer = till.signed_in().pay(method)
    assert answer.status_code == 402
    assert SOFT.message in answer.text
    assert "Nothing was charged." in answer.text
    assert "Another card or account" in answer.text
    assert "js.keeps.example" in answer.text  # the provider's own fields are there
    assert till.attempts() == [AttemptStatus.OPEN]
    assert till.audited() == []
    other = till.keep("pm_2")
    assert till.pay(other).status_code == 303


def test_a_sensitive_reason_is_not_told(till: Till) -> None:
    method = till.keep()
    till.provider.banks["pm_1"] = {**OPEN_AGAIN, "decline": STOLEN}
    answer = till.signed_in().pay(method)
    assert answer.status_code == 402
    assert "stolen" not in answer.text.lower()


def test_the_bank_s_question_leads_to_the_page_that_asks_it(till: Till) -> None:
    method = till.keep()
    till.provider.banks["pm_1"] = {"state": PageState.OPEN, "waits": True}
    answer = till.signed_in().pay(method)
    assert answer.headers["Location"] == f"{till.path}?confirm=1"
    page = till.get("?confirm=1").text
    assert "&#34;atOnce&#34;: true" in page
    assert "Your bank wants you to confirm this payment." in page
    assert PAY_SECRET not in page
    assert till.attempts() == [AttemptStatus.OPEN]


def test_a_debit_is_on_its_way(till: Till) -> None:
    method = till.keep(kind="sepa_debit", brand=None, expires=None)
    till.provider.banks["pm_1"] = {"state": PageState.PROCESSING}
    assert "SEPA debit ending 4242" in till.signed_in().get().text
    assert till.pay(method).headers["Location"] == f"{till.path}?status=returned"
    assert till.attempts() == [AttemptStatus.PROCESSING]


def test_another_way_leads_to_the_provider_s_fields_on_this_page(till: Till) -> None:
    till.keep()
    answer = till.signed_in().pay("another")
    assert answer.headers["Location"] == f"https://billing.test{till.path}?with=another"
    assert till.provider.taken == []


def test_a_payment_that_was_called_off_shows_what_is_so_now(till: Till) -> None:
    method = till.keep()
    ((session, found),) = till.provider.on_page.items()
    till.provider.on_page[session] = replace(found, state=PageState.CANCELED, client_secret=None)
    assert till.signed_in().pay(method).headers["Location"] == till.path
    assert till.provider.taken == []


# --- bad input, and trouble ---------------------------------------------------------------------------------------


def test_a_method_that_is_not_theirs_or_not_there_any_more_is_not_found(till: Till) -> None:
    mine = till.keep()
    foreign = till.keep("pm_foreign", owner="acct_2")
    fields = till.signed_in().form()
    till.provider.remove_method("cus_acct_1", Ref("keeps", "pm_1"))
    for method in (mine, foreign, "keeps:pm_foreign", "x" * 5000):
        answer = till.browser.post(till.path, data={**fields, "method": method})
        assert answer.status_code == 404
        assert "That payment method isn’t here any more" in answer.text
        assert "Nothing was charged." in answer.text
        assert "Try again: €49.00" in answer.text
    assert till.provider.taken == []


def test_an_expired_method_is_refused(till: Till) -> None:
    method = till.keep(expires="2020-01")
    answer = till.signed_in().pay(method)
    assert answer.status_code == 409
    assert "That payment method can’t be charged any more" in answer.text
    assert till.provider.taken == []


def test_a_provider_that_is_down_is_told_and_the_page_still_shows_the_invoice(till: Till) -> None:
    method = till.keep()
    fields = {**till.signed_in().form(), "method": method}
    till.provider.down = True
    page = till.get()
    assert page.status_code == 200
    assert "we can’t show your saved payment methods" in page.text
    answer = till.browser.post(till.path, data=fields)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "Our payment provider isn’t answering" in answer.text
    assert till.attempts() == [AttemptStatus.OPEN]


def raising(error: Exception) -> Callable[[], None]:
    def interrupt() -> None:
        raise error

    return interrupt


def test_an_answer_that_is_lost_is_looked_for(till: Till) -> None:
    method = till.keep()
    till.provider.before_answer = raising(OutcomeUnknown("no answer"))
    assert till.signed_in().pay(method).headers["Location"] == f"{till.path}?status=returned"
    assert till.attempts() == [AttemptStatus.PROCESSING]
    assert len(till.provider.taken) == 1


def test_an_answer_that_is_not_found_is_told_and_leaves_the_one_attempt(till: Till) -> None:
    method = till.keep()

    def vanish() -> None:
        till.provider.down = True
        raise OutcomeUnknown("no answer")

    till.provider.before_answer = vanish
    answer = till.signed_in().pay(method)
    assert answer.status_code == 504
    assert "We don’t know yet whether that worked" in answer.text
    assert till.attempts() == [AttemptStatus.OPEN]


def test_who_comes_second_is_told_what_the_first_has_done(till: Till) -> None:
    """The provider is busy with the first click's call when the second comes; then that one is answered."""
    method = till.keep()
    till.provider.before_answer = raising(Temporary("busy with another call"))
    assert till.signed_in().pay(method).headers["Location"] == f"{till.path}?status=returned"
    assert len(till.provider.taken) == 1


def test_what_is_paid_meanwhile_is_shown(till: Till) -> None:
    method = till.keep()
    fields = {**till.signed_in().form(), "method": method}
    with till.shop.runtime.db.begin() as tx:
        (attempt,) = billing.attempts_of(tx, till.invoice)
        billing.put_attempt(tx, replace(attempt, status=AttemptStatus.PROCESSING))
    answer = till.browser.post(till.path, data=fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, till.path)
    assert till.provider.taken == []


def test_nothing_a_provider_or_customer_wrote_becomes_markup(till: Till) -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    till.keep(brand=hostile, last4=hostile[:20])
    text = till.signed_in().get().text
    assert "onerror" in text
    assert "<img" not in text


def test_neither_secret_nor_method_is_in_a_log(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    method = till.keep()
    with caplog.at_level("DEBUG"):
        till.signed_in().pay(method)
    assert PAY_SECRET not in caplog.text
    assert till.browser.cookie is not None
    assert till.browser.cookie not in caplog.text


def test_methods_are_named_as_people_know_them_in_german(till: Till) -> None:
    till.shop.runtime.customers.upsert("acct_1", {"name": "Ada", "currency": "EUR", "locale": "de-DE"})
    till.keep()
    text = till.signed_in().get().text
    for shown in (
        "Wie möchten Sie zahlen?",
        "Visa mit Endziffern 4242",
        "Andere Karte oder anderes Konto",
        "49,00\xa0€ bezahlen",
    ):
        assert shown in text


def test_a_method_has_another_name_on_every_page() -> None:
    ref = Ref("keeps", "pm_1")
    assert saved_payment.handle_of("a" * 32, ref) != saved_payment.handle_of("b" * 32, ref)
