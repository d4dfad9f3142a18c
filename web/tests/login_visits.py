"""A host that mails links into its portal, and browsers that ask it for them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import select
from web.tests.portal_visits import HOST, START, Browser
from werkzeug.test import TestResponse

from billhook.clock import VirtualClock
from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.plugins import Installed
from billhook.testing.fakes import FakeChannel
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.services.sweep import sweep
from billhook_web.settings import read_configuration
from billhook_web.stores.portal_tables import portal_login_counts, portal_login_mails
from billhook_web.stores.tables import effects

LINK = re.compile(r"https://billing\.test(/portal/enter/[\w-]+)")
FIELD = re.compile(r'name="csrf_token" value="([^"]+)"')


class MailPlugin:
    """A channel that keeps what it sends."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def notification_channels(self, context: ConnectionContext) -> Iterable[FakeChannel]:
        return [FakeChannel(context.name)]


class BrokenPlugin:
    """A channel whose plugin fails."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def notification_channels(self, context: ConnectionContext) -> Iterable[FakeChannel]:
        raise RuntimeError("the post office burnt down")


PLUGINS = {"fakemail": MailPlugin, "broken": BrokenPlugin}


def make_host(folder: Path, empty_database: Path, **settings: str) -> Runtime:
    path = shutil.copy(empty_database, folder / "billhook.sqlite3")
    env = {
        "BILLHOOK_DATABASE_URL": f"sqlite:///{path}",
        "BILLHOOK_API_KEY": "bh_test_0123456789abcdef",
        "BILLHOOK_PUBLIC_URL": HOST,
        "BILLHOOK_CONNECTIONS": "fakemail",
        "BILLHOOK_PORTAL_EMAIL_LOGIN": "true",
        "BILLHOOK_BRAND_NAME": "Acme",
        **settings,
    }
    installed = [Installed(name=name, load=plugin) for name, plugin in PLUGINS.items()]
    return build_runtime(read_configuration(env), clock=VirtualClock(START), installed=installed)


def ask(browser: Browser, address: str, **options: Any) -> TestResponse:
    """Open the form and send it."""
    found = FIELD.search(browser.get("/portal/login").text)
    assert found is not None
    return browser.post("/portal/login", data={"csrf_token": found[1], "email": address}, **options)


def work(runtime: Runtime) -> None:
    """Carry out what is due."""
    for effect_id, _ in sweep(runtime.db, now=runtime.clock.now()).effects:
        runtime.delivery.deliver(effect_id)


def links(channel: FakeChannel, number: int = -1) -> list[str]:
    """Return the paths of the links in a mail."""
    return LINK.findall(channel.sent[number].text)


def plain(answer: TestResponse) -> tuple[object, ...]:
    """Return everything of an answer but what differs from one request to the next."""
    varying = ("X-Request-Id", "Set-Cookie", "Date")
    return answer.status_code, answer.data, [each for each in answer.headers if each[0] not in varying]


def another(browser: Browser) -> Browser:
    return Browser(browser.runtime, browser.app)


def rows(runtime: Runtime) -> list[int]:
    """Count what requests have left: counts, mails, effects."""
    with runtime.db.read() as tx:
        tables = (portal_login_counts, portal_login_mails, effects)
        mine = effects.c.kind == "send_portal_links"
        return [
            len(tx.execute(select(table).where(mine) if table is effects else select(table)).all())
            for table in tables
        ]


def browser_of(runtime: Runtime) -> Browser:
    """Return a browser at this host."""
    return Browser(runtime, create_app(runtime, Wake(runtime)))
