"""The payment methods page: what it shows, what its forms do, and what it never lets out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from web.tests.keeping import SECRET, STOLEN, Shop, make_shop
from werkzeug.test import TestResponse

from billhook.methods import PageState
from billhook.model import Decline, DeclineClass

LIST = "/portal/payment-methods"
SOFT = Decline(code="insufficient_funds", kind=DeclineClass.SOFT, message="Your card has insufficient funds.")


class Visitor:
    """Somebody who came in by a link, with a browser."""

    def __init__(self, shop: Shop, customer: str = "acct_1") -> None:
        self.shop = shop
        self.client: FlaskClient = shop.app.test_client()
        runtime = shop.runtime
        link = runtime.portal.issue(customer, page="payment-methods", return_url=None)
        path = f"/portal/enter/{link.token}"
        mark = _hidden(self.get(path), "csrf_token")
        answer = self.client.post(path, data={"csrf_token": mark}, base_url="https://billing.test")
        assert answer.headers["Location"] == LIST
        self.csrf = _hidden(self.get(LIST), "csrf_token")

    def get(self, path: str, **options: str) -> TestResponse:
        return self.client.get(path, base_url="https://billing.test", headers=options)

    def post(self, path: str, *, csrf: str | None = None, **fields: str) -> TestResponse:
        token = self.csrf if csrf is None else csrf
        return self.client.post(path, data={"csrf_token": token, **fields}, base_url="https://billing.test")

    def begin(self, form: str = "f", **wishes: str) -> dict[str, str]:
        answer = self.post(f"{LIST}/begin/keeps", form=form, **wishes)
        assert answer.status_code == 200
        said: dict[str, str] = answer.get_json()
        return said


def _hidden(answer: TestResponse, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


@pytest.fixture
def shop(tmp_path: Path, empty_database: Path) -> Iterator[Shop]:
    made = make_shop(Path(shutil.copy(empty_database, tmp_path / "billhook.sqlite3")))
    yield made
    made.runtime.close()


@pytest.fixture
def me(shop: Shop) -> Visitor:
    return Visitor(shop)


# --- the list --------------------------------------------------------------------------------------------------------


def test_an_empty_list_says_what_to_do(me: Visitor) -> None:
    text = me.get(LIST).text
    assert "No payment method yet" in text
    assert f'href="{LIST}/new"' in text


def test_the_list_names_each_method_and_what_may_be_done_with_it(shop: Shop, me: Visitor) -> None:
    shop.provider().keep("cus_acct_1", "pm_1")
    shop.provider().keep("cus_acct_1", "pm_2", brand="amex", last4="0005", expires="2026-10")
    shop.provider().keep("cus_acct_1", "pm_3", kind="sepa_debit", brand=None, last4="3000", expires=None)
    text = me.get(LIST).text
    for part in (
        "Visa ending 4242",
        "Expires 08/2031",
        "American Express ending 0005",
        "Expired 10/2026",
        "SEPA debit",
    ):
        assert part in text
    assert "make another one your default first" in text
    assert f"{LIST}/keeps:pm_1/remove" not in text
    assert f"{LIST}/keeps:pm_3/remove" in text
    assert f"{LIST}/keeps:pm_2/default" not in text  # it has expired


def test_a_provider_that_is_down_is_said_and_the_rest_is_shown(shop: Shop, me: Visitor) -> None:
    shop.provider("other").keep("cus_acct_1", "pm_3")
    shop.provider().down = True
    answer = me.get(LIST)
    assert answer.status_code == 200
    assert "Some payment methods are missing here" in answer.text
    assert "Visa ending 4242" in answer.text
    assert me.get(f"{LIST}/keeps:pm_1/remove").status_code == 503  # it may well be there
    assert me.get(f"{LIST}/other:pm_3/remove").status_code == 200


def test_a_name_that_is_markup_is_only_text(shop: Shop, me: Visitor) -> None:
    shop.provider().keep("cus_acct_1", "pm_1", brand="<script>alert(1)</script>", last4='"><b>')
    text = me.get(LIST).text
    assert "<script>alert" not in text
    assert '"><b>' not in text


# --- choosing and removing -------------------------------------------------------------------------------------------


def test_another_method_becomes_the_default(shop: Shop, me: Visitor) -> None:
    shop.provider().keep("cus_acct_1", "pm_1")
    shop.provider().keep("cus_acct_1", "pm_2")
    answer = me.post(f"{LIST}/keeps:pm_2/default")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{LIST}?did=default")
    assert "Your default has changed" in me.get(answer.headers["Location"]).text
    assert shop.kept()[0] == "pm_2"


def test_removing_asks_first_and_says_what_stays(shop: Shop, me: Visitor) -> None:
    shop.provider().keep("cus_acct_1", "pm_1", last4="1111")
    shop.provider().keep("cus_acct_1", "pm_2", last4="2222")
    asked = me.get(f"{LIST}/keeps:pm_2/remove")
    assert "Your default stays Visa ending 1111." in asked.text
    part = me.get(f"{LIST}/keeps:pm_2/remove", **{"HX-Request": "true"})
    assert "<html" not in part.text
    assert me.csrf in part.text
    answer = me.post(f"{LIST}/keeps:pm_2/remove")
    assert answer.headers["Location"] == f"{LIST}?did=removed"
    assert shop.kept() == ["pm_1"]


@pytest.mark.parametrize("others", [0, 1])
def test_what_has_to_stay_stays_and_the_way_to_do_it_is_offered(shop: Shop, me: Visitor, others: int) -> None:
    shop.subscribe()
    for number in range(1 + others):
        shop.provider().keep("cus_acct_1", f"pm_{number}")
    answer = me.post(f"{LIST}/keeps:pm_0/remove")
    assert answer.status_code == 409
    assert ("make another one your default" if others else "add another first") in answer.text
    assert "Remove payment method" not in answer.text
    assert len(shop.kept()) == 1 + others


# --- adding ----------------------------------------------------------------------------------------------------------


def test_the_add_page_lets_in_the_provider_s_script_and_nothing_more(me: Visitor) -> None:
    answer = me.get(f"{LIST}/new")
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self' https://js.keeps.example;" in policy
    assert "unsafe-inline" not in policy
    assert 'src="https://js.keeps.example/v1.js"' in answer.text
    assert "<noscript>" in answer.text
    assert "</script>_public" not in answer.text  # a setting cannot end an element
    assert "js.keeps.example" not in me.get(LIST).headers["Content-Security-Policy"]
    script = re.search(r'src="(/assets/[0-9a-f]+/scripts/keeps\.js)"', answer.text)
    assert script
    assert me.get(script[1]).text == "window.billhookPayments = {};"


def test_the_secret_comes_only_when_the_form_is_sent(shop: Shop, me: Visitor) -> None:
    page = me.get(f"{LIST}/new")
    assert shop.provider().by_key == {}
    assert SECRET not in page.text
    begun = me.begin()
    assert begun["clientSecret"] == SECRET
    assert SECRET not in begun["after"] + begun["state"]
    assert me.begin() == begun


def test_two_tabs_are_one_form_until_something_was_saved(shop: Shop, me: Visitor) -> None:
    def form() -> str:
        found = re.search(r"&#34;form&#34;: &#34;([0-9a-f]+)&#34;", me.get(f"{LIST}/new").text)
        assert found
        return found[1]

    first = form()
    assert form() == first
    begun = me.begin(first)
    shop.provider().complete(begun["after"].rpartition("/")[2], "pm_1")
    assert me.begin(first) == {"url": begun["after"]}
    assert form() != first


def test_a_saved_method_is_told_and_a_reload_changes_nothing(shop: Shop, me: Visitor) -> None:
    after = me.begin(default="1")["after"]
    shop.provider().complete(after.rpartition("/")[2], "pm_1")
    pages = [me.get(after) for _ in range(2)]
    for page in pages:
        assert "Visa ending 4242 is saved" in page.text
        assert "It’s your default" in page.text
    assert shop.provider().asked.count("set_default") == 1


def test_what_a_provider_adds_to_the_way_back_is_dropped(shop: Shop, me: Visitor) -> None:
    after = me.begin()["after"]
    answer = me.get(f"{after}?setup_intent_client_secret={SECRET}&redirect_status=succeeded")
    assert answer.status_code == 303
    assert answer.headers["Location"] == after
    assert "set_default" not in shop.provider().asked


def test_a_method_that_waits_for_the_bank_can_be_gone_on_with(shop: Shop, me: Visitor) -> None:
    begun = me.begin()
    page = me.get(begun["after"])
    assert "Your bank hasn’t confirmed it yet" in page.text
    assert SECRET not in page.text
    answer = me.post(f"{LIST}/resume/keeps/{begun['after'].rpartition('/')[2]}")
    assert answer.get_json()["clientSecret"] == SECRET


@pytest.mark.parametrize(
    ("decline", "shown"), [(SOFT, "insufficient funds"), (STOLEN, "Your bank didn’t say why")]
)
def test_a_decline_is_told_in_the_customer_s_words(
    shop: Shop, me: Visitor, decline: Decline, shown: str
) -> None:
    begun = me.begin()
    shop.provider().stands(begun["after"].rpartition("/")[2], PageState.OPEN, decline=decline)
    assert shown in me.post(begun["state"]).get_json()["message"]
    page = me.get(begun["after"]).text
    assert shown in page
    assert "olen" not in page


def test_a_provider_that_is_down_is_told_where_the_customer_types(shop: Shop, me: Visitor) -> None:
    shop.provider().down = True
    answer = me.post(f"{LIST}/begin/keeps", form="f")
    assert answer.status_code == 503
    assert "Nothing was saved" in answer.get_json()["message"]
    assert me.get(f"{LIST}/new").status_code == 503


# --- who may ---------------------------------------------------------------------------------------------------------


def test_nothing_of_another_customer_s_is_there(shop: Shop, me: Visitor) -> None:
    shop.provider().keep("cus_acct_2", "pm_theirs")
    theirs = shop.begin("acct_2").id
    assert "ending" not in me.get(LIST).text
    for path in (
        "keeps:pm_theirs/remove",
        f"added/keeps/{theirs}",
        "added/nowhere/x",
        "new?replaces=keeps:pm_theirs",
    ):
        assert me.get(f"{LIST}/{path}").status_code == 404, path
    for path in (
        "keeps:pm_theirs/default", "keeps:pm_theirs/remove", f"look/keeps/{theirs}", f"resume/keeps/{theirs}",
        "begin/nowhere", "acme:x/default",
    ):  # fmt: skip
        assert me.post(f"{LIST}/{path}").status_code == 404, path
    assert len(shop.provider().kept["cus_acct_2"]) == 1


@pytest.mark.parametrize(
    "path", ["keeps:pm_1/default", "keeps:pm_1/remove", "begin/keeps", "look/keeps/x", "resume/keeps/x"]
)
def test_a_form_of_somebody_else_does_nothing(shop: Shop, me: Visitor, path: str) -> None:
    shop.provider().keep("cus_acct_1", "pm_1")
    other = Visitor(shop, "acct_2")
    for token in ("", other.csrf):
        assert me.post(f"{LIST}/{path}", csrf=token).status_code == 403
    assert shop.kept() == ["pm_1"]
    assert shop.provider().by_key == {}


def test_nobody_else_sees_any_of_it(shop: Shop) -> None:
    stranger = shop.app.test_client()
    for path in ("", "/new", "/keeps:pm_1/remove", "/added/keeps/x"):
        assert stranger.get(f"{LIST}{path}").status_code == 401
    assert stranger.post(f"{LIST}/begin/keeps").status_code == 401


def test_the_pages_speak_german(shop: Shop) -> None:
    shop.runtime.customers.upsert("acct_1", {"locale": "de-DE"})
    me = Visitor(shop)
    shop.provider().keep("cus_acct_1", "pm_1")
    text = me.get(LIST).text
    assert '<html lang="de">' in text
    assert "Zahlungsarten" in text
