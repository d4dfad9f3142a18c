"""No configured secret is ever shown: the host is driven through success and failure, and everything it says is read."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from billhook.clock import VirtualClock
from billhook.config import masked, secrets_of
from billhook.errors import ConfigInvalid
from billhook.http import ApiClient
from billhook.plugins import load_plugins
from billhook_web import logs
from billhook_web.db import Database, DatabaseError
from billhook_web.doctor import Examination, examine
from billhook_web.doctor.clocks import DateHeaders
from billhook_web.runtime import build_runtime, read_and_check
from billhook_web.sealing import Sealer, new_key
from billhook_web.services.keeping import Keeping
from billhook_web.settings import Configuration, read_configuration
from billhook_web.stores import schema
from billhook_web.stores import secrets as stored
from tests.flow.flow import API_KEY, START, Backend, Flow

TOKEN = "metrics-token-that-nobody-may-see"
DATABASE_PASSWORD = "database-password/that+nobody may see"
REDIS_PASSWORD = "redis-password-that-nobody-may-see"
STORED = {
    "api_key": "stored-api-key-that-nobody-may-see",
    "webhook_secret": "stored-hmac-key-that-nobody-may-see",
    "refused": "refused-api-key-that-nobody-may-see",
}
ANSWERS = ("302 Found", "401 Unauthorized", "403 Forbidden", "404 Not Found", "422 Unprocessable Entity",
           "429 Too Many Requests", "500 Internal Server Error", "200 OK")  # fmt: skip


class Echo:
    """A provider that may turn rude: it answers with whatever credentials it was sent, wherever they can be put."""

    def __init__(self) -> None:
        self.app: Any = None
        self.answer: str | None = None
        self.echoed = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if self.answer is None:
            forwarded: Iterable[bytes] = self.app(environ, start)
            return forwarded
        self.echoed += 1
        key = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        start(self.answer, [
            ("Content-Type", "application/json"),
            ("Location", f"https://{key}.example/{key}?key={key}"),
            ("X-Request-Id", key),
        ])  # fmt: skip
        told = {"code": key, "error": key, "message": f"no: {key}", "error_details": {key: [key]}}
        return [json.dumps(told).encode() if not self.answer.startswith("2") else f"<p>{key}".encode()]


class Said:
    """Everything that was said, by where."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self._texts: dict[str, list[str]] = {}

    def note(self, where: str, what: object) -> None:
        self._texts.setdefault(where, []).append(str(what))

    def texts(self) -> dict[str, str]:
        return {"log": self.log.getvalue(), **{where: "\n".join(all_) for where, all_ in self._texts.items()}}


@pytest.fixture
def said() -> Iterator[Said]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    noted = Said()
    logs.configure("DEBUG", stream=noted.log, terminal=False)
    yield noted
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lago() -> Echo:
    return Echo()


@pytest.fixture
def dodo() -> Echo:
    return Echo()


@pytest.fixture
def flow(tmp_path: Path, said: Said, lago: Echo, dodo: Echo) -> Iterator[Flow]:
    backend = Backend("sqlite", f"sqlite:///{tmp_path / 'billhook.sqlite3'}", None)
    made = Flow(
        backend,
        settings={"BILLHOOK_METRICS_TOKEN": TOKEN},
        apps={"http://lago.test": lago, "http://dodo.test": dodo},
    )
    lago.app, dodo.app = made.lago, made.dodo
    with made.running() as running:
        yield running


def secrets(configuration: Configuration, *more: Any) -> set[str]:
    found = {each for settings in (configuration.host, *more) for each in secrets_of(settings)}
    return found | {quote(each, safe="") for each in found}


def configured(flow: Flow) -> set[str]:
    settings = [each.settings for each in flow.runtime.connections.all()]
    return secrets(flow.runtime.configuration, *settings) - {flow.runtime.db.url.render_as_string()}


def drive(flow: Flow, said: Said, lago: Echo, dodo: Echo) -> None:
    """Success first, then every kind of failure."""
    flow.api("PUT", "/customers/acct_1", name="Acme", email="billing@acme.example", currency="EUR")
    flow.settle()
    flow.lago.issue_invoice("acct_1", 12000)
    flow.settle()
    (checkout,) = flow.dodo.checkouts
    flow.dodo.pay(checkout["session_id"])
    flow.settle()
    for number, answer in enumerate(ANSWERS):
        flow.lago.issue_invoice("acct_1", 5000 + number)
        lago.answer = dodo.answer = answer
        flow.api("PUT", f"/customers/rude_{number}", name="Acme", email="billing@acme.example")
        flow.settle()
        ask_providers(flow, said)
        lago.answer = dodo.answer = None
    for secret in sorted(configured(flow)):
        send_as_signature(flow, said, secret)


