"""The demo tells its story with what is installed, and it can fail."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from rich.console import Console
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import billhook_dodo
import billhook_lago
import billhook_stripe
from billhook.clock import Clock, SystemClock
from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.plugins import Installed
from billhook.provider import PaymentProvider, WebhookSource
from billhook.testing.story import StoryMeans
from billhook_dodo.config import DodoConfig
from billhook_dodo.sandbox import DodoSandbox, create_sandbox
from billhook_dodo.sandbox.story import DodoStory
from billhook_lago.sandbox import create_sandbox as create_lago
from billhook_stripe.sandbox import StripeSandbox
from billhook_stripe.sandbox import create_sandbox as create_stripe
from billhook_stripe.sandbox.story import StripeStory
from billhook_web.demo import keeping_story, run, stay
from billhook_web.demo.api import Api
from billhook_web.demo.desk import GUEST
from billhook_web.demo.play import Play
from billhook_web.demo.stage import open_stage
from billhook_web.demo.story import STEPS
from billhook_web.demo.telling import Telling
from billhook_web.demo.visitor import Visitor

LAGO = Installed(name="lago", load=lambda: billhook_lago)
DODO = Installed(name="dodo", load=lambda: billhook_dodo)


class ForgetfulStory(DodoStory):
    """The customer pays, the page says thank you, and the provider keeps nothing of it."""

    def pay(self, checkout_id: str) -> str:
        return "pay_lost"


@dataclass(frozen=True)
class ForgetfulSandbox:
    """Dodo's sandbox with another story."""

    wsgi: DodoSandbox

    @property
    def story(self) -> DodoStory:
        return ForgetfulStory(self.wsgi)

    def environment(self, base_url: str) -> Mapping[str, str]:
        return self.wsgi.environment(base_url)

    def deliver_webhooks(self) -> int:
        return self.wsgi.deliver_webhooks()

    def tick(self) -> None:
        self.wsgi.tick()


class ForgetfulPlugin:
    """Dodo's plugin with a sandbox that loses payments."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def connection_config(self) -> type[DodoConfig]:
        return billhook_dodo.connection_config()

    @hookimpl
    def payment_providers(self, context: ConnectionContext) -> Iterable[PaymentProvider]:
        return billhook_dodo.payment_providers(context)

    @hookimpl
    def webhook_sources(self, context: ConnectionContext) -> Iterable[WebhookSource]:
        return billhook_dodo.webhook_sources(context)

    @hookimpl
    def sandbox(self, clock: Clock, webhook_url: str, settings: Mapping[str, str]) -> ForgetfulSandbox:
        return ForgetfulSandbox(create_sandbox(clock=clock, webhook_url=webhook_url, settings=settings))


def tell(**options: Any) -> tuple[int, str]:
    """Run the demo once; return its exit code and what it printed."""
    paper = StringIO()
    console = Console(file=paper, width=120, color_system=None, highlight=False)
    code = run(True, options.pop("port", 0), console=console, **options)
    return code, paper.getvalue()


def test_the_story_comes_out_as_told() -> None:
    code, printed = tell(patience=20)
    assert code == 0, printed
    for title, _ in (*STEPS, *keeping_story.STEPS):
        assert title in printed
    assert "collected through Dodo Payments" in printed
    assert "collected through Stripe" in printed
    assert "✗" not in printed
    assert "came out as told" in printed
    assert max(map(len, printed.splitlines())) <= 120
    assert "\x1b" not in printed, "no colours on paper"


def test_a_payment_that_is_lost_makes_the_story_fail() -> None:
    code, printed = tell(installed=[LAGO, Installed(name="dodo", load=ForgetfulPlugin)], patience=10)
    assert code == 1
    assert "✗ Lago has the invoice as paid in full" in printed
    assert "expected: (<PaymentStatus.SUCCEEDED" in printed
    assert "did not come out as told" in printed


class ForgetfulForm(StripeStory):
    """The customer fills in the form, and nothing is saved."""

    def fill_in(self, setup: str, means: StoryMeans) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class ForgetfulFormSandbox:
    """Stripe's sandbox with that form."""

    wsgi: StripeSandbox

    @property
    def story(self) -> StripeStory:
        return ForgetfulForm(self.wsgi)

    def environment(self, base_url: str) -> Mapping[str, str]:
        return self.wsgi.environment(base_url)

    def deliver_webhooks(self) -> int:
        return self.wsgi.deliver_webhooks()

    def tick(self) -> None:
        self.wsgi.tick()


class ForgetfulStripe:
    """Stripe's plugin with a form that saves nothing."""

    BILLHOOK_API = ">=1.0,<2"
    connection_config = staticmethod(billhook_stripe.connection_config)
    payment_providers = staticmethod(billhook_stripe.payment_providers)
    webhook_sources = staticmethod(billhook_stripe.webhook_sources)

    @hookimpl
    def sandbox(self, clock: Clock, webhook_url: str, settings: Mapping[str, str]) -> ForgetfulFormSandbox:
        return ForgetfulFormSandbox(create_stripe(clock=clock, webhook_url=webhook_url, settings=settings))


