"""Login to the portal by a link in a mail: who gets which links, what they are good for, and what nobody learns."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from web.tests.login_visits import LINK, another, ask, browser_of, links, make_host, plain, rows, work
from web.tests.portal_visits import Browser, register

from billhook.testing.fakes import FakeChannel
from billhook.testing.sandbox import FaultKind
from billhook_web.runtime import Runtime
from billhook_web.stores import audit, outbox


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


# --- in by mail ------------------------------------------------------------------------------------------------------


def test_a_customer_gets_in_by_a_link_in_a_mail(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    asked = ask(browser, " ada@acme.TEST ")
    assert (asked.status_code, asked.location) == (303, "/portal/login/sent")
    work(runtime)
    (mail,) = channel.sent
    assert mail.recipient == "Ada@Acme.test"
    (link,) = links(channel)
    assert browser.go_in(link).location == "/portal/"
    assert "Ada" in browser.get("/portal/").text


def test_the_html_of_a_mail_leads_to_the_same_place(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    ask(browser, "ada@acme.test")
    work(runtime)
    assert channel.sent[0].html is not None
    assert LINK.findall(channel.sent[0].html) == links(channel)


def test_customers_with_one_address_get_a_link_each_in_one_mail(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    register(runtime, "bee", name="Bee <b>& Co</b>\n.com", email="Ada@Acme.test")
    ask(browser, "ada@acme.test")
    work(runtime)
    (mail,) = channel.sent
    first, second = links(channel)
    assert mail.text.index("Ada:") < mail.text.index(first) < mail.text.index("Bee <b>& Co</b> .com:")
    assert "<b>" not in (mail.html or "")
    for link, name in ((first, "Ada"), (second, "Bee")):
        guest = another(browser)
        guest.go_in(link)
        assert name in guest.get("/portal/").text


def test_an_address_that_only_looks_the_same_gets_no_link_of_another_s(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    """The sign for kelvin is a k in small letters. Whoever registered it must not be sent the other's link."""
    register(runtime, "bike", name="Bike", email="bike@acme.test")
    register(runtime, "thief", name="Thief", email="bi\N{KELVIN SIGN}e@acme.test")
    ask(browser, "bike@acme.test")
    work(runtime)
    for mail in channel.sent:
        guest = another(browser)
        (link,) = LINK.findall(mail.text)
        guest.go_in(link)
        assert ("Bike" in guest.get("/portal/").text) is (mail.recipient == "bike@acme.test")


