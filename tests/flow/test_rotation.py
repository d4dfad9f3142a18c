"""Secrets of connections change while the host runs: stored sealed or mounted, with an overlap, without a restart."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billhook.clock import VirtualClock, monotonic, pause
from billhook.errors import ConfigInvalid, Refused, SealBroken, Unsupported
from billhook.plugins import load_plugins
from billhook.provider import Severity
from billhook_web import sealing
from billhook_web.db import Database
from billhook_web.doctor import sealing as sealing_doctor
from billhook_web.sealing import Sealer
from billhook_web.services.keeping import Keeping
from billhook_web.services.renewal import Watch
from billhook_web.services.resealing import reseal, survey
from billhook_web.settings import Configuration, read_configuration
from billhook_web.stores import audit, conditions, schema, secrets
from tests.flow.flow import API_KEY, PATIENCE_SECONDS, START, Backend, Flow

KEY = sealing.new_key()
OVERLAP = timedelta(days=1)
HMAC, NEXT_HMAC = "lago-sandbox-hmac-key", "the-next-hmac-key-0123456789"
API, NEXT_API = "lago-sandbox-key", "the-next-api-key-0123456789"
BAD = "whsec_this-is-no-base64!"


class Door:
    """The billing engine behind a door that takes these API keys; it counts who knocked with which."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.app: Any = None
        self.knocked: list[str] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        key = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if key:
            self.knocked.append(key)
            environ["HTTP_AUTHORIZATION"] = f"Bearer {API if key in self.keys else 'wrong'}"
        answer: Iterable[bytes] = self.app(environ, start)
        return answer


def keeping(backend: Backend, **env: str) -> Keeping:
    """Return what an operator acts with, in a process of their own."""
    settings = {"BILLHOOK_CONNECTIONS": "lago,dodo", "BILLHOOK_SECRET_KEY": KEY, **env}
    configuration = read_configuration({**settings, "BILLHOOK_DATABASE_URL": backend.database_url})
    db = Database(backend.database_url)
    schema.upgrade(db)
    return Keeping(
        configuration=configuration, registry=load_plugins({"lago", "dodo"}), db=db, clock=VirtualClock(START),
        sealer=configuration.host.sealer(), actor="cli:ann",
    )  # fmt: skip


def keeping_env(operator: Keeping, **env: str) -> Configuration:
    return replace(operator.configuration, env={**operator.configuration.env, **env})


@pytest.fixture
def sqlite(tmp_path: Path) -> Backend:
    """Where the database does not matter."""
    return Backend("sqlite", f"sqlite:///{tmp_path / 'billhook.sqlite3'}", None)


@pytest.fixture
def operator(backend: Backend) -> Iterator[Keeping]:
    made = keeping(backend)
    yield made
    made.db.close()


@contextmanager
def running(backend: Backend, door: Door | None = None, **settings: str) -> Iterator[Flow]:
    apps: Mapping[str, Any] = {"http://lago.test": door} if door else {}
    flow = Flow(backend, settings={"BILLHOOK_SECRET_KEY": KEY, **settings}, apps=apps)
    if door:
        door.app = flow.lago
    with flow.running():
        yield flow


def signed_with(flow: Flow, key: str) -> int:
    """Deliver one webhook signed with this key; return the status."""
    body = json.dumps({"webhook_type": "event.error", "object_type": "event_error"}).encode()
    signature = b64encode(hmac.new(key.encode(), body, hashlib.sha256).digest()).decode()
    return flow.post("lago", body, {"X-Lago-Signature": signature, "X-Lago-Signature-Algorithm": "hmac"})


def notice(flow: Flow, connection: str = "lago") -> str | None:
    with flow.runtime.db.read() as tx:
        found = conditions.of_all(tx).get(connection)
    return found.notice if found else None


def test_a_stored_webhook_secret_is_rotated_with_overlap_and_the_old_one_ends_by_itself(
    backend: Backend, operator: Keeping
) -> None:
    operator.store("lago", "webhook_secret", HMAC)
    with running(backend, LAGO_WEBHOOK_SECRET="") as flow:
        assert signed_with(flow, HMAC) == 200
        assert signed_with(flow, NEXT_HMAC) == 401
        operator.rotate("lago", "webhook_secret", NEXT_HMAC, overlap=OVERLAP)
        flow.runtime.renewal.check()
        assert (signed_with(flow, HMAC), signed_with(flow, NEXT_HMAC)) == (200, 200)
        flow.clock.advance(OVERLAP)
        flow.runtime.renewal.check()
        assert (signed_with(flow, HMAC), signed_with(flow, NEXT_HMAC)) == (401, 200)
        with flow.runtime.db.read() as tx:
            assert len(secrets.all_of(tx)) == 1


