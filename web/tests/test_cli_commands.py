"""The ``billhook`` command: what people read, what programs read, and how it fails."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from billhook.clock import SystemClock
from billhook.effects import RecordFailure
from billhook.model import Ref
from billhook.provider import Delivery
from billhook_web.cli import main
from billhook_web.db import Database
from billhook_web.settings import HostSettings
from billhook_web.stores import conditions, inbox, outbox, schema
from billhook_web.stores.conditions import Condition
from billhook_web.stores.outbox import EffectStatus

INSTALLED = Path(__file__).parent / "installed"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACME = {
    "BILLHOOK_CONNECTIONS": "acme",
    "ACME_API_KEY": "key-that-nobody-may-see",
    "ACME_WEBHOOK_SECRET": "secret-that-nobody-may-see",
}

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
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.syspath_prepend(INSTALLED)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, **env: str | None) -> Result:
        # None: not set; and whatever a command sets there is put back.
        unset: dict[str, str | None] = {
            f"BILLHOOK_{name.upper()}": None for name in HostSettings.model_fields
        }
        isolated = unset | {"HOME": str(tmp_path), "BILLHOOK_HOME": str(tmp_path), "COLUMNS": "200"}
        return CliRunner().invoke(main, arguments, env=isolated | env)

    return invoke


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'billhook.sqlite3'}")
    schema.upgrade(database)
    yield database
    database.close()


def add_event(db: Database, key: str = "k1", *, dead: bool = False) -> int:
    with db.begin() as tx:
        event_id = inbox.add(
            tx, connection="acme", delivery=Delivery(key=key, type="invoice[new]"), body=b'{"a": 1}', now=NOW
        )
        assert event_id is not None
        if dead:
            inbox.bury(tx, event_id, now=NOW, error="cannot be read")
    return event_id


def add_effect(db: Database, invoice: str = "i1", *, status: EffectStatus | None = None) -> int:
    with db.begin() as tx:
        effect = RecordFailure(invoice=Ref("acme", invoice), payment=Ref("pay", f"p-{invoice}"))
        effect_id = outbox.add(tx, effect, now=NOW)
        assert effect_id is not None
        outbox.note_attempt(tx, effect_id, at=NOW, milliseconds=12, outcome="refused", detail="no")
        if status is not None:
            outbox.finish(tx, effect_id, status=status, now=NOW, error="no")
    return effect_id


def event_status(db: Database, event_id: int) -> str:
    with db.read() as tx:
        row = inbox.get(tx, event_id)
    assert row is not None
    return row.status


def effect_status(db: Database, effect_id: int) -> str:
    with db.read() as tx:
        row = outbox.get(tx, effect_id)
    assert row is not None
    return row.status


# --- the command itself ------------------------------------------------------------------------------------------


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in main.commands:
        assert f"\n  {name} " in result.output


def test_every_command_and_option_has_help(run: Run) -> None:
    def walk(path: list[str], command: object) -> Iterator[list[str]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from walk([*path, name], child)

    for path in walk([], main):
        result = run(*path, "--help")
        assert result.exit_code == 0, path
        assert result.output.count("\n") > 3, path


def test_the_version_is_that_of_the_package(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith("billhook, version 0.")


def test_help_imports_nothing_heavy() -> None:
    heavy = "sqlalchemy flask dramatiq granian alembic rich pydantic httpx".split()
    code = f"import sys, billhook_web.cli; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.strip() == "[]"


# --- configuration -----------------------------------------------------------------------------------------------


def test_every_problem_of_the_configuration_is_told_at_once(run: Run) -> None:
    result = run(
        "serve", BILLHOOK_CONNECTIONS="acme,acme,UPPER", BILLHOOK_API_KEY="short", BILLHOOK_LOG_LEVEL="LOUD"
    )
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    for variable in ("BILLHOOK_API_KEY", "BILLHOOK_LOG_LEVEL"):
        assert variable in result.stderr
    assert "short" not in result.output


def test_problems_of_host_and_connections_are_told_together(run: Run) -> None:
    result = run("connections", "list", BILLHOOK_CONNECTIONS="acme,nobody", BILLHOOK_RETRY_SCHEDULE="P3X")
    assert result.exit_code == 2
    assert {"BILLHOOK_RETRY_SCHEDULE:", "ACME_API_KEY:", "BILLHOOK_CONNECTIONS:"} <= set(
        result.output.split()
    )


@pytest.mark.parametrize("command", [["serve"], ["connections", "list"], ["connections", "check"]])
def test_problems_of_connections_name_the_variable_and_the_fix(run: Run, command: list[str]) -> None:
    result = run(*command, BILLHOOK_CONNECTIONS="acme,nowhere")
    assert result.exit_code == 2
    assert "The configuration has 3 problems:" in result.stderr
    assert "ACME_API_KEY: is not set." in result.stderr
    assert "ACME_WEBHOOK_SECRET: is not set." in result.stderr
    assert "pip install billhook-nowhere" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("url", ["nonsense", "mysql://u:hidden-word@db/x", "http://hidden-word"])
def test_urls_of_servers_that_cannot_be_used_are_problems(run: Run, url: str) -> None:
    result = run("events", "list", BILLHOOK_DATABASE_URL=url, BILLHOOK_REDIS_URL=url)
    assert result.exit_code == 2
    assert "The configuration has 2 problems:" in result.stderr
    assert "BILLHOOK_DATABASE_URL" in result.stderr
    assert "BILLHOOK_REDIS_URL" in result.stderr
    assert "hidden-word" not in result.output


@pytest.mark.parametrize("command", ["web", "worker"])
def test_what_needs_redis_says_why(run: Run, command: str) -> None:
    result = run(command)
    assert result.exit_code == 1
    assert "BILLHOOK_REDIS_URL" in result.stderr
    assert "billhook serve" in result.stderr


def test_a_database_that_is_not_there_is_a_plain_message(run: Run) -> None:
    result = run("events", "list", BILLHOOK_DATABASE_URL="postgresql://u:hidden-word@127.0.0.1:1/x")
    assert result.exit_code == 1
    assert "BILLHOOK_DATABASE_URL" in result.stderr
    assert "hidden-word" not in result.output
    assert "Traceback" not in result.output


def test_a_database_without_tables_is_a_plain_message(run: Run) -> None:
    result = run("events", "list")
    assert result.exit_code == 1
    assert "billhook db upgrade" in result.stderr


# --- db ----------------------------------------------------------------------------------------------------------


def test_the_database_is_upgraded_once(run: Run) -> None:
    assert run("db", "current").exit_code == 1
    assert "Upgraded the database from nothing to revision" in run("db", "upgrade").output
    assert "already" in run("db", "upgrade").output
    current = run("db", "current")
    assert (current.exit_code, current.output) == (0, f"{schema.newest()} (current)\n")


# --- plugins and connections -------------------------------------------------------------------------------------


def test_plugins_are_listed_with_status_and_reason(run: Run) -> None:
    result = run("plugins", "list", "--json", BILLHOOK_CONNECTIONS="acme,acme-broken,nowhere")
    assert result.exit_code == 0
    states = {each["name"]: each for each in json.loads(result.stdout)}
    assert (states["acme"]["status"], states["acme"]["version"]) == ("enabled", "1.2.3")
    assert states["acme-broken"]["status"] == "error"
    assert "acme is out of order" in states["acme-broken"]["reason"]
    assert states["nowhere"]["status"] == "missing"


def test_a_plugin_that_nobody_asked_for_is_available(run: Run) -> None:
    states = {each["name"]: each["status"] for each in json.loads(run("plugins", "list", "--json").stdout)}
    assert states["acme"] == states["acme-broken"] == "available"


def test_plugins_for_people_are_a_table(run: Run) -> None:
    result = run("plugins", "list", BILLHOOK_CONNECTIONS="acme-broken")
    assert "RuntimeError: acme is out of order" in result.stdout


def test_plugins_show_what_the_running_host_told_of_their_connections(run: Run, db: Database) -> None:
    now = SystemClock().now()
    with db.begin() as tx:
        conditions.add_faults(tx, "acme", count=3, fault="RuntimeError: on fire", now=now)
        down = Condition(connection="second", state="open", reason="Temporary: refused", changed_at=now)
        conditions.put(tx, down)
    env = {
        **ACME,
        "BILLHOOK_CONNECTIONS": "acme,second=acme",
        "SECOND_API_KEY": "k",
        "SECOND_WEBHOOK_SECRET": "s",
    }
    (listed,) = (
        each for each in json.loads(run("plugins", "list", "--json", **env).stdout) if each["name"] == "acme"
    )
    assert listed["connections"] == ["acme failing: RuntimeError: on fire", "second down: Temporary: refused"]
    assert "on fire" in run("plugins", "list", **env).stdout


def test_checking_plugins_fails_when_one_in_use_is_out(run: Run) -> None:
    assert run("plugins", "check", BILLHOOK_CONNECTIONS="acme").exit_code == 0
    assert run("plugins", "check", BILLHOOK_CONNECTIONS="acme-broken").exit_code == 1


def test_a_plugin_may_be_checked_before_it_is_used(run: Run) -> None:
    assert run("plugins", "check", "acme").exit_code == 0
    assert run("plugins", "check", "acme-broken").exit_code == 1


def test_connections_are_listed_without_their_secrets(run: Run) -> None:
    result = run("connections", "list", "--json", **ACME, BILLHOOK_PUBLIC_URL="https://pay.example.com/")
    [connection] = json.loads(result.stdout)
    assert connection["webhook_url"] == "https://pay.example.com/webhooks/acme"
    assert connection["offers"] == ["webhooks"]
    assert set(connection["settings"]) == {"api_key", "webhook_secret", "down"}
    assert "nobody-may-see" not in result.output


def test_a_connection_whose_plugin_is_out_is_shown_with_the_reason(run: Run) -> None:
    result = run("connections", "list", **{**ACME, "BILLHOOK_CONNECTIONS": "acme,acme-broken"})
    assert result.exit_code == 0
    assert "acme is out of order" in result.stdout


def test_checks_of_connections_come_with_fixes(run: Run) -> None:
    result = run("connections", "check", **ACME)
    assert result.exit_code == 0
    assert "No [webhook] is set up." in result.stdout
    assert "Add one." in result.stdout


def test_a_provider_that_cannot_be_asked_is_a_finding(run: Run) -> None:
    result = run("connections", "check", "--json", **ACME, ACME_DOWN="true")
    assert result.exit_code == 1
    [finding] = json.loads(result.stdout)
    assert (finding["severity"], "connection refused" in finding["what"]) == ("error", True)


def test_a_connection_that_does_not_exist_cannot_be_checked(run: Run) -> None:
    result = run("connections", "check", "other", **ACME)
    assert result.exit_code == 1
    assert "no connection other" in result.stderr


# --- events ------------------------------------------------------------------------------------------------------


def test_events_are_listed_newest_first(run: Run, db: Database) -> None:
    first, second = add_event(db, "k1"), add_event(db, "k2", dead=True)
    listed = json.loads(run("events", "list", "--json").stdout)
    assert [each["id"] for each in listed] == [second, first]
    assert listed[0]["received_at"] == "2026-03-01T12:00:00+00:00"
    table = run("events", "list").stdout
    assert "invoice[new]" in table
    assert "cannot be read" in table


def test_events_can_be_narrowed_down(run: Run, db: Database) -> None:
    add_event(db, "k1")
    dead = add_event(db, "k2", dead=True)
    assert [
        each["id"] for each in json.loads(run("events", "list", "--status", "dead", "--json").stdout)
    ] == [dead]
    assert json.loads(run("events", "list", "--connection", "other", "--json").stdout) == []
    assert len(json.loads(run("events", "list", "--limit", "1", "--json").stdout)) == 1


def test_an_empty_list_is_an_empty_array_for_programs(run: Run, db: Database) -> None:
    assert json.loads(run("events", "list", "--json").stdout) == []
    assert json.loads(run("effects", "list", "--json").stdout) == []
    assert json.loads(run("keys", "list", "--json").stdout) == []


def test_an_event_is_shown_without_its_body_unless_asked_for(run: Run, db: Database) -> None:
    event_id = add_event(db)
    assert '{"a": 1}' not in run("events", "show", str(event_id)).output
    assert '{"a": 1}' in run("events", "show", str(event_id), "--body").stdout
    assert json.loads(run("events", "show", str(event_id), "--body", "--json").stdout)["body"] == '{"a": 1}'


@pytest.mark.parametrize(
    "command",
    [["events", "show"], ["events", "replay"], ["effects", "show"], ["effects", "retry"], ["keys", "revoke"]],
)
def test_an_id_that_does_not_exist_is_a_plain_message(run: Run, db: Database, command: list[str]) -> None:
    result = run(*command, "404")
    assert result.exit_code == 1
    assert "404" in result.stderr
    assert "Traceback" not in result.output


def test_an_event_is_replayed(run: Run, db: Database) -> None:
    event_id = add_event(db, dead=True)
    result = run("events", "replay", str(event_id))
    assert (result.exit_code, result.stdout) == (0, "1 event will be processed again.\n")
    assert event_status(db, event_id) == "received"


def test_nothing_is_replayed_when_one_id_is_wrong(run: Run, db: Database) -> None:
    event_id = add_event(db, dead=True)
    assert run("events", "replay", str(event_id), "404").exit_code == 1
    assert event_status(db, event_id) == "dead"


def test_all_dead_events_are_replayed_and_only_those(run: Run, db: Database) -> None:
    dead = [add_event(db, f"dead-{number}", dead=True) for number in range(600)]  # more than one page
    with db.begin() as tx:
        alive = inbox.add(tx, connection="acme", delivery=Delivery(key="done"), body=b"{}", now=NOW)
        assert alive is not None
        inbox.finish(tx, alive, now=NOW, facts=0)
    result = run("events", "replay", "--all-dead")
    assert result.stdout == "600 events will be processed again.\n"
    assert "Replaying" in result.stderr
    assert {event_status(db, event_id) for event_id in dead} == {"received"}
    assert event_status(db, alive) == "processed"


@pytest.mark.parametrize("command", [["events", "replay"], ["effects", "retry"]])
def test_what_to_do_again_must_be_said(run: Run, db: Database, command: list[str]) -> None:
    assert run(*command).exit_code == 2
    assert run(*command, "1", "--all-dead").exit_code == 2


# --- effects -----------------------------------------------------------------------------------------------------


def test_effects_are_listed_and_shown_with_their_attempts(run: Run, db: Database) -> None:
    effect_id = add_effect(db, status=EffectStatus.DEAD)
    [listed] = json.loads(run("effects", "list", "--status", "dead", "--json").stdout)
    assert (listed["id"], listed["subject"]) == (effect_id, "acme:i1")
    shown = json.loads(run("effects", "show", str(effect_id), "--json").stdout)
    assert [each["outcome"] for each in shown["tries"]] == ["refused"]
    assert "refused" in run("effects", "show", str(effect_id)).stdout


def test_a_dead_effect_is_retried(run: Run, db: Database) -> None:
    effect_id = add_effect(db, status=EffectStatus.DEAD)
    assert run("effects", "retry", str(effect_id)).stdout == "1 effect will be tried again.\n"
    assert effect_status(db, effect_id) == "pending"


def test_an_effect_that_is_done_is_left_alone(run: Run, db: Database) -> None:
    effect_id = add_effect(db, status=EffectStatus.DONE)
    result = run("effects", "retry", str(effect_id))
    assert result.exit_code == 1
    assert f"Effect {effect_id} is done" in result.stderr
    assert effect_status(db, effect_id) == "done"


def test_all_dead_effects_are_retried_and_only_those(run: Run, db: Database) -> None:
    dead = [add_effect(db, f"i{number}", status=EffectStatus.DEAD) for number in range(3)]
    done = add_effect(db, "done", status=EffectStatus.DONE)
    assert run("effects", "retry", "--all-dead").stdout == "3 effects will be tried again.\n"
    assert {effect_status(db, effect_id) for effect_id in dead} == {"pending"}
    assert effect_status(db, done) == "done"


# --- keys --------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_can_be_ended(run: Run, db: Database) -> None:
    made = run("keys", "create", "shop", "--scope", "customers:read", "--scope", "billing:read")
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert key.startswith("bh_")
    [listed] = json.loads(run("keys", "list", "--json").stdout)
    assert (listed["name"], listed["scopes"]) == ("shop", ["customers:read", "billing:read"])
    assert listed["last4"] == key[-4:]
    assert listed["revoked_at"] is None
    assert key not in run("keys", "list").output
    assert run("keys", "revoke", str(listed["id"])).exit_code == 0
    assert json.loads(run("keys", "list", "--json").stdout)[0]["revoked_at"] is not None
    assert run("keys", "revoke", str(listed["id"])).exit_code == 1


def test_a_scope_that_does_not_exist_is_refused(run: Run, db: Database) -> None:
    result = run("keys", "create", "shop", "--scope", "everything")
    assert result.exit_code == 1
    assert "customers:read" in result.stderr
    assert json.loads(run("keys", "list", "--json").stdout) == []


# --- sandbox -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plugin", ["nowhere", "acme-broken"])
def test_a_sandbox_of_a_plugin_that_cannot_be_used_says_why(run: Run, plugin: str) -> None:
    result = run("sandbox", plugin)
    assert result.exit_code == 1
    assert plugin in result.stderr
    assert "Traceback" not in result.output


def test_options_of_a_sandbox_are_pairs(run: Run) -> None:
    assert run("sandbox", "acme", "--set", "nothing").exit_code == 2


# --- who did what ----------------------------------------------------------------------------------------------------


def test_what_is_done_on_the_command_line_is_in_the_audit(run: Run, db: Database) -> None:
    event_id, effect_id = add_event(db, dead=True), add_effect(db, status=EffectStatus.DEAD)
    run("events", "replay", str(event_id), USER="ann", LOGNAME="ann")
    run("effects", "retry", "--all-dead", USER="ann", LOGNAME="ann")
    key = run("keys", "create", "app", USER="ann", LOGNAME="ann").stdout.strip()
    run("keys", "revoke", "1", USER="ann", LOGNAME="ann")
    run("rebuild", USER="ann", LOGNAME="ann")
    run("rebuild", "--check", USER="ann", LOGNAME="ann")
    rows = json.loads(run("audit", "list", "--actor", "cli:ann", "--json").stdout)
    assert [(row["action"], row["subject"]) for row in reversed(rows)] == [
        ("event.replay", str(event_id)),
        ("effect.retry", str(effect_id)),
        ("key.create", "1"),
        ("key.revoke", "1"),
        ("ledger.rebuild", "ledger"),
    ]
    assert key not in json.dumps(rows)


def test_an_empty_audit_says_so(run: Run, db: Database) -> None:
    assert "Nobody did anything yet." in run("audit", "list").stderr
