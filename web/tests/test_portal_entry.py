"""The way into the portal and out: links that work once, sessions that end, cookies nobody else can use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select
from web.tests.portal_visits import COOKIE, RETURN_URL, Browser, make_host, register

from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.runtime import Runtime
from billhook_web.stores.portal_tables import portal_links, portal_sessions


@pytest.fixture
def runtime(tmp_path: Path, empty_database: Path) -> Iterator[Runtime]:
    made = make_host(tmp_path, empty_database)
    register(made, "ada", name="Ada")
    register(made, "eve", name="Eve")
    yield made
    made.close()


@pytest.fixture
def browser(runtime: Runtime) -> Browser:
    return Browser(runtime, create_app(runtime, Wake(runtime)))


def another(browser: Browser) -> Browser:
    return Browser(browser.runtime, browser.app)


def test_a_link_leads_to_the_page_it_was_made_for(browser: Browser) -> None:
    entered = browser.go_in(browser.link("ada"))
    assert (entered.status_code, entered.location) == (303, "/portal/")
    assert "Ada" in browser.get("/portal/").text


def test_looking_at_a_link_uses_nothing_up(browser: Browser) -> None:
    """A mail scanner or a preview opens every link before the person does."""
    link = browser.link("ada")
    for _ in range(3):
        assert another(browser).get(link).status_code == 200
    assert browser.go_in(link).status_code == 303


def test_a_used_link_lets_nobody_else_in(browser: Browser) -> None:
    link = browser.link("ada")
    browser.go_in(link)
    thief = another(browser)
    again = thief.go_in(link)
    assert again.status_code == 410
    assert "expired" in again.text
    assert RETURN_URL in again.text
    assert thief.get("/portal/").status_code == 401


def test_the_form_of_a_link_is_no_good_in_another_browser(browser: Browser) -> None:
    link = browser.link("ada")
    thief = another(browser)
    thief.get(link)
    stolen = thief.client.get_cookie("__Host-billhook_portal_entry", domain="billing.test")
    assert stolen is not None
    browser.get(link)
    assert browser.post(link, data={"csrf_token": stolen.value}).status_code == 403
    assert browser.post(link).status_code == 403


def test_a_double_click_gets_in_although_the_first_answer_is_lost(browser: Browser) -> None:
    link = browser.link("ada")
    first = browser.go_in(link)
    browser.client.delete_cookie(COOKIE, domain="billing.test")
    second = browser.go_in(link)
    assert (first.status_code, second.status_code) == (303, 303)
    assert browser.get("/portal/").status_code == 200


def test_the_same_browser_may_not_repeat_itself_later(browser: Browser) -> None:
    link = browser.link("ada")
    browser.go_in(link)
    browser.client.delete_cookie(COOKIE, domain="billing.test")
    browser.wait(seconds=31)
    assert browser.go_in(link).status_code == 410


def test_who_is_in_and_opens_the_link_again_goes_on(browser: Browser) -> None:
    link = browser.link("ada")
    browser.go_in(link)
    browser.wait(minutes=2)
    assert browser.get(link).location == "/portal/"


def test_who_is_in_as_another_customer_is_told_that_the_link_is_over(browser: Browser) -> None:
    link = browser.link("ada")
    browser.go_in(link)
    eve = another(browser).signed_in("eve")
    assert eve.get(link).status_code == 410


@pytest.mark.parametrize(("minutes", "status"), [(4, 303), (5, 410)])
def test_a_link_works_for_five_minutes(browser: Browser, minutes: int, status: int) -> None:
    link = browser.link("ada")
    browser.wait(minutes=minutes)
    assert browser.go_in(link).status_code == status


@pytest.mark.parametrize("token", ["x", "x" * 43, "%F0%9F%92%B3" * 11])
def test_an_unknown_link_is_a_page_that_says_so(browser: Browser, token: str) -> None:
    answer = browser.get(f"/portal/enter/{token}")
    assert answer.status_code == 404
    assert "leads nowhere" in answer.text
    assert browser.post(f"/portal/enter/{token}").status_code == 404


def test_the_session_gets_a_new_name_at_every_entry(browser: Browser) -> None:
    """Fixation: whatever a browser held before it went in is worth nothing afterwards."""
    browser.client.set_cookie(COOKIE, "chosen-by-an-attacker", domain="billing.test", secure=True)
    browser.go_in(browser.link("ada"))
    first = browser.cookie
    assert first not in (None, "chosen-by-an-attacker")
    browser.go_in(browser.link("ada"))
    assert browser.cookie != first
    old = another(browser)
    old.client.set_cookie(COOKIE, str(first), domain="billing.test", secure=True)
    assert old.get("/portal/").status_code == 401


def test_the_cookie_is_kept_from_scripts_other_sites_and_other_hosts(browser: Browser) -> None:
    entered = browser.go_in(browser.link("ada"))
    cookie = next(each for each in entered.headers.getlist("Set-Cookie") if each.startswith(f"{COOKIE}="))
    parts = {part.strip() for part in cookie.split(";")[1:]}
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= parts
    assert not any(part.startswith("Domain") for part in parts)


def test_without_https_the_cookie_has_a_plain_name(tmp_path: Path, empty_database: Path) -> None:
    made = make_host(tmp_path, empty_database, BILLHOOK_PUBLIC_URL="http://billing.test")
    register(made, "ada")
    browser = Browser(made, create_app(made, Wake(made)))
    entered = browser.go_in(browser.link("ada"))
    assert any(each.startswith("billhook_portal=") for each in entered.headers.getlist("Set-Cookie"))
    made.close()


def test_a_session_ends_after_half_an_hour_without_a_click(browser: Browser) -> None:
    browser.signed_in("ada")
    for _ in range(4):
        browser.wait(minutes=25)
        assert browser.get("/portal/").status_code == 200
    browser.wait(minutes=30)
    over = browser.get("/portal/")
    assert over.status_code == 401
    assert RETURN_URL in over.text


def test_a_session_ends_after_half_a_day_whatever_is_clicked(browser: Browser) -> None:
    browser.signed_in("ada")
    for _ in range(28):
        browser.wait(minutes=25)
        assert browser.get("/portal/").status_code == 200
    browser.wait(minutes=25)
    assert browser.get("/portal/").status_code == 401


def test_both_limits_can_be_set(tmp_path: Path, empty_database: Path) -> None:
    made = make_host(tmp_path, empty_database, BILLHOOK_PORTAL_IDLE="PT5M", BILLHOOK_PORTAL_LONGEST="PT8M")
    register(made, "ada")
    browser = Browser(made, create_app(made, Wake(made))).signed_in("ada")
    browser.wait(minutes=4)
    assert browser.get("/portal/").status_code == 200
    browser.wait(minutes=4)
    assert browser.get("/portal/").status_code == 401
    made.close()


def test_signing_out_ends_the_session_everywhere(browser: Browser) -> None:
    browser.signed_in("ada")
    copy = another(browser)
    copy.client.set_cookie(COOKIE, str(browser.cookie), domain="billing.test", secure=True)
    out = browser.post("/portal/sign-out", data={"csrf_token": browser.token()})
    assert out.status_code == 200
    assert RETURN_URL in out.text
    assert browser.cookie is None
    assert copy.get("/portal/").status_code == 401


def test_signing_out_twice_says_the_same(browser: Browser) -> None:
    browser.signed_in("ada")
    token = browser.token()
    browser.post("/portal/sign-out", data={"csrf_token": token})
    assert browser.post("/portal/sign-out", data={"csrf_token": token}).status_code == 200


def test_nobody_signs_a_customer_out_from_another_site(browser: Browser) -> None:
    browser.signed_in("ada")
    assert browser.post("/portal/sign-out").status_code == 403
    assert browser.get("/portal/").status_code == 200


def test_an_erased_customer_is_out_at_once(browser: Browser) -> None:
    browser.signed_in("ada")
    waiting = browser.link("ada")
    browser.runtime.erasure.erase("ada", note=lambda _tx: None)
    assert browser.get("/portal/").status_code == 401
    assert browser.get(waiting).status_code == 404
    with browser.runtime.db.read() as tx:
        assert tx.execute(select(portal_sessions)).all() == []


def test_no_token_is_in_the_database(browser: Browser) -> None:
    link = browser.link("ada")
    browser.go_in(link)
    with browser.runtime.db.read() as tx:
        rows = [*tx.execute(select(portal_links)), *tx.execute(select(portal_sessions))]
    stored = " ".join(str(value) for row in rows for value in row)
    assert len(rows) == 2
    assert urlsplit(link).path.rpartition("/")[2] not in stored
    assert str(browser.cookie) not in stored


def test_the_address_of_a_link_is_told_to_nobody(browser: Browser) -> None:
    link = browser.link("ada")
    assert browser.get(link).headers["Referrer-Policy"] == "no-referrer"
    assert browser.go_in(link).headers["Referrer-Policy"] == "no-referrer"


def test_links_and_sessions_that_are_long_over_are_forgotten(browser: Browser) -> None:
    browser.signed_in("ada")
    browser.wait(days=2)
    browser.link("eve")
    with browser.runtime.db.read() as tx:
        assert [row.customer_id for row in tx.execute(select(portal_links))] == ["eve"]
        assert tx.execute(select(portal_sessions)).all() == []


def test_the_use_of_a_session_is_written_down_once_a_minute(browser: Browser) -> None:
    browser.signed_in("ada")

    def seen() -> object:
        with browser.runtime.db.read() as tx:
            return tx.execute(select(portal_sessions.c.seen_at)).scalar_one()

    before = seen()
    browser.wait(seconds=59)
    browser.get("/portal/")
    assert seen() == before
    browser.wait(seconds=1)
    browser.get("/portal/")
    assert seen() == browser.clock.now()
