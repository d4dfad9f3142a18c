"""The snippets of "Ask from your app" do what the page says: Flask's are run, the others are compiled."""

from __future__ import annotations

import importlib.util
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer

from billhook.client import BillhookClient
from billhook.clock import SystemClock, VirtualClock
from billhook.lease import Lease, Subject, jwks_of, key_id, public_of, sign_lease
from billhook.signing import StandardWebhooks
from tests.documents import DOCS, blocks

PAGE = DOCS / "how-to" / "ask-from-your-app.md"
SNIPPETS = {name: block.code for block in blocks(PAGE) if (name := block.mark("file")) is not None}
DECISION = {
    "customer": "cus_42", "state": "suspended", "standing": "suspended", "access": "none", "block_changes": True,
    "reasons": [{"text": "Invoice I2 is 30 days overdue."}], "next_change_at": None, "subscriptions": {}, "version": 2,
}  # fmt: skip
NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


def loaded(name: str, folder: Path) -> ModuleType:
    file = folder / name
    file.write_text(SNIPPETS[name], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SNIPPETS)
def test_every_snippet_is_python_and_imports_only_what_the_client_offers(name: str) -> None:
    import billhook.client

    compiled = compile(SNIPPETS[name], name, "exec")
    assert compiled.co_names
    taken = [line for line in SNIPPETS[name].splitlines() if line.startswith("from billhook.client import ")]
    words = [word.strip() for line in taken for word in line.partition(" import ")[2].split(",")]
    assert words
    assert set(words) <= set(billhook.client.__all__)


def test_the_flask_snippets_let_in_who_may_and_hear_of_a_change(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    active = {
        **DECISION,
        "state": "active",
        "standing": "clear",
        "access": "full",
        "reasons": [],
        "version": 1,
    }
    httpserver.expect_request("/api/v1/customers/cus_42/access").respond_with_json(active)
    secret = f"whsec_{b64encode(bytes(24)).decode()}"
    clock = VirtualClock(NOW)
    with BillhookClient(
        httpserver.url_for(""), "bh_live_key", on_outage="last_known", clock=clock, timeout=20
    ) as billing:
        app: Flask = loaded("flask_app.py", tmp_path).create_app(billing)
        assert app.test_client().get("/report").get_data(as_text=True) == "active, full"
        hooks = Flask("hooks")
        loaded("hooks_app.py", tmp_path).add_hook(hooks, billing, [secret])
        said = {"type": "access.changed", "timestamp": NOW.isoformat()}
        body = json.dumps(
            {**said, "data": {"customer": "cus_42", "version": 2, "old": active, "new": DECISION}}
        ).encode()
        signed = StandardWebhooks([secret]).sign(body, webhook_id="msg_1", at=SystemClock().now())
        caller = hooks.test_client()
        assert caller.post("/hooks/billing", data=b"{}", headers=signed).status_code == 401
        assert caller.post("/hooks/billing", data=body, headers=signed).status_code == 204
        httpserver.clear()  # from here on everything is answered 500
        answer = app.test_client().get("/report")
        assert (answer.status_code, "30 days overdue" in answer.get_data(as_text=True)) == (402, True)
    httpserver.clear()


def test_the_lease_snippet_believes_the_right_lease_only(tmp_path: Path) -> None:
    seed, now = bytes(range(32)), SystemClock().now()
    lease = Lease(
        issuer="https://billing.test", kind=Subject.CUSTOMER, subject="cus_42", issued_at=now,
        expires_at=now + timedelta(minutes=5), version=1, state="active", standing="clear", access="full",
        block_changes=False,
    )  # fmt: skip
    public = public_of(seed)
    edge = loaded("edge.py", tmp_path)
    token, jwks = sign_lease(lease, seed=seed), jwks_of({key_id(public): public})
    assert edge.may_enter(token, jwks, "cus_42") is True
    assert edge.may_enter(token, jwks, "cus_43") is False