def ask_providers(flow: Flow, said: Said) -> None:
    for name in ("lago", "dodo"):
        said.note("API", call(flow, f"/api/v1/connections/{name}/check").get_data(as_text=True))
    said.note("API", call(flow, "/api/v1/plans").get_data(as_text=True))

    def http(*, base_url: str, **options: Any) -> ApiClient:
        return ApiClient(base_url=base_url, app=flow.lago, **options)

    runtime = flow.runtime
    given = Examination(
        runtime=runtime, http=http, dates=DateHeaders(runtime.clock), resolve=lambda _: ["1.1.1.1"]
    )
    said.note("doctor", examine(given))


def send_as_signature(flow: Flow, said: Said, secret: str) -> None:
    """Somebody mistakes one credential for another, everywhere."""
    headers = {
        "Authorization": f"Bearer x{secret}", "X-Lago-Signature": secret, "webhook-signature": f"v1,{secret}",
        "webhook-id": secret, "webhook-timestamp": "1", "X-Request-Id": "r1",
    }  # fmt: skip
    for path in ("/webhooks/lago", "/webhooks/dodo", "/api/billing/webhooks"):
        said.note("webhooks", flow.client.post(path, data=b"{}", headers=headers).get_data(as_text=True))
    for path in ("/metrics", "/api/v1/customers", "/pay/none"):
        said.note("refusals", flow.client.get(path, headers=headers).get_data(as_text=True))


def call(flow: Flow, path: str) -> Any:
    return flow.client.get(path, headers={"Authorization": f"Bearer {API_KEY}"})


def read_everything(flow: Flow, said: Said) -> None:
    for path in ("customers", "invoices", "payments", "subscriptions", "connections", "audit"):
        said.note("API", call(flow, f"/api/v1/{path}?limit=200").get_data(as_text=True))
    for kind in ("events", "effects"):
        rows = call(flow, f"/api/v1/{kind}?limit=200").get_json()["data"]
        for row in rows:
            said.note(kind, call(flow, f"/api/v1/{kind}/{row['id']}").get_data(as_text=True))
    metrics = flow.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert metrics.status_code == 200
    said.note("metrics", metrics.get_data(as_text=True))
    said.note("readyz", flow.client.get("/readyz").get_data(as_text=True))
    runtime = flow.runtime
    said.note("repr", repr(runtime))
    for field in fields(runtime):
        part = getattr(runtime, field.name)
        said.note("repr", f"{part!r} {part}")
    for each in runtime.connections.all():
        parts = (each, each.settings, each.engine, each.provider, each.source)
        said.note("repr", " ".join(f"{part!r} {part}" for part in parts))
        assert each.settings is not None
        said.note("masked", masked(each.settings))


def test_no_secret_is_in_anything_a_host_says(flow: Flow, said: Said, lago: Echo, dodo: Echo) -> None:
    drive(flow, said, lago, dodo)
    read_everything(flow, said)
    looked_for = configured(flow)
    assert len(looked_for) >= 6
    assert {API_KEY, TOKEN} < looked_for
    assert min(lago.echoed, dodo.echoed) >= 2 * len(ANSWERS), "the providers were rude often enough"
    texts = said.texts()
    assert all(len(text) > 100 for text in texts.values()), {
        where: len(text) for where, text in texts.items()
    }
    assert "effect.tried" in texts["log"]
    assert "***" in texts["effects"], "what the providers echoed reached the host"
    shown = [(where, secret) for where, text in texts.items() for secret in looked_for if secret in text]
    assert shown == []


