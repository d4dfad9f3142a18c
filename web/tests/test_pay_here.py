"""Paying on our own page with the provider's form: what the page holds, who gets the secret, and what begins anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from web.tests.keeping import PAY_SECRET, STOLEN, Shop, make_shop
from werkzeug.test import TestResponse

from billhook.methods import PageState
from billhook.model import Decline, DeclineClass, Ref
from billhook.money import Money

NOTHING_SAID = {"clientSecret": None, "method": None, "waits": False, "message": None}


class Link:
    """An invoice of EUR 49.00 and whoever holds its link."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.invoice = shop.engine.bill("acct_1", Money(4_900, "EUR"))
        shop.apply_and_deliver(*shop.engine.facts_of(self.invoice))
        with shop.runtime.db.begin() as tx:
            url = shop.runtime.collecting.pay_url(tx, self.invoice)
        self.path = url.removeprefix("https://billing.test")
        self.client = shop.app.test_client()

    def get(self, query: str = "") -> TestResponse:
        return self.client.get(f"{self.path}{query}")

    def form(self) -> TestResponse:
        return self.client.post(f"{self.path}/form")

    def stands(self, **about: object) -> None:
        """Let the payment stand otherwise at the provider."""
        ((session, found),) = self.shop.provider().on_page.items()
        self.shop.provider().on_page[session] = replace(found, **about)  # type: ignore[arg-type]  # what the tests name


@pytest.fixture
def link(tmp_path: Path, empty_database: Path) -> Iterator[Link]:
    shop = make_shop(Path(shutil.copy(empty_database, tmp_path / "billhook.sqlite3")))
    yield Link(shop)
    shop.runtime.close()


def test_the_page_lets_the_provider_s_form_in_and_holds_no_secret(link: Link) -> None:
    answer = link.get()
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self' https://js.keeps.example;" in policy
    assert "frame-src https://js.keeps.example" in policy
    assert "unsafe-inline" not in policy
    assert "https://js.keeps.example/v1.js" in answer.text
    assert "Pay €49.00" in answer.text
    assert PAY_SECRET not in answer.text
    assert link.shop.provider().asked == []


def test_the_secret_is_given_when_the_page_s_script_asks(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        answer = link.form()
    assert answer.get_json() == {**NOTHING_SAID, "state": "open", "clientSecret": PAY_SECRET}
    assert answer.headers["Cache-Control"] == "no-store"
    assert PAY_SECRET not in caplog.text


def test_a_stranger_s_link_gets_nothing(link: Link) -> None:
    assert link.client.post("/pay/0123456789abcdef0123456789abcdef/form").status_code == 409
    assert link.shop.provider().asked == []


def test_a_secret_in_the_way_back_is_dropped_from_the_address(link: Link) -> None:
    answer = link.get(f"?payment_intent_client_secret={PAY_SECRET}&redirect_status=failed")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{link.path}?status=returned")


def test_the_reason_of_a_decline_is_told_but_never_a_sensitive_one(link: Link) -> None:
    link.stands(decline=Decline(code="x", kind=DeclineClass.SOFT, message="Not enough money."))
    assert link.form().get_json()["message"] == "Not enough money."
    link.stands(decline=STOLEN)
    assert link.form().get_json()["message"] == "Your bank didn’t say why. It can tell you if you call."


def test_a_saved_method_that_the_bank_wants_confirmed_is_named_to_the_script(link: Link) -> None:
    wants = Decline(code="authentication_required", kind=DeclineClass.AUTHENTICATION)
    link.stands(decline=wants, method=Ref("keeps", "pm_1"))
    assert link.form().get_json()["method"] == "pm_1"
    link.stands(decline=STOLEN)
    assert link.form().get_json()["method"] is None


def test_a_question_that_the_bank_has_asked_is_told_to_the_script(link: Link) -> None:
    link.stands(waits=True)
    assert link.form().get_json()["waits"] is True


@pytest.mark.parametrize("state", [PageState.SUCCEEDED, PageState.PROCESSING, PageState.CANCELED])
def test_what_is_no_longer_open_gives_no_secret(link: Link, state: PageState) -> None:
    link.stands(state=state, client_secret=None)
    assert link.form().get_json() == {**NOTHING_SAID, "state": state}


def test_a_payment_that_is_gone_begins_anew(link: Link) -> None:
    link.shop.provider().on_page.clear()
    answer = link.form()
    assert (answer.status_code, answer.get_json()) == (409, {"state": "canceled"})
    assert f'action="{link.path}"' in link.get().text  # the plain form that the script shows then


def test_a_provider_that_is_down_is_told(link: Link) -> None:
    link.shop.provider().down = True
    answer = link.form()
    assert (answer.status_code, answer.get_json()) == (503, {"state": "busy"})


def test_the_plain_form_leads_back_to_this_page(link: Link) -> None:
    answer = link.client.post(link.path)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"https://billing.test{link.path}"
    assert link.shop.attempts(link.invoice) == 1
