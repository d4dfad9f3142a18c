"""Login to the portal by mail: how often it may be asked for and by whom, the form, and a host that has it on or off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from web.tests.login_visits import FIELD, another, ask, browser_of, make_host, plain, rows, work
from web.tests.portal_visits import Browser, register

from billhook.errors import ConfigInvalid
from billhook.testing.fakes import FakeChannel
from billhook_web.auth import ensure_bootstrap_key
from billhook_web.runtime import Runtime
from billhook_web.services.portal_login import AT_MOST, Scope
from billhook_web.stores.tables import effect_attempts


@pytest.fixture
def runtime(tmp_path: Path, empty_database: Path) -> Iterator[Runtime]:
    made = make_host(tmp_path, empty_database)
    register(made, "ada", name="Ada", email="Ada@Acme.test")
    yield made
    made.close()


@pytest.fixture
def browser(runtime: Runtime) -> Browser:
    return browser_of(runtime)


@pytest.fixture
def channel(runtime: Runtime) -> FakeChannel:
    found = runtime.connections.channel("fakemail")
    assert isinstance(found, FakeChannel)
    return found


# --- not too often -----------------------------------------------------------------------------------------------------


def test_an_address_gets_few_mails_and_its_answer_stays_the_same(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    answers = []
    for _ in range(AT_MOST[Scope.ADDRESS] + 2):
        answers.append(plain(ask(browser, "ada@acme.test")))
        work(runtime)
    assert answers == [answers[0]] * len(answers)
    assert len(channel.sent) == AT_MOST[Scope.ADDRESS]
    browser.wait(minutes=15)
    ask(browser, "ada@acme.test")
    work(runtime)
    assert len(channel.sent) == AT_MOST[Scope.ADDRESS] + 1


def test_spelling_an_address_differently_counts_as_the_same(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    for address in ("ada@acme.test", "ADA@acme.test", "Ada@Acme.test", "aDa@acme.test"):
        ask(browser, address)
        work(runtime)
    assert len(channel.sent) == AT_MOST[Scope.ADDRESS]


def ask_often(browser: Browser, times: int, **options: Any) -> list[int]:
    return [ask(browser, f"nobody{number}@acme.test", **options).status_code for number in range(times)]


def test_a_client_that_asks_for_many_addresses_is_told_to_wait(browser: Browser) -> None:
    most = AT_MOST[Scope.CLIENT]
    assert ask_often(browser, most + 1) == [303] * most + [429]
    refused = ask(browser, "ada@acme.test")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 15 * 60 + 1
    assert "try again in" in refused.text
    browser.wait(minutes=15)
    assert ask(browser, "ada@acme.test").status_code == 303


def test_what_is_refused_leaves_no_row(browser: Browser, runtime: Runtime) -> None:
    ask_often(browser, AT_MOST[Scope.CLIENT])
    before = rows(runtime)
    ask_often(browser, 5)
    assert rows(runtime) == before


def test_rows_of_strangers_do_not_pile_up(browser: Browser, runtime: Runtime) -> None:
    ask_often(browser, 5)
    work(runtime)
    browser.wait(hours=25)
    ask(browser, "ada@acme.test")
    assert rows(runtime) == [3, 1, 1]
    with runtime.db.read() as tx:
        assert tx.execute(select(effect_attempts)).all() == []


@pytest.mark.parametrize(
    ("trusted", "status"),
    [("", 429), ("10.0.0.0/8", 429), ("127.0.0.1", 303), ("127.0.0.0/8,10.0.0.1", 303)],
)
def test_behind_the_operators_own_proxy_each_client_counts_for_itself(
    tmp_path: Path, empty_database: Path, trusted: str, status: int
) -> None:
    """Nobody else's word counts: what a client writes into the header itself stands before what the proxy adds."""
    runtime = make_host(tmp_path, empty_database, BILLHOOK_TRUSTED_PROXIES=trusted)
    browser = browser_of(runtime)
    most = AT_MOST[Scope.CLIENT]
    for number in range(most):
        forged = {"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.7"}
        assert ask(browser, f"nobody{number}@acme.test", headers=forged).status_code == 303
    same = {"X-Forwarded-For": "198.51.100.99, 203.0.113.7"}
    assert ask(browser, "ada@acme.test", headers=same).status_code == 429
    mapped = {"X-Forwarded-For": "::ffff:203.0.113.7"}
    assert ask(browser, "ada@acme.test", headers=mapped).status_code == 429
    other = {"X-Forwarded-For": "::ffff:203.0.113.8"}
    assert ask(browser, "ada@acme.test", headers=other).status_code == status
    runtime.close()