def test_no_stored_or_rotated_secret_is_in_anything_a_host_says(
    tmp_path: Path, said: Said, lago: Echo, dodo: Echo
) -> None:
    backend = Backend("sqlite", f"sqlite:///{tmp_path / 'billhook.sqlite3'}", None)
    key = new_key()
    env = {"BILLHOOK_CONNECTIONS": "lago,dodo", "BILLHOOK_DATABASE_URL": backend.database_url}
    operator = Keeping(
        configuration=read_configuration({**env, "BILLHOOK_SECRET_KEY": key}),
        registry=load_plugins({"lago", "dodo"}),
        db=Database(backend.database_url),
        clock=VirtualClock(START),
        sealer=Sealer.of([key]),
        actor="cli:ann",
    )
    schema.upgrade(operator.db)
    operator.store("lago", "api_key", STORED["api_key"])
    operator.store("lago", "webhook_secret", "lago-sandbox-hmac-key")
    made = Flow(
        backend,
        settings={
            "BILLHOOK_METRICS_TOKEN": TOKEN, "BILLHOOK_SECRET_KEY": key, "LAGO_API_KEY": "", "LAGO_WEBHOOK_SECRET": ""
        },
        apps={"http://lago.test": lago, "http://dodo.test": dodo},
    )  # fmt: skip
    lago.app, dodo.app = made.lago, made.dodo
    with made.running() as flow:
        said.note(
            "operator", operator.rotate("lago", "api_key", "lago-sandbox-key", overlap=timedelta(days=1))
        )
        shown = operator.rotate("lago", "webhook_secret", STORED["webhook_secret"], overlap=timedelta(days=1))
        said.note("operator", f"{shown!r} {operator!r} {operator.listed()!r}")
        flow.runtime.renewal.check()
        drive(flow, said, lago, dodo)
        operator.rotate("lago", "api_key", STORED["refused"], overlap=timedelta(days=1))
        flow.runtime.renewal.check()
        flow.api("PUT", "/customers/late", name="Late", email="billing@acme.example")
        flow.settle()
        tell_of_a_broken_one(flow, said)
        read_everything(flow, said)
    looked_for = {*configured(flow), *STORED.values(), key, "lago-sandbox-hmac-key"}
    said.note("dump", dump(tmp_path / "billhook.sqlite3"))
    operator.db.close()
    texts = said.texts()
    assert "bhs1." in texts["dump"]
    assert "connection.older_key" in texts["log"]
    assert "connection.settings_refused" in texts["log"]
    assert [(where, secret) for where, text in texts.items() for secret in looked_for if secret in text] == []


def tell_of_a_broken_one(flow: Flow, said: Said) -> None:
    """A value that no key opens comes into the table past every check."""
    with flow.runtime.db.begin() as tx:
        stored.put(
            tx,
            "lago",
            "api_key",
            sealed=Sealer.of([new_key()]).seal(STORED["refused"], purpose="x"),
            now=START,
        )
    flow.runtime.renewal.check()
    said.note("listed", call(flow, "/api/v1/connections").get_data(as_text=True))


def dump(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return "\n".join(db.iterdump())


def test_no_secret_is_in_what_a_broken_configuration_is_told(said: Said) -> None:
    env = {
        "BILLHOOK_CONNECTIONS": "lago,dodo,Bad Name",
        "BILLHOOK_API_KEY": "too-short-secret",
        "BILLHOOK_METRICS_TOKEN": TOKEN,
        "BILLHOOK_LOG_LEVEL": "LOUD",
        "LAGO_API_URL": f"not-a-url-{TOKEN}",
        "LAGO_API_KEY": "lago key\nwith a line break",
        "LAGO_WEBHOOK_ALGORITHM": "rot13",
        "DODO_API_KEY": "dodo-key-that-nobody-may-see",
        "DODO_WEBHOOK_SECRET": "whsec_not-base64-and-secret!",
        "DODO_MODE": "both",
    }
    with pytest.raises(ConfigInvalid) as raised:
        read_and_check(env)
    said.note("problems", f"{raised.value} {raised.value!r} {raised.value.problems!r}")
    looked_for = {value for name, value in env.items() if name.endswith(("_KEY", "_SECRET"))}
    text = "\n".join(said.texts().values())
    assert "BILLHOOK_LOG_LEVEL" in text
    assert [secret for secret in looked_for if secret in text] == []


def test_no_password_of_a_server_is_shown_when_it_does_not_answer(said: Said) -> None:
    env = {
        "BILLHOOK_DATABASE_URL": f"postgresql://ann:{quote(DATABASE_PASSWORD, safe='')}@127.0.0.1:9/books",
        "BILLHOOK_REDIS_URL": f"redis://:{REDIS_PASSWORD}@127.0.0.1:9/0",
    }
    configuration = read_configuration(env)
    runtime = build_runtime(configuration)
    with pytest.raises(DatabaseError) as raised:
        schema.upgrade(runtime.db)
    said.note("error", f"{raised.value} {raised.value!r}")
    said.note("repr", f"{runtime!r} {runtime.db.url} {runtime.db.engine!r} {configuration!r}")
    given = Examination(
        runtime=runtime,
        http=DateHeaders(runtime.clock),
        dates=DateHeaders(runtime.clock),
        resolve=lambda _: [],
    )
    said.note("doctor", [str(each) for each in examine(given)])
    said.note(
        "hidden", runtime.hide(f"{DATABASE_PASSWORD} {quote(DATABASE_PASSWORD, safe='')} {REDIS_PASSWORD}")
    )
    runtime.close()
    looked_for = {DATABASE_PASSWORD, quote(DATABASE_PASSWORD, safe=""), REDIS_PASSWORD, *env.values()}
    texts = said.texts()
    assert texts["hidden"] == "*** *** ***"
    assert [(where, each) for where, text in texts.items() for each in looked_for if each in text] == []
