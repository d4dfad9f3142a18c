"""Leases of the host: signed by a key that exists once, believed by everybody through a change of keys."""

from __future__ import annotations

import multiprocessing
import shutil
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import select

from billhook.errors import LeaseInvalid, SealBroken, Unsupported
from billhook.lease import LONGEST, LeaseVerifier, Subject, keys_of
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.cli import main
from billhook_web.db import Database
from billhook_web.runtime import Runtime
from billhook_web.sealing import Sealer, new_key
from billhook_web.services.leasing import AHEAD, BEHIND, PUBLISHED_FOR, KeyState, Leasing
from billhook_web.services.resealing import reseal
from billhook_web.stores import audit, schema
from billhook_web.stores.tables import lease_keys

from .conftest import make_runtime

NOW = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
SECRET = "CzBVep_E6Q4zWH2ix-wRNluApcrvFDleg6jN8hc8YYY"
ISSUER = "https://billing.test"
DECISION: dict[str, Any] = {
    "customer": "cus_1",
    "state": "active",
    "standing": "clear",
    "access": "full",
    "block_changes": False,
    "next_change_at": None,
    "subscriptions": {"acme:s1": {"state": "active", "access": "full", "paid_through": None, "reasons": []}},
}


@pytest.fixture
def db(runtime: Runtime) -> Database:
    return runtime.db


def make(db: Database, *secrets: str) -> Leasing:
    return Leasing(db=db, sealer=Sealer.of(secrets or (SECRET,)), issuer=ISSUER)


def published(leasing: Leasing, now: datetime) -> LeaseVerifier:
    return LeaseVerifier(keys_of(leasing.jwks(now=now)), issuer=ISSUER)


def test_a_lease_says_what_the_decision_says_and_is_verified_by_the_published_key(db: Database) -> None:
    leasing = make(db)
    token = leasing.sign(DECISION, version=3, now=NOW)
    lease = published(leasing, NOW).verify(token, now=NOW)
    assert (lease.kind, lease.subject, lease.version) == (Subject.CUSTOMER, "cus_1", 3)
    assert (lease.state, lease.standing, lease.access, lease.block_changes) == (
        "active",
        "clear",
        "full",
        False,
    )
    assert lease.subscriptions == {"acme:s1": ("active", "full")}
    assert lease.expires_at == NOW + LONGEST


def test_a_lease_ends_when_the_decision_changes_by_itself(db: Database) -> None:
    leasing = make(db)
    decision = {**DECISION, "next_change_at": "2026-09-01T09:01:00Z"}
    lease = published(leasing, NOW).verify(leasing.sign(decision, version=1, now=NOW), now=NOW)
    assert lease.expires_at == NOW + timedelta(minutes=1)


def test_a_lease_of_a_subscription_names_it(db: Database) -> None:
    leasing = make(db)
    token = leasing.sign(DECISION, version=1, now=NOW, subscription="acme:s1")
    lease = published(leasing, NOW).verify(token, now=NOW)
    assert (lease.kind, lease.subject, lease.subscriptions) == (Subject.SUBSCRIPTION, "acme:s1", None)


def test_a_customer_with_very_many_subscriptions_gets_a_small_lease_without_them(db: Database) -> None:
    leasing = make(db)
    many = {f"acme:s{n}": {"state": "active", "access": "full"} for n in range(500)}
    token = leasing.sign({**DECISION, "subscriptions": many}, version=1, now=NOW)
    assert len(token) < 600
    assert published(leasing, NOW).verify(token, now=NOW).subscriptions is None


def test_without_a_secret_key_the_refusal_says_what_to_set_and_nothing_is_published(db: Database) -> None:
    leasing = Leasing(db=db, sealer=Sealer.of(()), issuer=ISSUER)
    with pytest.raises(Unsupported, match="BILLHOOK_SECRET_KEY"):
        leasing.sign(DECISION, version=1, now=NOW)
    with pytest.raises(Unsupported, match="BILLHOOK_SECRET_KEY"):
        leasing.rotate(now=NOW, actor="test")
    assert leasing.jwks(now=NOW) == {"keys": []}


def test_a_key_sealed_by_another_secret_is_not_silently_replaced(db: Database) -> None:
    make(db).sign(DECISION, version=1, now=NOW)
    with pytest.raises(SealBroken):
        make(db, new_key()).sign(DECISION, version=1, now=NOW)
    assert len(make(db).states(now=NOW)) == 1


def test_the_private_key_is_stored_only_sealed(db: Database) -> None:
    seed = bytes(range(32))
    leasing = Leasing(db=db, sealer=Sealer.of([SECRET]), issuer=ISSUER, random=lambda size: seed[:size])
    leasing.sign(DECISION, version=1, now=NOW)
    with db.read() as tx:
        row = tx.execute(select(lease_keys)).one()
    assert seed not in row.public
    assert row.sealed.startswith("bhs1.")
    assert all(secret not in repr(leasing.states(now=NOW)) for secret in (row.sealed, SECRET))


def test_through_a_rotation_every_lease_is_believed_by_whoever_keeps_the_keys_as_long_as_allowed(
    db: Database,
) -> None:
    signer, other = make(db), make(db)  # two processes
    step = timedelta(seconds=30)
    rotated_at = NOW + timedelta(minutes=10)
    seen: set[str] = set()
    copies: list[tuple[datetime, LeaseVerifier]] = []
    for n in range(80):
        now = NOW + n * step
        if now == rotated_at:
            other.rotate(now=now, actor="test")
        copies = [(at, copy) for at, copy in copies if now - at <= PUBLISHED_FOR]
        copies += [(now, published(signer, now)), (now, published(other, now))]
        for leasing in (signer, other):
            token = leasing.sign(DECISION, version=n, now=now)
            seen.add(token.partition(".")[0])
            for _, copy in copies:
                assert copy.verify(token, now=now).version == n
    assert len(seen) == 2  # both keys have signed