def test_a_new_api_key_is_used_at_once_and_the_one_before_where_it_is_not_accepted_yet(
    backend: Backend, operator: Keeping
) -> None:
    door = Door(API)
    operator.store("lago", "api_key", API)
    with running(backend, door, LAGO_API_KEY="") as flow:
        operator.rotate("lago", "api_key", NEXT_API, overlap=OVERLAP)
        flow.runtime.renewal.check()
        flow.api("PUT", "/customers/acct_1", name="Acme", email="billing@acme.example", currency="EUR")
        flow.settle()
        assert set(door.knocked) == {API, NEXT_API}
        assert flow.dead() == []
        told = notice(flow)
        assert told is not None
        assert "refused the new api_key" in told
        (row,) = [each for each in flow.api("GET", "/connections")["data"] if each["name"] == "lago"]
        assert row["health"]["notice"] == told
        assert {"connection": "lago", "state": "stale"} in flow.client.get("/readyz").get_json()["troubles"]

        door.keys, door.knocked = {NEXT_API}, []
        flow.api("PUT", "/customers/acct_1", name="Acme Ltd", email="billing@acme.example", currency="EUR")
        flow.settle()
        assert set(door.knocked) == {NEXT_API}
        flow.clock.advance(OVERLAP)
        flow.runtime.renewal.check()
        assert notice(flow) is None


def test_after_the_overlap_the_one_before_is_not_used_any_more(backend: Backend, operator: Keeping) -> None:
    door = Door(API)
    operator.store("lago", "api_key", API)
    with running(backend, door, LAGO_API_KEY="") as flow:
        operator.rotate("lago", "api_key", NEXT_API, overlap=OVERLAP)
        flow.clock.advance(OVERLAP)
        flow.runtime.renewal.check()
        door.knocked = []
        flow.client.get("/api/v1/plans", headers={"Authorization": f"Bearer {API_KEY}"})
        assert set(door.knocked) == {NEXT_API}


def test_a_mounted_secret_is_taken_up_when_its_file_changes(sqlite: Backend, tmp_path: Path) -> None:
    file = tmp_path / "hmac"
    file.write_text(HMAC)
    with running(sqlite, LAGO_WEBHOOK_SECRET="", LAGO_WEBHOOK_SECRET_FILE=str(file)) as flow:
        before = flow.runtime.connections.get("lago")
        other = flow.runtime.connections.get("dodo")
        flow.runtime.renewal.check()
        assert flow.runtime.connections.get("lago") is before, "nothing changed"
        file.write_text(f"{NEXT_HMAC}\n")
        flow.runtime.renewal.check()
        assert (signed_with(flow, HMAC), signed_with(flow, NEXT_HMAC)) == (401, 200)
        assert flow.runtime.connections.get("dodo") is other, "only the connection that changed is made again"
        assert flow.runtime.hide(f"{HMAC} {NEXT_HMAC}") == "*** ***"


def test_a_running_process_watches_by_itself(sqlite: Backend, tmp_path: Path) -> None:
    file = tmp_path / "hmac"
    file.write_text(HMAC)
    with running(sqlite, LAGO_WEBHOOK_SECRET="", LAGO_WEBHOOK_SECRET_FILE=str(file)) as flow:
        watch = Watch(flow.runtime.renewal, seconds=0.01)
        watch.start()
        try:
            file.write_text(NEXT_HMAC)
            deadline = monotonic() + PATIENCE_SECONDS
            while signed_with(flow, NEXT_HMAC) != 200 and monotonic() < deadline:
                pause(0.02)
            assert signed_with(flow, NEXT_HMAC) == 200
        finally:
            watch.stop()


