"""``billhook prune`` and ``billhook customers erase``, and what commands and API say of what is gone."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from billhook.clock import SystemClock
from billhook.events import CustomerObserved
from billhook.model import Ref
from billhook.provider import Delivery
from billhook_web.cli import main
from billhook_web.db import Database
from billhook_web.runtime import Runtime
from billhook_web.stores import accounts, inbox, schema

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
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'billhook.sqlite3'}")
    schema.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def run(tmp_path: Path, db: Database) -> Run:
    env = {"BILLHOOK_HOME": str(tmp_path), "BILLHOOK_CONNECTIONS": None, "COLUMNS": "200"}
    return lambda *arguments, **more: CliRunner().invoke(main, arguments, env=env | more)


def add_event(db: Database, *, days_ago: int, key: str = "k") -> int:
    at = SystemClock().now() - timedelta(days=days_ago)
    with db.begin() as tx:
        event_id = inbox.add(tx, connection="acme", delivery=Delivery(key=key), body=b'{"a": 1}', now=at)
        assert event_id is not None
        inbox.finish(tx, event_id, now=at, facts=0)
    return event_id


def counts(result: Result) -> tuple[bool, int]:
    assert result.exit_code == 0, result.output
    shown: dict[str, Any] = json.loads(result.stdout)
    return shown["dry_run"], shown["bodies"]


def test_a_dry_run_counts_and_a_run_prunes_what_is_older(run: Run, db: Database) -> None:
    old, new = add_event(db, days_ago=91, key="old"), add_event(db, days_ago=89, key="new")
    assert counts(run("prune", "--dry-run", "--json")) == (True, 1)
    with db.read() as tx:
        assert inbox.get(tx, old).body != b""  # type: ignore[union-attr]  # it is there
    result = run("prune", "--json")
    assert counts(result) == (False, 1)
    assert "Pruning" in result.stderr
    assert counts(run("prune", "--json")) == (False, 0)
    assert counts(run("prune", "--json", "--before", "30d")) == (False, 1)
    (entry, *_) = json.loads(run("audit", "list", "--json").stdout)
    assert entry["action"] == "host.prune"
    with db.read() as tx:
        assert [inbox.get(tx, each).body for each in (old, new)] == [b"", b""]  # type: ignore[union-attr]


def test_never_needs_a_date(run: Run, db: Database) -> None:
    add_event(db, days_ago=1000)
    refused = run("prune", BILLHOOK_KEEP_BODIES="never")
    assert refused.exit_code == 2
    assert "--before" in refused.stderr
    assert counts(run("prune", "--json", "--before", "2d", BILLHOOK_KEEP_BODIES="never")) == (False, 1)


def test_a_span_that_is_none_is_named(run: Run) -> None:
    for wrong in ("PT5M", "90"):
        refused = run("prune", BILLHOOK_KEEP_BODIES=wrong)
        assert refused.exit_code == 2
        assert "BILLHOOK_KEEP_BODIES" in refused.stderr


def test_an_event_says_that_its_body_was_pruned(run: Run, db: Database) -> None:
    event_id = str(add_event(db, days_ago=91))
    assert json.loads(run("events", "show", event_id, "--json").stdout)["body_pruned_at"] is None
    assert json.loads(run("events", "show", event_id, "--json", "--body").stdout)["body"] == '{"a": 1}'
    run("prune")
    assert json.loads(run("events", "show", event_id, "--json").stdout)["body_pruned_at"] is not None
    refused = run("events", "show", event_id, "--body")
    assert refused.exit_code == 1
    assert f"The body of event {event_id} was pruned at" in refused.stderr


def test_a_customer_is_erased_by_command(run: Run, db: Database) -> None:
    with db.begin() as tx:
        fields = {"name": "Ada Quillfeather", "currency": "EUR"}
        accounts.put_customer(tx, "acct_1", given=fields, now=SystemClock().now())
    unsure = run("customers", "erase", "acct_1")
    assert (unsure.exit_code, "--yes" in unsure.stderr) == (2, True)
    erased = run("customers", "erase", "acct_1", "--yes", "--json")
    assert erased.exit_code == 0, erased.output
    assert json.loads(erased.stdout)["customer"] == "acct_1"
    with db.read() as tx:
        row = accounts.get_customer(tx, "acct_1")
    assert row is not None
    assert (row.customer.name, row.given) == (None, {"currency": "EUR"})
    (entry, *_) = json.loads(run("audit", "list", "--json").stdout)
    assert (entry["action"], entry["subject"]) == ("customer.erase", "acct_1")
    unknown = run("customers", "erase", "nobody", "--yes")
    assert (unknown.exit_code, "nobody" in unknown.stderr) == (1, True)


def test_a_customer_is_erased_by_the_api(runtime: Runtime, api: Any) -> None:
    api.ok("PUT", "/customers/acct_1", body={"name": "Ada Quillfeather"}, status=201)
    api.apply(CustomerObserved(ref=Ref("acme", "c1"), customer_id="acct_1", email="ada@quillfeather.example"))
    path = "/customers/acct_1/personal-data"
    api.with_scopes("customers:read").refused("DELETE", path, 403)
    assert api.ok("DELETE", path)["facts"] == 1
    shown = api.get("/customers/acct_1")
    assert (shown["name"], shown["email"], shown["erased_at"] is not None) == (None, None, True)
    api.refused("DELETE", "/customers/nobody/personal-data", 404)
    api.refused("DELETE", "/customers/%00/personal-data", 404)
    (entry, *_) = api.get("/audit")["data"]
    assert (entry["action"], entry["subject"]) == ("customer.erase", "acct_1")


def test_the_api_says_that_a_body_was_pruned(runtime: Runtime, api: Any) -> None:
    now = runtime.clock.now()
    with runtime.db.begin() as tx:
        event_id = inbox.add(tx, connection="fakepay", delivery=Delivery(key="k"), body=b"{}", now=now)
        assert event_id is not None
        inbox.finish(tx, event_id, now=now, facts=0)
    assert api.get(f"/events/{event_id}?include=body")["body"] == "{}"
    runtime.retention.prune_some(before=now + timedelta(seconds=1))
    shown = api.get(f"/events/{event_id}?include=body")
    assert shown["body"] is None
    assert shown["body_pruned_at"] is not None
