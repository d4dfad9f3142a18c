"""``billhook doctor``: what it looks at, what it says, and that it says it all at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from billhook.effects import SyncCustomer
from billhook.errors import Permanent
from billhook.http import ApiClient, ApiResponse
from billhook.provider import Delivery, Finding, Severity
from billhook_web.cli import main
from billhook_web.doctor import Diagnosis, Examination, examine
from billhook_web.doctor.clocks import DateHeaders
from billhook_web.doctor.host import filesystem_of
from billhook_web.runtime import Runtime
from billhook_web.settings import HostSettings
from billhook_web.stores import conditions, inbox, outbox
from billhook_web.stores.conditions import Condition
from billhook_web.stores.outbox import EffectStatus

from .conftest import ENGINE_SECRET, START, FullEngine, make_runtime

INSTALLED = Path(__file__).parent / "installed"
SOMEWHERE = "93.184.216.34"  # a public address; nothing is sent there
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /mnt/shared nfs4 rw 0 0
//server/share /mnt/my\\040share cifs rw 0 0
"""


def answering(status: int, body: bytes) -> Callable[..., ApiClient]:
    """A way out that ends in an application in this process."""

    def app(_environ: dict[str, Any], start: Callable[..., Any]) -> Sequence[bytes]:
        start(f"{status} Said", [("Content-Type", "application/json")])
        return [body]

    def http(*, name: str, base_url: str, headers: Mapping[str, str], **_options: Any) -> ApiClient:
        return ApiClient(name=name, base_url=base_url, headers=headers, app=app)

    return http


