"""``billhook access``: what people read, what programs read, and how it fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import structlog
from click.testing import CliRunner, Result

from billhook.events import CustomerObserved, InvoiceFinalized, SubscriptionStarted
from billhook.model import Ref
from billhook_web.cli import main
from billhook_web.runtime import build_runtime
from billhook_web.settings import HostSettings, read_configuration
from billhook_web.stores import audit, schema

Run = Callable[..., Result]

POLICY = """
[access]

[[access.rules]]
state = "exempt"
when = { has_tag = "exempt" }

[[access.rules]]
state = "suspended"
when = { overdue_days = 30 }
access = "none"
"""
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _put_logging_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    unset: dict[str, str | None] = {f"BILLHOOK_{name.upper()}": None for name in HostSettings.model_fields}
    isolated = unset | {"HOME": str(tmp_path), "BILLHOOK_HOME": str(tmp_path), "COLUMNS": "200"}

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["access", *arguments], env=isolated)

    return invoke


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Any]:
    """A host with one customer who owes 49 euros since January."""
    runtime = build_runtime(read_configuration({"BILLHOOK_HOME": str(tmp_path)}))
    schema.upgrade(runtime.db)
    known = CustomerObserved(ref=Ref("acme", "c1"), customer_id="cus_1", at=BEGIN, name="[Ada]")
    started = SubscriptionStarted(
        ref=Ref("acme", "s1"), external_id="main", customer_id="cus_1", plan="pro", at=BEGIN
    )
    invoice = InvoiceFinalized(
        ref=Ref("acme", "in_1"), customer_id="cus_1", at=BEGIN, currency="EUR", total=4900, taxes=0, due=4900,
        issued_on=date(2026, 1, 1), due_on=date(2026, 1, 1), subscriptions=("main",),
    )  # fmt: skip
    with runtime.db.begin() as tx:
        runtime.recorder.hear(tx, [known, started, invoice], now=runtime.clock.now())
    yield runtime
    runtime.close()


@pytest.fixture
def policy(tmp_path: Path) -> str:
    file = tmp_path / "policy.toml"
    file.write_text(POLICY, encoding="utf-8")
    return str(file)


def activated(run: Run, policy: str) -> None:
    assert run("policies", "add", "standard", policy).exit_code == 0
    assert run("policies", "activate", "standard", "--reason", "agreed").exit_code == 0


def test_show_tells_the_answer_the_reason_and_a_timeline(run: Run, host: Any, policy: str) -> None:
    activated(run, policy)
    said = run("show", "cus_1")
    assert said.exit_code == 0, said.output
    assert "suspended" in said.stdout
    assert "Invoice acme:in_1 (49.00 EUR)" in said.stdout
    assert "stays like this until something new happens" in said.stdout
    assert said.stdout.count("UTC") >= 3
    asked = json.loads(run("show", "cus_1", "--json").stdout)
    assert (asked["access"], asked["version"], [each["cause"] for each in asked["history"]]) == (
        "none", 2, ["fact", "policy"],
    )  # fmt: skip


def test_show_tells_another_instant_and_what_would_come_of_it(run: Run, host: Any, policy: str) -> None:
    activated(run, policy)
    asked = json.loads(run("show", "cus_1", "--at", "2099-01-01", "--json").stdout)
    assert (asked["at"], asked["standing"], asked["coming"]) == ("2099-01-01T00:00:00Z", "suspended", [])
    assert run("show", "cus_1", "--at", "2026-01-05").exit_code == 0
    wrong = run("show", "cus_1", "--at", "soon")
    assert (wrong.exit_code, "write 2026-09-01" in wrong.stderr) == (2, True)


def test_a_customer_nobody_knows_is_named(run: Run, host: Any) -> None:
    for command in (("show", "cus_9"), ("tag", "cus_9", "vip", "--reason", "r")):
        said = run(*command)
        assert (said.exit_code, "Traceback" in said.output) == (1, False)
        assert "customer" in said.stderr


def test_an_exemption_counts_at_once_and_is_audited(run: Run, host: Any, policy: str) -> None:
    activated(run, policy)
    said = json.loads(run("exempt", "cus_1", "--reason", "a friend", "--json").stdout)
    assert (said["changed"], said["access"]) == (True, "full")
    again = json.loads(run("exempt", "cus_1", "--reason", "a friend", "--json").stdout)
    assert again["changed"] is False
    ended = json.loads(run("exempt", "cus_1", "--end", "--reason", "no more", "--json").stdout)
    assert ended["access"] == "none"
    with host.db.read() as tx:
        actions = [(row.action, row.detail["reason"]) for row in audit.page(tx) if row.subject == "cus_1"]
    assert actions == [("customer.untag", "no more"), ("customer.tag", "a friend")]


def test_a_debt_that_is_written_off_counts_no_more(run: Run, host: Any, policy: str) -> None:
    activated(run, policy)
    assert run("write-off", "acme:in_1", "--reason", "moved away").exit_code == 0
    assert json.loads(run("show", "cus_1", "--json").stdout)["standing"] == "clear"
    assert run("write-off", "acme:in_1", "--undo", "--reason", "came back").exit_code == 0
    assert json.loads(run("show", "cus_1", "--json").stdout)["standing"] == "suspended"
    assert run("write-off", "nonsense", "--reason", "r").exit_code == 2


def test_policies_are_kept_in_versions_activated_and_rolled_back(
    run: Run, host: Any, policy: str, tmp_path: Path
) -> None:
    activated(run, policy)
    other = tmp_path / "other.toml"
    other.write_text(POLICY.replace("30", "60"), encoding="utf-8")
    made = json.loads(run("policies", "add", "standard", str(other), "--json").stdout)
    same = json.loads(run("policies", "add", "standard", str(other), "--json").stdout)
    assert (made["version"], made["new"], same["version"], same["new"]) == (2, True, 2, False)
    run("policies", "activate", "standard", "--reason", "milder")
    (row,) = json.loads(run("policies", "list", "--json").stdout)
    assert (row["version"], row["active"]) == (2, 2)
    back = json.loads(run("policies", "rollback", "--reason", "too mild", "--json").stdout)
    assert (back["version"], back["changed"]) == (1, True)


@pytest.mark.parametrize("name", ["No", "preview", "-x" * 40])
def test_a_name_no_policy_may_have_is_refused(run: Run, host: Any, policy: str, name: str) -> None:
    said = run("policies", "add", "--", name, policy)
    assert (said.exit_code, "Traceback" in said.output) == (2, False)


def test_a_wrong_policy_is_refused_with_every_problem(run: Run, host: Any, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        POLICY.replace("overdue_days", "overdue_dais").replace("none", "nothing"), encoding="utf-8"
    )
    for command in (("policies", "add", "standard", str(file)), ("preview", str(file))):
        said = run(*command)
        assert said.exit_code == 1
        assert "Did you mean 'overdue_days'?" in said.stderr
        assert "Allowed: full, limited, none" in said.stderr


def test_a_preview_says_who_would_change_and_why(run: Run, host: Any, policy: str, tmp_path: Path) -> None:
    said = run("preview", policy, "--csv", str(tmp_path / "changes.csv"))
    assert said.exit_code == 0, said.output
    assert "1 customers: 1 change at once, 0 later." in said.stdout
    assert "Unpaid by those who lose access: 49.00 EUR." in said.stdout
    head, line = (tmp_path / "changes.csv").read_text(encoding="utf-8").splitlines()
    assert head == "customer,from,to,at,unpaid,because"
    assert line.startswith('cus_1,"active, full","suspended, none",')
    (row,) = json.loads(run("preview", policy, "--json").stdout)
    assert (row["customer"], row["now"], row["loses"]) == ("cus_1", True, True)
    assert json.loads(run("show", "cus_1", "--json").stdout)["standing"] == "clear"


def test_facts_are_tried_out_without_a_database(run: Run, tmp_path: Path) -> None:
    invoice = {
        "at": "2026-03-01T00:00:00Z", "type": "invoice.finalized", "invoice": "I1", "amount": 500, "currency": "EUR",
        "issue_date": "2026-03-01", "due_date": "2026-03-01",
    }  # fmt: skip
    body = {
        "policy": {"rules": [{"state": "late", "when": {"overdue_days": 10}}]},
        "customers": [{"id": "A", "facts": [invoice]}],
        "at": ["2026-03-11T00:00:00Z"],
    }
    file = tmp_path / "asked.json"
    file.write_text(json.dumps(body), encoding="utf-8")
    (decision,) = json.loads(run("simulate", str(file), "--json").stdout)
    assert (decision["customer"], decision["standing"]) == ("A", "late")
    file.write_text(json.dumps({**body, "policy": {"rules": 3}}), encoding="utf-8")
    said = run("simulate", str(file))
    assert (said.exit_code, "policy.rules" in said.stderr) == (1, True)


def test_the_shipped_scenarios_are_right_and_a_wrong_one_is_told_and_reported(
    run: Run, tmp_path: Path
) -> None:
    assert run("test").exit_code == 0
    folder = tmp_path / "scenarios"
    folder.mkdir()
    expect = '\ntitle = "late"\ncustomers = [{ id = "A" }]\nexpect = [{ at = 2026-01-01T00:00:00Z, standing = "late" }]\n'
    (folder / "a.toml").write_text(expect + POLICY, encoding="utf-8")
    (folder / "b.toml").write_text("not toml", encoding="utf-8")
    said = run("test", str(folder), "--junit", str(tmp_path / "report.xml"))
    assert said.exit_code == 1
    assert "standing: 'clear', expected 'late'" in said.stdout
    assert "2 scenarios, 2 expectations, 2 of them wrong." in said.stdout
    suites = ET.parse(tmp_path / "report.xml").getroot()
    assert [each.get("failures") for each in suites] == ["1", "1"]
    assert [case.get("name") for case in suites.iter("testcase")] == [
        "A at 2026-01-01T00:00:00Z",
        "is a scenario",
    ]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("test", str(empty)).exit_code == 1
