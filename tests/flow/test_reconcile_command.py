"""``billhook reconcile`` and ``billhook gaps`` against a sandbox on loopback."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from billhook.clock import SystemClock
from billhook.http import ApiClient
from billhook.testing.sandbox import Fault, FaultKind
from billhook_lago.sandbox import LagoSandbox
from billhook_web.cli import main

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _put_logging_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lago() -> LagoSandbox:
    sandbox = LagoSandbox(clock=SystemClock(), post=lambda _body, _headers: 200)
    client = ApiClient(
        name="lago",
        base_url="http://x/api/v1",
        headers={"Authorization": "Bearer lago-sandbox-key"},
        app=sandbox,
    )
    customer = {"external_id": "acct_1", "name": "Acme", "currency": "EUR"}
    assert client.post("customers", json={"customer": customer}).ok
    sandbox.issue_invoice("acct_1", 12000)
    return sandbox


@pytest.fixture
def run(tmp_path: Path, lago: LagoSandbox) -> Iterator[Run]:
    server = make_server("127.0.0.1", 0, lago, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    settings = {
        "LAGO_API_URL": f"{url}/api/v1",
        "LAGO_API_KEY": "lago-sandbox-key",
        "LAGO_WEBHOOK_SECRET": "lago-sandbox-hmac-key",
    }
    env = {"BILLHOOK_HOME": str(tmp_path), "BILLHOOK_CONNECTIONS": "lago", "COLUMNS": "200", **settings}
    assert CliRunner().invoke(main, ["db", "upgrade"], env=env).exit_code == 0
    yield lambda *arguments, **more: CliRunner().invoke(main, arguments, env=env | more)
    server.shutdown()
    thread.join(timeout=5)
    server.server_close()


def test_a_dry_run_shows_what_is_missing_and_a_run_records_it(run: Run) -> None:
    dry = run("reconcile", "--dry-run", "--since", "all", "--json")
    assert dry.exit_code == 0, dry.output
    found = {(each["kind"], tuple(each["changed"])) for each in json.loads(dry.stdout)}
    assert found == {("customer", ("new",)), ("invoice", ("new",))}
    done = run("reconcile", "--since", "1d", "--json")
    (row,) = json.loads(done.stdout)
    assert (done.exit_code, row["status"], row["facts"]) == (0, "done", 3)
    again = json.loads(run("reconcile", "--json").stdout)
    assert [each["facts"] for each in again] == [0]
    assert "Nothing is missing." in run("reconcile", "--dry-run").stderr


def test_progress_is_told_on_stderr_and_a_table_on_stdout(run: Run) -> None:
    told = run("reconcile", "--connection", "lago", "--since", "2026-09-01")
    assert "3 new facts" in told.stderr
    assert told.stdout.splitlines()[0].split() == [
        "connection", "status", "since", "until", "seen", "facts", "gaps", "error",
    ]  # fmt: skip
    assert "Reconciling" not in told.stdout


def test_gaps_are_listed(run: Run) -> None:
    assert "No gaps." in run("gaps", "list").stderr
    assert json.loads(run("gaps", "list", "--json").stdout) == []


def test_a_provider_that_is_down_fails_the_command_and_nothing_is_lost(run: Run, lago: LagoSandbox) -> None:
    lago.faults.add(Fault(kind=FaultKind.ERROR, path="invoices", times=1))
    lago.faults.add(Fault(kind=FaultKind.RATE_LIMITED, path="credit_notes", times=1))
    told = run("reconcile", "--since", "all", "--json")
    assert told.exit_code == 0, told.output  # it waits and tries again
    assert [each["status"] for each in json.loads(told.stdout)] == ["done"]


def test_a_wrong_key_is_told(run: Run) -> None:
    told = run("reconcile", LAGO_API_KEY="another-key")
    assert told.exit_code == 1
    assert "LAGO_API_KEY" in told.stdout
    dry = run("reconcile", "--dry-run", LAGO_API_KEY="another-key")
    assert (dry.exit_code, "LAGO_API_KEY" in dry.stderr) == (1, True)


def test_what_cannot_be_reconciled_is_told(run: Run) -> None:
    assert "nowhere cannot be reconciled" in run("reconcile", "--connection", "nowhere").stderr
    assert "Nothing is connected" in run("reconcile", BILLHOOK_CONNECTIONS="").stderr
    wrong = run("reconcile", "--since", "yesterday")
    assert (wrong.exit_code, "is no moment" in wrong.stderr) == (2, True)