def test_a_new_value_that_cannot_be_used_changes_nothing_and_is_told(sqlite: Backend, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    with running(sqlite) as flow:
        good = flow.dodo.environment("http://dodo.test")["WEBHOOK_SECRET"]
    file.write_text(good)
    with running(sqlite, DODO_WEBHOOK_SECRET="", DODO_WEBHOOK_SECRET_FILE=str(file)) as flow:
        before = flow.runtime.connections.get("dodo")
        for broken in (BAD, ""):
            file.write_text(broken)
            flow.runtime.renewal.check()
            assert flow.runtime.connections.get("dodo") is before
            told = notice(flow, "dodo")
            assert told is not None
            assert "DODO_WEBHOOK_SECRET" in told
            assert BAD not in told
        file.unlink()
        flow.runtime.renewal.check()
        assert flow.runtime.connections.get("dodo") is before
        assert "cannot be read" in (notice(flow, "dodo") or "")
        file.write_text(good)
        flow.runtime.renewal.check()
        assert flow.runtime.connections.get("dodo") is not before
        assert notice(flow, "dodo") is None


def test_the_environment_wins_over_what_is_stored(backend: Backend, operator: Keeping) -> None:
    operator.store("lago", "webhook_secret", NEXT_HMAC)
    with running(backend, LAGO_WEBHOOK_SECRET=HMAC) as flow:
        assert (signed_with(flow, HMAC), signed_with(flow, NEXT_HMAC)) == (200, 401)
    with_env = replace(operator, configuration=keeping_env(operator, LAGO_WEBHOOK_SECRET=HMAC))
    (shown,) = [
        each for each in with_env.listed() if each.field == "webhook_secret" and each.connection == "lago"
    ]
    assert (shown.source, shown.set_at) == ("environment", START)


def test_a_secret_is_stored_only_when_it_can_be_used_and_sealed(backend: Backend, operator: Keeping) -> None:
    with pytest.raises(ConfigInvalid) as raised:
        operator.store("dodo", "webhook_secret", BAD)
    assert "DODO_WEBHOOK_SECRET" in str(raised.value)
    assert BAD not in str(raised.value)
    with pytest.raises(Refused, match="empty"):
        operator.store("lago", "api_key", "")
    with pytest.raises(Refused, match="no connection 'acme'; allowed: lago, dodo"):
        operator.store("acme", "api_key", API)
    with pytest.raises(Refused, match="no secret 'mode'; allowed: api_key, webhook_secret"):
        operator.store("dodo", "mode", "test")
    with pytest.raises(Refused, match="no api_key of lago is stored"):
        operator.rotate("lago", "api_key", API, overlap=OVERLAP)
    operator.store("lago", "api_key", API)
    with pytest.raises(Refused, match="has this value already"):
        operator.rotate("lago", "api_key", API, overlap=OVERLAP)
    with pytest.raises(Unsupported, match="BILLHOOK_SECRET_KEY is not set"):
        replace(operator, sealer=Sealer.of(())).store("lago", "api_key", NEXT_API)


def test_a_process_without_the_key_does_not_start_and_says_which_secret(
    backend: Backend, operator: Keeping
) -> None:
    operator.store("lago", "api_key", API)
    with pytest.raises(ConfigInvalid) as raised:
        Flow(backend, settings={"LAGO_API_KEY": "", "BILLHOOK_SECRET_KEY": sealing.new_key()})
    (problem,) = raised.value.problems
    assert problem.where == "LAGO_API_KEY"
    assert "add that key" in problem.fix


def test_everything_is_sealed_again_with_a_new_key(backend: Backend, operator: Keeping) -> None:
    operator.store("lago", "api_key", API)
    operator.store("lago", "webhook_secret", HMAC)
    operator.rotate("lago", "webhook_secret", NEXT_HMAC, overlap=OVERLAP)
    newer = sealing.new_key()
    both = Sealer.of([newer, KEY])
    assert [(each.total, each.older) for each in survey(operator.db, both) if each.total] == [(3, 3)]
    stopped = itertools.count()

    def stop_after_two() -> None:
        if next(stopped) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reseal(operator.db, both, did=stop_after_two)
    (first,) = [each for each in reseal(operator.db, both) if each.total]
    assert (first.older, first.resealed, first.broken) == (1, 1, ())
    assert [each.older for each in survey(operator.db, Sealer.of([newer]))] == [0] * len(
        survey(operator.db, both)
    )
    with operator.db.read() as tx:
        rows = secrets.all_of(tx)
    opened = [
        Sealer.of([newer]).open(row.sealed, purpose=secrets.purpose(row.connection, row.field))
        for row in rows
    ]
    assert opened == [API, NEXT_HMAC, HMAC]
    with pytest.raises(SealBroken):
        Sealer.of([KEY]).open(rows[0].sealed, purpose=secrets.purpose("lago", "api_key"))


def test_a_running_host_does_not_connect_again_when_only_the_seal_is_new(
    backend: Backend, operator: Keeping
) -> None:
    operator.store("lago", "api_key", API)
    newer = sealing.new_key()
    with running(backend, LAGO_API_KEY="", BILLHOOK_SECRET_KEY=f"{newer},{KEY}") as flow:
        before = flow.runtime.connections.get("lago")
        assert [(each.severity, each.fix[:11]) for each in sealing_doctor.secrets(flow.runtime)] == [
            (Severity.WARNING, "Run 'billho")
        ]
        reseal(flow.runtime.db, flow.runtime.sealer)
        flow.runtime.renewal.check()
        assert flow.runtime.connections.get("lago") is before
        assert [each.severity for each in sealing_doctor.secrets(flow.runtime)] == [Severity.OK]
        lost = replace(flow.runtime, sealer=Sealer.of([KEY]))
        assert [each.severity for each in sealing_doctor.secrets(lost)] == [Severity.ERROR]


def test_every_action_is_in_the_audit_without_the_values(backend: Backend, operator: Keeping) -> None:
    operator.store("lago", "api_key", API)
    operator.rotate("lago", "api_key", NEXT_API, overlap=OVERLAP)
    assert operator.remove("lago", "api_key")
    assert not operator.remove("lago", "api_key")
    with operator.db.read() as tx:
        entries = audit.page(tx)
    assert [(each.action, each.subject, each.actor) for each in entries] == [
        ("secret.remove", "lago.api_key", "cli:ann"),
        ("secret.rotate", "lago.api_key", "cli:ann"),
        ("secret.set", "lago.api_key", "cli:ann"),
    ]
    assert API not in str(entries)
    assert NEXT_API not in str(entries)