def test_the_last_lease_of_an_old_key_is_believed_to_its_end_and_then_the_key_leaves(db: Database) -> None:
    leasing = make(db)
    leasing.sign(DECISION, version=1, now=NOW)
    made = leasing.rotate(now=NOW, actor="test")
    assert made.signs_at == NOW + AHEAD
    last = made.signs_at - timedelta(microseconds=1)
    token = leasing.sign(DECISION, version=2, now=last)
    end = last + LONGEST - timedelta(seconds=1)
    assert published(leasing, end).verify(token, now=end).version == 2
    assert [state for _, state in leasing.states(now=end)] == [KeyState.LEAVING, KeyState.SIGNING]
    gone = made.signs_at + BEHIND
    assert [state for _, state in leasing.states(now=gone)] == [KeyState.OVER, KeyState.SIGNING]
    assert list(keys_of(leasing.jwks(now=gone))) == [made.kid]
    leasing.rotate(now=gone, actor="test")
    assert leasing.states(now=gone)[0][0].kid == made.kid


def test_a_rotation_at_once_ends_the_belief_in_what_the_old_key_signed(db: Database) -> None:
    leasing = make(db)
    token = leasing.sign(DECISION, version=1, now=NOW)
    made = leasing.rotate(now=NOW, actor="test", at_once=True)
    assert list(keys_of(leasing.jwks(now=NOW))) == [made.kid]
    with pytest.raises(LeaseInvalid) as caught:
        published(leasing, NOW).verify(token, now=NOW)
    assert caught.value.unknown_key
    assert published(leasing, NOW).verify(leasing.sign(DECISION, version=2, now=NOW), now=NOW).version == 2


def test_a_rotation_is_in_the_audit(db: Database) -> None:
    made = make(db).rotate(now=NOW, actor="cli:ann")
    with db.read() as tx:
        noted = audit.page(tx, limit=1)[0]
    assert (noted.actor, noted.action, noted.subject) == ("cli:ann", "lease.rotate-key", made.kid)


def test_keys_are_sealed_again_when_the_secret_changes(db: Database) -> None:
    old, new = SECRET, new_key()
    make(db, old).sign(DECISION, version=1, now=NOW)
    both = make(db, new, old)
    reseal(db, Sealer.of([new, old]))
    token = make(db, new).sign(DECISION, version=2, now=NOW)
    assert published(both, NOW).verify(token, now=NOW).version == 2


def _first_key(url: str, start: Barrier, kids: Queue[str]) -> None:
    db = Database(url)
    start.wait(60)
    leasing = make(db)
    leasing.sign(DECISION, version=1, now=NOW)
    kids.put(",".join(keys_of(leasing.jwks(now=NOW))))
    db.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'leasing.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


def test_processes_that_sign_for_the_first_time_at_once_make_one_key(url: str) -> None:
    db = Database(url)
    schema.upgrade(db)
    db.close()
    spawn = multiprocessing.get_context("spawn")
    start, kids = spawn.Barrier(3), spawn.Queue()
    processes = [spawn.Process(target=_first_key, args=(url, start, kids)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found = [kids.get(timeout=10) for _ in processes]
    assert len(set(found)) == 1
    assert len(found[0]) == 16


# --- the route and the command ---------------------------------------------------------------------------------------


def test_without_a_secret_key_the_key_set_is_empty_and_not_kept(app: Flask) -> None:
    answer = app.test_client().get("/.well-known/jwks.json")
    assert (answer.status_code, answer.get_json()) == (200, {"keys": []})
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_public_keys_are_for_everybody_and_may_be_kept(tmp_path: Path, empty_database: Path) -> None:
    path = shutil.copy(empty_database, tmp_path / "keys.sqlite3")
    runtime = make_runtime(f"sqlite:///{path}", "", BILLHOOK_SECRET_KEY=SECRET)
    answer = create_app(runtime, Wake(runtime)).test_client().get("/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    (key,) = answer.get_json()["keys"]
    assert set(key) == {"kty", "crv", "use", "alg", "kid", "x"}
    now = runtime.clock.now()
    token = runtime.leasing.sign(DECISION, version=1, now=now)
    assert LeaseVerifier(keys_of(answer.get_json()), issuer=ISSUER).verify(token, now=now).version == 1
    runtime.close()


def test_keys_are_changed_and_listed_by_the_command(tmp_path: Path, empty_database: Path) -> None:
    database = tmp_path / "billhook.sqlite3"
    database.write_bytes(empty_database.read_bytes())
    env = {"BILLHOOK_DATABASE_URL": f"sqlite:///{database}", "BILLHOOK_CONNECTIONS": ""}
    run = CliRunner().invoke
    refused = run(main, ["leases", "rotate-key"], env={**env, "BILLHOOK_SECRET_KEY": ""})
    assert refused.exit_code == 1
    assert "billhook secrets new-key" in refused.stderr
    env["BILLHOOK_SECRET_KEY"] = SECRET
    assert "There are no keys" in run(main, ["leases", "keys"], env=env).stderr
    assert run(main, ["leases", "rotate-key"], env=env).exit_code == 0
    assert "signs from" in run(main, ["leases", "rotate-key"], env=env).stdout
    listed = run(main, ["leases", "keys"], env=env).stdout.splitlines()
    assert [line.split()[1] for line in listed] == ["state", "signing", "waiting"]
    assert run(main, ["leases", "rotate-key", "--at-once"], env=env).exit_code == 0
    assert len(run(main, ["leases", "keys"], env=env).stdout.splitlines()) == 2