def test_of_ipv6_the_network_counts(tmp_path: Path, empty_database: Path) -> None:
    runtime = make_host(tmp_path, empty_database, BILLHOOK_TRUSTED_PROXIES="127.0.0.1")
    browser = browser_of(runtime)
    for number in range(AT_MOST[Scope.CLIENT]):
        from_there = {"X-Forwarded-For": f"2001:db8:1:2::{number:x}"}
        assert ask(browser, f"nobody{number}@acme.test", headers=from_there).status_code == 303
    for address, status in (("2001:db8:1:2:ffff::1", 429), ("2001:db8:1:3::1", 303)):
        assert ask(browser, "ada@acme.test", headers={"X-Forwarded-For": address}).status_code == status
    runtime.close()


# --- the form ----------------------------------------------------------------------------------------------------------


def test_what_is_no_address_is_said_and_kept(browser: Browser) -> None:
    for address in ("", "ada", "ada@acme.test, eve@evil.test", "<script>@x", "a" * 400 + "@x"):
        answer = ask(browser, address)
        assert answer.status_code == 422
        assert 'aria-invalid="true"' in answer.text
        assert "<script>@x" not in answer.text


def test_a_form_of_another_site_is_not_taken(browser: Browser, runtime: Runtime) -> None:
    foreign = another(browser)
    assert foreign.post("/portal/login", data={"email": "ada@acme.test"}).status_code == 403
    foreign.get("/portal/login")
    answers = [
        foreign.post("/portal/login", data={"email": "ada@acme.test", "csrf_token": token})
        for token in ("", "x", "ü")
    ]
    assert [each.status_code for each in answers] == [403] * 3
    assert rows(runtime) == [0, 0, 0]
    found = FIELD.search(answers[-1].text)
    assert found is not None
    again = {"email": "ada@acme.test", "csrf_token": found[1]}
    assert foreign.post("/portal/login", data=again).status_code == 303


def test_no_parameter_leads_elsewhere(browser: Browser) -> None:
    for path in ("/portal/login?next=https://evil.test", "/portal/login?return_url=//evil.test"):
        assert "evil.test" not in browser.get(path).text
    asked = ask(browser, "ada@acme.test", query_string={"next": "//evil.test"})
    assert asked.location == "/portal/login/sent"


def test_the_pages_are_kept_nowhere_and_framed_by_nobody(browser: Browser) -> None:
    for path in ("/portal/login", "/portal/login/sent"):
        answer = browser.get(path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_who_is_turned_away_is_offered_a_link(browser: Browser) -> None:
    for path in ("/portal/", "/portal/enter/nothing"):
        assert 'href="/portal/login"' in browser.get(path).text


def test_a_form_that_is_too_large_is_refused(browser: Browser, runtime: Runtime) -> None:
    assert browser.post("/portal/login", data={"email": "x" * 70_000}).status_code == 409
    assert rows(runtime) == [0, 0, 0]


# --- on and off --------------------------------------------------------------------------------------------------------


def test_where_it_is_off_there_is_no_such_page_and_nobody_is_offered_one(
    tmp_path: Path, empty_database: Path
) -> None:
    runtime = make_host(tmp_path, empty_database, BILLHOOK_PORTAL_EMAIL_LOGIN="false")
    browser = browser_of(runtime)
    for answer in (browser.get("/portal/login"), browser.get("/portal/")):
        assert answer.status_code == 401
        assert "/portal/login" not in answer.text
    runtime.close()


def test_to_be_on_it_needs_something_that_sends_mail(tmp_path: Path, empty_database: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"BILLHOOK_PORTAL_EMAIL_LOGIN: is on.*BILLHOOK_CONNECTIONS"):
        make_host(tmp_path, empty_database, BILLHOOK_CONNECTIONS="")


def test_the_api_lists_what_sends_the_mail(browser: Browser) -> None:
    key = {"Authorization": "Bearer bh_test_0123456789abcdef"}
    ensure_bootstrap_key(browser.runtime)
    (listed,) = browser.get("/api/v1/connections", headers=key).get_json()["data"]
    assert (listed["title"], listed["kinds"]) == ("Fake mail", ["notification_channel"])


def test_a_plugin_that_is_out_of_order_stops_only_the_mails(tmp_path: Path, empty_database: Path) -> None:
    runtime = make_host(tmp_path, empty_database, BILLHOOK_CONNECTIONS="broken")
    register(runtime, "ada", email="ada@acme.test")
    browser = browser_of(runtime)
    answers = [ask(browser, address) for address in ("ada@acme.test", "nobody@acme.test")]
    assert [each.status_code for each in answers] == [503, 503]
    runtime.close()


def test_proxies_are_addresses_or_networks(tmp_path: Path, empty_database: Path) -> None:
    with pytest.raises(ConfigInvalid, match="BILLHOOK_TRUSTED_PROXIES"):
        make_host(tmp_path, empty_database, BILLHOOK_TRUSTED_PROXIES="the-proxy")