class Doctor:
    """Examines a host; the network is played."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.dates = DateHeaders(runtime.clock)
        self.http = answering(200, b'{"status": "ok"}')
        self.address = SOMEWHERE

    def says(self, about: str) -> list[Diagnosis]:
        """Examine everything; return what is said about one thing."""
        return [each for each in self.examination() if each.about == about]

    def examination(self) -> list[Diagnosis]:
        given = Examination(
            runtime=self.runtime, http=self.http, dates=self.dates, resolve=lambda _name: [self.address]
        )
        return examine(given)

    def one(self, about: str) -> Diagnosis:
        (said,) = self.says(about)
        return said


@pytest.fixture
def doctor(runtime: Runtime) -> Doctor:
    return Doctor(runtime)


def test_a_healthy_host_has_no_complaint(doctor: Doctor) -> None:
    said = doctor.examination()
    assert [each for each in said if each.severity is not Severity.OK] == []
    assert {each.about for each in said} >= {
        "database", "queue", "connection acme", "connection fakepay", "public URL", "API", "work",
        "unknown outcomes", "dead letters",
    }  # fmt: skip


def test_every_complaint_comes_with_its_fix(doctor: Doctor, tmp_path: Path) -> None:
    doctor.address = "10.0.0.1"
    complaints = [each for each in doctor.examination() if each.severity is not Severity.OK]
    runtime = make_runtime(f"sqlite:///{tmp_path / 'missing' / 'b.sqlite3'}", "acme,broken")
    complaints += [each for each in Doctor(runtime).examination() if each.severity is not Severity.OK]
    runtime.close()
    assert len(complaints) >= 4
    assert [each for each in complaints if not each.fix] == []


# --- database and queue ----------------------------------------------------------------------------------------------


def test_a_database_that_does_not_answer_ends_the_questions_to_it(tmp_path: Path) -> None:
    runtime = make_runtime(f"sqlite:///{tmp_path / 'missing' / 'b.sqlite3'}", "acme")
    doctor = Doctor(runtime)
    assert doctor.one("database").severity is Severity.ERROR
    assert doctor.says("work") == []
    assert doctor.one("connection acme").severity is Severity.OK, "the rest is still looked at"
    runtime.close()


def test_tables_of_another_version_are_an_error_that_names_the_command(tmp_path: Path) -> None:
    runtime = make_runtime(f"sqlite:///{tmp_path / 'b.sqlite3'}", "acme")
    said = Doctor(runtime).one("database")
    assert said.severity is Severity.ERROR
    assert "billhook db upgrade" in said.fix
    runtime.close()


def test_a_file_on_a_network_share_is_recognised() -> None:
    assert filesystem_of(Path("/mnt/shared/billhook/b.sqlite3"), MOUNTS) == "nfs4"
    assert filesystem_of(Path("/mnt/my share/b.sqlite3"), MOUNTS) == "cifs"
    assert filesystem_of(Path("/mnt/sharedisk/b.sqlite3"), MOUNTS) == "ext4"
    assert filesystem_of(Path("/srv/b.sqlite3"), "") == ""


def test_a_queue_that_does_not_answer_is_an_error(tmp_path: Path, empty_database: Path) -> None:
    path = shutil.copy(empty_database, tmp_path / "b.sqlite3")
    runtime = make_runtime(f"sqlite:///{path}", "acme", BILLHOOK_REDIS_URL="redis://127.0.0.1:9/0")
    assert Doctor(runtime).one("queue").severity is Severity.ERROR
    runtime.close()


def test_a_host_without_any_key_cannot_be_called(tmp_path: Path, empty_database: Path) -> None:
    path = shutil.copy(empty_database, tmp_path / "b.sqlite3")
    runtime = make_runtime(f"sqlite:///{path}", "acme", BILLHOOK_API_KEY="")
    assert Doctor(runtime).one("API").severity is Severity.WARNING
    runtime.close()


# --- connections -----------------------------------------------------------------------------------------------------


def test_what_a_connection_finds_about_itself_is_told(doctor: Doctor, engine: FullEngine) -> None:
    engine.findings = (
        Finding(severity=Severity.ERROR, what="The endpoint signs with another algorithm.", fix="Change it."),
        Finding(severity=Severity.WARNING, what="No licence.", fix="Buy one."),
    )
    told = [(each.severity, each.what, each.fix) for each in doctor.says("connection acme")]
    assert told == [
        (Severity.ERROR, "The endpoint signs with another algorithm.", "Change it."),
        (Severity.WARNING, "No licence.", "Buy one."),
    ]


@pytest.mark.parametrize("failure", [Permanent(f"no: {ENGINE_SECRET}"), KeyError(ENGINE_SECRET)])
def test_a_check_that_fails_is_an_error_without_secrets(
    doctor: Doctor, engine: FullEngine, failure: Exception
) -> None:
    engine.refusal = failure
    said = doctor.one("connection acme")
    assert said.severity is Severity.ERROR
    assert ENGINE_SECRET not in said.what
    assert "***" in said.what


def test_a_plugin_that_is_out_costs_only_its_own_lines(tmp_path: Path, empty_database: Path) -> None:
    path = shutil.copy(empty_database, tmp_path / "b.sqlite3")
    runtime = make_runtime(f"sqlite:///{path}", "acme,broken")
    doctor = Doctor(runtime)
    assert doctor.one("plugin broken").severity is Severity.ERROR
    assert doctor.one("connection broken").severity is Severity.ERROR
    assert doctor.one("connection acme").severity is Severity.OK
    runtime.close()


def test_a_provider_that_does_not_answer_is_a_warning_with_the_reason(
    doctor: Doctor, runtime: Runtime
) -> None:
    with runtime.db.begin() as tx:
        conditions.put(tx, Condition(connection="acme", state="open", reason="timed out", changed_at=START))
    (said,) = [each for each in doctor.says("connection acme") if each.severity is Severity.WARNING]
    assert "timed out" in said.what


# --- the way in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "192.168.1.5", "::1", "fe80::1%eth0", "fd00::1"]
)
def test_a_private_address_cannot_be_reached_by_providers(doctor: Doctor, address: str) -> None:
    doctor.address = address
    said = doctor.one("public URL")
    assert (said.severity, "cannot reach" in said.what) == (Severity.WARNING, True)


def test_a_name_without_an_address_is_an_error(runtime: Runtime, doctor: Doctor) -> None:
    def resolve(_name: str) -> Sequence[str]:
        raise OSError("unknown name")

    given = Examination(runtime=runtime, http=doctor.http, dates=doctor.dates, resolve=resolve)
    (said,) = [each for each in examine(given) if each.about == "public URL"]
    assert said.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>parked</html>"), (404, b"{}"), (502, b"bad gateway")]
)
def test_something_else_at_the_public_url_is_an_error(doctor: Doctor, status: int, body: bytes) -> None:
    doctor.http = answering(status, body)
    assert doctor.one("public URL").severity is Severity.ERROR


# --- clocks ----------------------------------------------------------------------------------------------------------


def answer_dated(at: datetime) -> ApiResponse:
    return ApiResponse(status=200, headers={"date": format_datetime(at, usegmt=True)}, body=b"")


@pytest.mark.parametrize(
    ("off", "severity"),
    [
        (2, Severity.OK),
        (-20, Severity.OK),
        (90, Severity.WARNING),
        (600, Severity.ERROR),
        (-600, Severity.ERROR),
    ],
)
def test_a_clock_that_differs_from_a_providers_is_told(doctor: Doctor, off: int, severity: Severity) -> None:
    doctor.dates.note("acme", answer_dated(START - timedelta(seconds=off)))
    said = doctor.one("clock")
    assert said.severity is severity
    assert (
        severity is Severity.OK
        or f"{abs(off)} seconds {'ahead of' if off > 0 else 'behind'} acme" in said.what
    )


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Sep 2026 09:00:00 GMT"])
def test_an_answer_without_a_usable_date_says_nothing_about_the_clock(doctor: Doctor, date: str) -> None:
    doctor.dates.note("acme", ApiResponse(status=200, headers={"date": date}, body=b""))
    assert doctor.says("clock") == []


def test_the_clients_the_doctor_makes_note_the_time_of_every_answer(doctor: Doctor) -> None:
    seen: list[int] = []
    client = ApiClient(
        name="acme",
        base_url="http://acme.test",
        app=_overloaded,
        on_answer=lambda answer: seen.append(answer.status),
    )
    with pytest.raises(Exception, match="429"):
        client.get("x")
    assert seen == [429]
    assert isinstance(
        doctor.dates(name="acme", base_url="http://acme.test", headers={}, secrets=()), ApiClient
    )


def _overloaded(_environ: dict[str, Any], start: Callable[..., Any]) -> Sequence[bytes]:
    start("429 Too Many Requests", [])
    return [b""]


# --- the work --------------------------------------------------------------------------------------------------------


def stored(runtime: Runtime) -> int:
    with runtime.db.begin() as tx:
        added = inbox.add(tx, connection="fakepay", delivery=Delivery(key="m1"), body=b"{}", now=START)
    assert added is not None
    return added


def test_due_work_that_nobody_takes_asks_whether_a_worker_runs(doctor: Doctor, runtime: Runtime) -> None:
    stored(runtime)
    assert doctor.one("work").severity is Severity.OK
    runtime.clock.advance(timedelta(minutes=6))
    said = doctor.one("work")
    assert (said.severity, said.what) == (
        Severity.ERROR,
        "Something is due for 6 minutes and nobody takes it.",
    )
    assert said.fix == "Is 'billhook serve' running?"


def test_work_that_somebody_does_is_not_stuck(doctor: Doctor, runtime: Runtime) -> None:
    waiting = stored(runtime)
    runtime.clock.advance(timedelta(minutes=6))
    with runtime.db.begin() as tx:
        assert inbox.claim(tx, waiting, now=runtime.clock.now(), lease=timedelta(minutes=2)) is not None
    assert doctor.one("work").severity is Severity.OK


def test_unknown_outcomes_become_an_error_at_their_deadline(doctor: Doctor, runtime: Runtime) -> None:
    with runtime.db.begin() as tx:
        effect_id = outbox.add(tx, SyncCustomer(customer_id="c", connection="acme", version=1), now=START)
        assert effect_id is not None
        due = START + timedelta(days=9)
        outbox.postpone(tx, effect_id, status=EffectStatus.UNKNOWN, now=START, due_at=due, error="?")
    assert doctor.one("unknown outcomes").severity is Severity.WARNING
    runtime.clock.advance(timedelta(days=1))
    assert doctor.one("unknown outcomes").severity is Severity.ERROR


def test_dead_letters_are_a_warning_that_names_the_command(doctor: Doctor, runtime: Runtime) -> None:
    with runtime.db.begin() as tx:
        inbox_id = inbox.add(tx, connection="fakepay", delivery=Delivery(key="m1"), body=b"{}", now=START)
        assert inbox_id is not None
        inbox.bury(tx, inbox_id, now=START, error="no")
    said = doctor.one("dead letters")
    assert (said.severity, "billhook events replay" in said.fix) == (Severity.WARNING, True)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Callable[..., Result]:
    monkeypatch.syspath_prepend(INSTALLED)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_database, tmp_path / "billhook.sqlite3")

    def invoke(*arguments: str, **env: str) -> Result:
        unset: dict[str, str | None] = {
            f"BILLHOOK_{name.upper()}": None for name in HostSettings.model_fields
        }
        isolated = unset | {"BILLHOOK_HOME": str(tmp_path), "COLUMNS": "200"}
        return CliRunner().invoke(main, ["doctor", *arguments], env=isolated | env)

    return invoke


ACME = {
    "BILLHOOK_CONNECTIONS": "acme",
    "ACME_API_KEY": "key-that-nobody-may-see",
    "ACME_WEBHOOK_SECRET": "secret-that-nobody-may-see",
}


def test_the_command_prints_what_was_found_and_succeeds_with_warnings_only(
    run: Callable[..., Result],
) -> None:
    result = run("--json", **ACME)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {"about": "connection acme", "severity": "ok", "what": "The key works.", "fix": ""} in rows
    assert "warning" in {row["severity"] for row in rows}
    assert "nobody-may-see" not in result.output


def test_the_command_exits_1_when_something_is_wrong(run: Callable[..., Result]) -> None:
    result = run(**ACME, ACME_DOWN="true")
    assert result.exit_code == 1
    assert "could not be asked" in result.stdout


def test_every_problem_of_the_configuration_is_told_and_the_host_is_still_looked_at(
    run: Callable[..., Result],
) -> None:
    result = run("--json", BILLHOOK_CONNECTIONS="acme")
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    wrong = [row["what"] for row in rows if row["about"] == "configuration"]
    assert [each.partition(":")[0] for each in wrong] == ["ACME_API_KEY", "ACME_WEBHOOK_SECRET"]
    assert "database" in {row["about"] for row in rows}


def test_a_host_that_cannot_even_be_configured_gets_its_findings(run: Callable[..., Result]) -> None:
    result = run("--json", BILLHOOK_LOG_LEVEL="LOUD", BILLHOOK_PUBLIC_URL="here")
    assert result.exit_code == 1
    told = [row["what"].partition(":")[0] for row in json.loads(result.stdout)]
    assert told == ["BILLHOOK_PUBLIC_URL", "BILLHOOK_LOG_LEVEL"]