def test_a_german_customer_gets_a_german_mail(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    register(runtime, "ada", locale="de-AT")
    ask(browser, "ada@acme.test")
    work(runtime)
    (mail,) = channel.sent
    assert (mail.locale, mail.subject) == ("de-AT", "Acme: Ihr Link zu Ihren Abrechnungsseiten")
    assert "Er funktioniert einmal und ab jetzt 15 Minuten lang" in mail.text


def test_without_a_locale_the_mail_speaks_as_the_page_did(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    asked = ask(browser, "ada@acme.test", headers={"Accept-Language": "de-DE"})
    assert asked.status_code == 303
    work(runtime)
    assert channel.sent[0].subject == "Acme: Ihr Link zu Ihren Abrechnungsseiten"


def test_an_erased_customer_gets_none(browser: Browser, runtime: Runtime, channel: FakeChannel) -> None:
    runtime.erasure.erase("ada", note=lambda _tx: None)
    ask(browser, "ada@acme.test")
    work(runtime)
    assert channel.sent == []


def test_a_customer_erased_after_asking_gets_none(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    ask(browser, "ada@acme.test")
    runtime.erasure.erase("ada", note=lambda _tx: None)
    work(runtime)
    assert channel.sent == []


def test_a_customer_the_version_before_wrote_is_found_by_the_exact_spelling(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    with runtime.db.begin() as tx:
        tx.exec_driver_sql("UPDATE customers SET email_key = NULL")
    ask(browser, "Ada@Acme.test")
    work(runtime)
    assert len(channel.sent) == 1


# --- links -----------------------------------------------------------------------------------------------------------


def test_a_scanner_that_opens_the_link_uses_nothing_up(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    ask(browser, "ada@acme.test")
    work(runtime)
    (link,) = links(channel)
    for _ in range(3):
        assert another(browser).get(link).status_code == 200
    assert browser.go_in(link).status_code == 303


def test_a_link_lets_in_once(browser: Browser, runtime: Runtime, channel: FakeChannel) -> None:
    ask(browser, "ada@acme.test")
    work(runtime)
    (link,) = links(channel)
    browser.go_in(link)
    again = another(browser).go_in(link)
    assert again.status_code == 410
    assert '"/portal/login"' in again.text


@pytest.mark.parametrize(("minutes", "status"), [(14, 303), (15, 410)])
def test_a_link_works_for_fifteen_minutes_from_when_it_was_sent(
    browser: Browser, runtime: Runtime, channel: FakeChannel, minutes: int, status: int
) -> None:
    ask(browser, "ada@acme.test")
    browser.wait(minutes=20)
    work(runtime)
    browser.wait(minutes=minutes)
    assert browser.go_in(links(channel)[0]).status_code == status


def test_a_newer_mail_ends_the_links_of_the_one_before_and_no_others(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    from_an_app = browser.link("ada")
    for _ in range(2):
        ask(browser, "ada@acme.test")
        work(runtime)
    (old,), (new,) = links(channel, 0), links(channel, 1)
    assert another(browser).go_in(old).status_code == 410
    assert another(browser).go_in(new).status_code == 303
    assert another(browser).go_in(from_an_app).status_code == 303


@pytest.mark.parametrize(("fault", "mails"), [(FaultKind.UNAVAILABLE, 1), (FaultKind.LOST_ANSWER, 2)])
def test_a_mail_that_failed_is_sent_again_with_the_only_link_that_works(
    browser: Browser, runtime: Runtime, channel: FakeChannel, fault: FaultKind, mails: int
) -> None:
    channel.strikes.add(fault)
    ask(browser, "ada@acme.test")
    work(runtime)
    browser.wait(minutes=10)
    work(runtime)
    assert len(channel.sent) == mails
    works = [another(browser).go_in(links(channel, number)[0]).status_code for number in range(mails)]
    assert works == [410, 303][-mails:]
    assert len({each.key for each in channel.sent}) == mails


def test_several_requests_while_no_mail_goes_out_are_one_mail(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    channel.strikes.add(FaultKind.UNAVAILABLE)
    ask(browser, "ada@acme.test")
    work(runtime)
    ask(browser, "ada@acme.test")
    browser.wait(minutes=10)
    work(runtime)
    work(runtime)
    assert len(channel.sent) == 1


def test_a_mail_nobody_waits_for_any_more_is_not_sent(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    ask(browser, "ada@acme.test")
    browser.wait(minutes=61)
    work(runtime)
    assert channel.sent == []


def test_a_refused_address_is_a_dead_letter_that_names_nobody(
    browser: Browser, runtime: Runtime, channel: FakeChannel
) -> None:
    channel.unknown.add("Ada@Acme.test")
    ask(browser, "ada@acme.test")
    work(runtime)
    with runtime.db.read() as tx:
        (row,) = outbox.page(tx, status="dead")
    assert row.error == "Refused: nobody has this address"


# --- nobody learns who is a customer -----------------------------------------------------------------------------------


def test_the_answer_is_the_same_whoever_the_address_belongs_to(browser: Browser, runtime: Runtime) -> None:
    register(runtime, "bee", name="Bee", email="bee@acme.test")
    register(runtime, "two", name="Two", email="bee@acme.test")
    register(runtime, "gone", name="Gone", email="gone@acme.test")
    runtime.erasure.erase("gone", note=lambda _tx: None)
    answers = [
        (plain(ask(browser, address)), plain(browser.get("/portal/login/sent")))
        for address in ("nobody@acme.test", "ada@acme.test", "bee@acme.test", "gone@acme.test")
    ]
    assert answers == [answers[0]] * 4


def test_the_same_is_written_whoever_the_address_belongs_to(browser: Browser, runtime: Runtime) -> None:
    """So it takes the same time, too: each request counts, plans one effect, and looks nothing more up."""
    written = []
    for address in ("nobody@acme.test", "ada@acme.test"):
        before = rows(runtime)
        ask(browser, address)
        written.append([now - then for now, then in zip(rows(runtime), before, strict=True)])
    assert written[0] == [3, 1, 1]
    assert written[1] == [1, 1, 1]  # the client and the whole were counted before


def test_no_address_link_or_token_is_kept_or_logged(
    browser: Browser,
    runtime: Runtime,
    channel: FakeChannel,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(browser, "ada@acme.test")
        ask(browser, "stranger@elsewhere.test")
        work(runtime)
        browser.go_in(links(channel)[0])
    logged = caplog.text + "".join(capsys.readouterr())
    assert "portal.login_asked" in logged
    (link,) = links(channel)
    token = link.rpartition("/")[2]
    with runtime.db.read() as tx:
        names = tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        held = {name: repr(tx.exec_driver_sql(f'SELECT * FROM "{name}"').all()) for name in names}
    for secret in (token, "stranger@elsewhere.test", "127.0.0.1"):
        assert [name for name, text in held.items() if secret in text] == []
    assert [name for name, text in held.items() if "ada@acme.test" in text.lower()] == ["customers"]
    for secret in (token, "stranger", "ada@acme.test"):
        assert secret not in logged


def test_the_audit_says_who_was_mailed(browser: Browser, runtime: Runtime) -> None:
    ask(browser, "ada@acme.test")
    work(runtime)
    with runtime.db.read() as tx:
        (entry,) = audit.page(tx, action="portal.mail_link")
    assert (entry.actor, entry.subject) == ("host", "ada")
