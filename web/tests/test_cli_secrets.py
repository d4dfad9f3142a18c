"""``billhook secrets``: what people type, what they see of a secret, and what they never see."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from billhook_web.cli import main
from billhook_web.sealing import new_key
from billhook_web.settings import HostSettings

INSTALLED = Path(__file__).parent / "installed"
KEY, NEXT_KEY = "first-key-that-nobody-may-see", "other-key-that-nobody-may-see"

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
def sealing_key() -> str:
    return new_key()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealing_key: str) -> Run:
    monkeypatch.syspath_prepend(INSTALLED)
    monkeypatch.chdir(tmp_path)
    unset: dict[str, str | None] = {f"BILLHOOK_{name.upper()}": None for name in HostSettings.model_fields}
    fixed = {"HOME": str(tmp_path), "BILLHOOK_HOME": str(tmp_path), "COLUMNS": "200"}

    def invoke(*arguments: str, given: str = "", **env: str) -> Result:
        known = {"BILLHOOK_CONNECTIONS": "acme", "BILLHOOK_SECRET_KEY": sealing_key}
        result = CliRunner().invoke(main, arguments, env=unset | fixed | known | env, input=given)
        assert KEY not in result.output
        assert NEXT_KEY not in result.output
        return result

    assert invoke("db", "upgrade").exit_code == 0
    return invoke


def listed(run: Run, **env: str) -> dict[str, dict[str, object]]:
    result = run("secrets", "list", "--json", **env)
    assert result.exit_code == 0, result.output
    return {row["field"]: row for row in json.loads(result.stdout)}


def test_a_secret_is_set_before_its_connection_is_complete_and_listed_masked(run: Run) -> None:
    result = run("secrets", "set", "acme", "api_key", given=f"{KEY}\n")
    assert (result.exit_code, result.output) == (0, "acme api_key is stored, sealed.\n")
    rows = listed(run)
    assert rows["api_key"]["source"] == "stored"
    assert rows["api_key"]["value"] == f"…{KEY[-4:]}"
    assert rows["webhook_secret"]["source"] == "not set"
    (connection,) = json.loads(
        run("connections", "list", "--json", ACME_WEBHOOK_SECRET="given-by-environment").stdout
    )
    assert connection["settings"]["api_key"] == f"…{KEY[-4:]}"


def test_the_database_holds_no_secret_in_clear(run: Run, tmp_path: Path) -> None:
    run("secrets", "set", "acme", "api_key", given=KEY)
    run("secrets", "rotate", "acme", "api_key", given=NEXT_KEY)
    with sqlite3.connect(tmp_path / "billhook.sqlite3") as db:
        dump = "\n".join(db.iterdump())
    db.close()
    assert "bhs1." in dump
    assert KEY not in dump
    assert NEXT_KEY not in dump


def test_a_secret_is_rotated_and_says_until_when_the_one_before_is_valid(run: Run) -> None:
    lago = {"BILLHOOK_CONNECTIONS": "lago"}
    assert run("secrets", "set", "lago", "webhook_secret", given=KEY, **lago).exit_code == 0
    result = run("secrets", "rotate", "lago", "webhook_secret", "--overlap", "PT2H", given=NEXT_KEY, **lago)
    assert result.exit_code == 0
    assert "is rotated; the one before is valid until" in result.output
    row = listed(run, **lago)["webhook_secret"]
    assert row["older_until"] is not None
    assert row["value"] == f"…{NEXT_KEY[-4:]}, …{KEY[-4:]}"
    wrong = run("secrets", "rotate", "lago", "webhook_secret", "--overlap", "soon", given=NEXT_KEY, **lago)
    assert (wrong.exit_code, "is not a duration" in wrong.output) == (2, True)


def test_who_rotates_a_secret_of_which_one_counts_is_told_that_there_is_no_overlap(run: Run) -> None:
    run("secrets", "set", "acme", "webhook_secret", given=KEY)
    result = run("secrets", "rotate", "acme", "webhook_secret", "--overlap", "PT2H", given=NEXT_KEY)
    assert result.exit_code == 0
    assert (
        "acme webhook_secret is rotated. This field takes one value, so there is no overlap" in result.output
    )
    assert "have the provider sign with it now" in result.output
    assert "valid until" not in result.output


def test_a_secret_that_may_be_stored_is_not_said_to_be_missing_beside_the_hosts_own_problems(
    run: Run,
) -> None:
    run("secrets", "set", "acme", "api_key", given=KEY)
    result = run("connections", "list", BILLHOOK_LOG_LEVEL="LOUD", ACME_DOWN="perhaps")
    assert result.exit_code == 2
    assert "BILLHOOK_LOG_LEVEL" in result.stderr
    assert "ACME_DOWN: is not usable" in result.stderr
    assert "ACME_API_KEY" not in result.stderr
    unsealed = run("connections", "list", BILLHOOK_LOG_LEVEL="LOUD", BILLHOOK_SECRET_KEY="")
    assert "ACME_API_KEY: is not set." in unsealed.stderr


def test_what_billhook_toml_holds_is_not_said_to_be_missing_beside_the_hosts_own_problems(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "billhook.toml"
    file.write_text(f'[billhook]\nconnections = ["acme"]\n[connections.acme]\napi_key = "{KEY}"\n')
    broken = {"BILLHOOK_CONFIG": str(file), "BILLHOOK_CONNECTIONS": "", "BILLHOOK_SECRET_KEY": ""}
    result = run("connections", "list", BILLHOOK_LOG_LEVEL="LOUD", **broken)
    assert "ACME_API_KEY" not in result.stderr
    assert "ACME_WEBHOOK_SECRET: is not set." in result.stderr
    file.write_text("no = [toml")
    result = run("connections", "list", **{**broken, "BILLHOOK_CONNECTIONS": "acme"})
    assert "BILLHOOK_CONFIG: is not valid TOML" in result.stderr
    assert "is not set" not in result.stderr


def test_who_sets_what_the_environment_gives_is_told_that_it_does_not_count(run: Run) -> None:
    result = run("secrets", "set", "acme", "api_key", given=KEY, ACME_API_KEY="from-the-environment")
    assert result.exit_code == 0
    assert "ACME_API_KEY comes from the environment, which wins" in result.output


def test_a_secret_is_removed(run: Run) -> None:
    run("secrets", "set", "acme", "api_key", given=KEY)
    assert run("secrets", "remove", "acme", "api_key").exit_code == 0
    assert listed(run)["api_key"]["source"] == "not set"
    again = run("secrets", "remove", "acme", "api_key")
    assert (again.exit_code, "is stored" in again.output) == (1, True)


def test_without_a_key_nothing_is_stored_and_the_way_out_is_told(run: Run) -> None:
    result = run("secrets", "set", "acme", "api_key", given=KEY, BILLHOOK_SECRET_KEY="")
    assert result.exit_code == 1
    assert "BILLHOOK_SECRET_KEY is not set" in result.output
    assert listed(run)["api_key"]["source"] == "not set"
    assert run("secrets", "rotate-key", BILLHOOK_SECRET_KEY="").exit_code == 1


def test_everything_is_sealed_with_a_new_key_after_which_the_old_one_may_go(
    run: Run, sealing_key: str
) -> None:
    run("secrets", "set", "acme", "api_key", given=KEY)
    new = CliRunner().invoke(main, ["secrets", "new-key"]).output.strip()
    lost = run("secrets", "rotate-key", BILLHOOK_SECRET_KEY=new)
    assert (lost.exit_code, "cannot be opened" in lost.output) == (1, True)
    old = run("secrets", "list", "--json").stdout
    both = f"{new},{sealing_key}"
    result = run("secrets", "rotate-key", "--json", BILLHOOK_SECRET_KEY=both)
    assert result.exit_code == 0, result.output
    rows = {row["column"]: row for row in json.loads(result.stdout)}
    assert (rows["connection_secrets.sealed"]["older"], rows["connection_secrets.sealed"]["resealed"]) == (
        1,
        1,
    )
    assert "the other keys may go" in result.stderr
    assert json.dumps(listed(run, BILLHOOK_SECRET_KEY=new)["api_key"]) in json.dumps(json.loads(old))
    assert "secret.rotate_key" in run("audit", "list", "--json").stdout


def test_bad_names_say_what_is_allowed(run: Run) -> None:
    result = run("secrets", "set", "beta", "api_key", given=KEY)
    assert (result.exit_code, "allowed: acme" in result.output) == (1, True)
    result = run("secrets", "set", "acme", "down", given=KEY)
    assert (result.exit_code, "allowed: api_key, webhook_secret" in result.output) == (1, True)
