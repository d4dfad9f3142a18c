"""Login to the portal by mail, told with everything real but the customer: form, outbox, SMTP, mailbox, link, session."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from werkzeug.test import Client, TestResponse

from billhook_notifications.mailbox import Mailbox
from billhook_web.services.portal_login import AT_MOST, Scope
from billhook_web.stores.outbox import EffectStatus
from tests.flow.flow import Backend, Flow

HOST = "https://billing.test"
LINK = re.compile(r"https://billing\.test(/portal/enter/[\w-]+)")
FIELD = re.compile(r'name="csrf_token" value="([^"]+)"')


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


@pytest.fixture
def flow(backend: Backend, mailbox: Mailbox) -> Iterator[Flow]:
    settings = {
        "BILLHOOK_CONNECTIONS": "lago,dodo,mail=notifications",
        "BILLHOOK_PORTAL_EMAIL_LOGIN": "true",
        "MAIL_SENDER": "Acme Billing <billing@acme.test>",
        "MAIL_TIMEOUT": "60",
        **{f"MAIL_{name}": value for name, value in mailbox.environment().items()},
    }
    with Flow(backend, settings=settings).running() as running:
        running.api("PUT", "/customers/ada", name="Ada", email="ada@acme.test", locale="de-DE")
        running.settle()
        yield running


def guest(flow: Flow) -> Client:
    """Return a browser of its own."""
    return flow.client.application.test_client()


def send(browser: Client, path: str, **fields: str) -> TestResponse:
    """Open a page and send its form."""
    found = FIELD.search(browser.get(path, base_url=HOST).text)
    assert found is not None
    return browser.post(path, base_url=HOST, data={"csrf_token": found[1], **fields})


def ask(flow: Flow, address: str = "ada@acme.test") -> TestResponse:
    return send(guest(flow), "/portal/login", email=address)


def mails(flow: Flow) -> list[str]:
    """Return what became of each request, oldest first."""
    return [row.status for row in flow.effects("send_portal_links")]


def enter(flow: Flow, link: str) -> int:
    """Open a link in a browser of its own; return the status of the page behind it."""
    browser = guest(flow)
    offered = browser.get(link, base_url=HOST)
    if offered.status_code != 200:
        return offered.status_code
    assert send(browser, link).status_code == 303
    return browser.get("/portal/", base_url=HOST).status_code


def test_a_customer_asks_reads_the_mail_and_is_in(flow: Flow, mailbox: Mailbox) -> None:
    assert ask(flow).location == "/portal/login/sent"
    flow.settle()
    (mail,) = mailbox.received()
    assert mail.recipients == ("ada@acme.test",)
    assert str(mail.message["From"]) == "Acme Billing <billing@acme.test>"
    assert mail.subject == "Billing: Ihr Link zu Ihren Abrechnungsseiten"
    (link,) = LINK.findall(mail.text)
    assert LINK.findall(mail.html) == [link]
    assert guest(flow).get(link, base_url=HOST).status_code == 200  # a scanner looks first
    assert enter(flow, link) == 200
    assert enter(flow, link) == 410


def test_a_stranger_is_answered_the_same_and_gets_nothing(flow: Flow, mailbox: Mailbox) -> None:
    assert ask(flow, "stranger@acme.test").location == "/portal/login/sent"
    flow.settle()
    assert mailbox.received() == []
    assert mails(flow) == [EffectStatus.SUPERSEDED]


@pytest.mark.parametrize("how", ["not there", "takes nothing", "breaks off"])
def test_while_mail_is_down_it_waits_and_the_last_mail_has_the_only_link(
    flow: Flow, mailbox: Mailbox, how: str
) -> None:
    match how:
        case "not there":
            mailbox.refuse("CONNECT", 421)
        case "takes nothing":
            mailbox.refuse(".", 451)
        case _:
            mailbox.hang_up()
    ask(flow)
    flow.settle()
    flow.skip(timedelta(minutes=20))
    links = [link for mail in mailbox.received() for link in LINK.findall(mail.text)]
    assert len(links) == (2 if how == "breaks off" else 1)
    assert [enter(flow, link) for link in links] == [410, 200][-len(links) :]
    assert mails(flow) == [EffectStatus.DONE]


def test_an_address_the_server_refuses_is_given_up_without_naming_it(flow: Flow, mailbox: Mailbox) -> None:
    mailbox.refuse("RCPT", 550)
    ask(flow)
    flow.settle()
    assert flow.dead() == ["Refused: The mail server refuses the recipient (550)."]


def test_many_requests_at_once_count_each(flow: Flow, mailbox: Mailbox) -> None:
    """However many come at the same moment, an address gets no more mails than it may."""
    browsers = [guest(flow) for _ in range(8)]
    tokens = [FIELD.search(each.get("/portal/login", base_url=HOST).text) for each in browsers]

    def post(number: int) -> int:
        token = tokens[number]
        assert token is not None
        sent = {"csrf_token": token[1], "email": "ada@acme.test"}
        return browsers[number].post("/portal/login", base_url=HOST, data=sent).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(post, range(8))) == [303] * 8
    flow.settle()
    assert len(flow.effects("send_portal_links")) == AT_MOST[Scope.ADDRESS]
    assert 1 <= len(mailbox.received()) <= AT_MOST[Scope.ADDRESS]
    *older, newest = [LINK.findall(mail.text)[0] for mail in mailbox.received()]
    assert enter(flow, newest) == 200
    assert [enter(flow, link) for link in older] == [410] * len(older)