def test_a_method_that_is_not_saved_makes_the_story_fail() -> None:
    installed = [LAGO, DODO, Installed(name="stripe", load=ForgetfulStripe)]
    code, printed = tell(installed=installed, patience=10)
    assert code == 1
    assert "✗ the page says what was saved, by its last digits" in printed
    assert "✗ nobody was asked: the debit is on its way" in printed


def test_it_stays_up_with_every_address_it_prints_until_it_is_stopped() -> None:
    paper = StringIO()
    telling = Telling(Console(file=paper, width=120, color_system=None, highlight=False))
    answers: dict[str, int] = {}

    def look_around() -> None:
        for url in re.findall(r"http://\S+", paper.getvalue()):
            answers[urlsplit(url).path.split("/")[-1] or url] = api.visit(url).status
        raise KeyboardInterrupt

    with (
        open_stage(port=0, patience=20, payer="stripe") as stage,
        closing(Api(stage.url, stage.api_key)) as api,
    ):
        stay(Play(stage, telling, api), wait=look_around)
        assert stage.api_key in paper.getvalue()
    pay_link, *_ = re.findall(r"/pay/(\S+)", paper.getvalue())
    assert answers.pop(pay_link) == 200
    portal_link, *_ = re.findall(r"/portal/enter/(\S+)", paper.getvalue())
    assert answers.pop(portal_link) == 200
    assert answers.pop(f"{stage.url}/demo/") == 200
    assert answers.pop("portal") == 303, "each visit gets a fresh link"
    webhook_doors = {"lago": 405, "dodo": 405, "stripe": 405}  # they take POST only
    assert answers == {
        "v1": 404,
        "docs": 200,
        f"{stage.url}/sandbox/lago/_sandbox/": 200,
        f"{stage.url}/sandbox/dodo/_sandbox/": 200,
        f"{stage.url}/sandbox/stripe/_sandbox/": 200,
        **webhook_doors,
    }
    assert "Stopped." in paper.getvalue()


def test_the_desk_lets_the_guest_in_bills_them_and_lets_days_pass() -> None:
    told: dict[str, Any] = {}

    def look_around() -> None:
        desk = Client(stage.doors["/demo"])
        links = [desk.get("/portal").location for _ in range(2)]
        told["links"] = links
        told["seen"] = Visitor(stage.url).enter(links[0]).text
        told["billed"] = desk.post("/bill").text
        before = stage.clock.now()
        told["skipped"] = desk.post("/skip", data={"span": "three days"}).text
        told["passed"] = stage.clock.now() - before
        told["refused"] = [
            desk.post("/skip", data={"span": "a year"}).status_code,
            desk.post("/bill", headers={"Sec-Fetch-Site": "cross-site"}).status_code,
            desk.get("/nothing").status_code,
        ]
        told["open"] = [each["balance"] for each in api.rows("invoices") if each["customer"] == GUEST]
        raise KeyboardInterrupt

    telling = Telling(Console(file=StringIO(), width=120))
    with (
        open_stage(port=0, patience=20, payer="stripe") as stage,
        closing(Api(stage.url, stage.api_key)) as api,
    ):
        stay(Play(stage, telling, api), wait=look_around)
    assert len(set(told["links"])) == 2
    assert "No payment method yet" in told["seen"]
    assert "is billed 42.00 EUR; all that follows is done." in told["billed"]
    assert "Three days passed" in told["skipped"]
    assert told["passed"] >= timedelta(days=3)
    assert told["refused"] == [404, 403, 404]
    assert sorted(told["open"]) == [4_200, 4_900]


def test_a_sigterm_ends_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from billhook_web.cli import main; main()", "demo", "--port", "0"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("billhook-demo-*/billhook.sqlite3")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.terminate()
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait(10)
    assert list(tmp_path.glob("billhook-demo-*")) == []


@pytest.mark.parametrize(
    ("installed", "role"), [([DODO], "billing engine"), ([LAGO], "payment provider"), ([], "billing engine")]
)
def test_a_role_that_nobody_can_play_is_named(installed: list[Installed], role: str) -> None:
    code, printed = tell(installed=installed)
    assert code == 1
    assert role in printed
    assert "pip install" in printed


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, printed = tell(port=port)
    assert code == 1
    assert f"Port {port} is taken." in printed


def test_a_sandbox_that_is_served_under_a_path_finds_its_routes_and_links_to_itself() -> None:
    sandbox = create_lago(clock=SystemClock(), webhook_url=None)
    client = Client(DispatcherMiddleware(NotFound(), {"/sandbox/lago": sandbox.wsgi}))
    headers = {"Authorization": f"Bearer {sandbox.environment('http://localhost')['API_KEY']}"}
    root = "/sandbox/lago/api/v1/customers"
    made = client.post(root, json={"customer": {"external_id": "a/b", "name": "Ada"}}, headers=headers)
    assert made.status_code == 200
    assert client.get(f"{root}/a%2Fb", headers=headers).status_code == 200
    portal = client.get(f"{root}/a%2Fb/portal_url", headers=headers).get_json()["customer"]["portal_url"]
    assert portal.startswith("http://localhost/sandbox/lago/")
