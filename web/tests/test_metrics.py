"""/metrics: what it tells, to whom, and that asking is cheap and safe."""

from __future__ import annotations

import re
import shutil
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event

from billhook.effects import SyncCustomer
from billhook.errors import Temporary
from billhook.model import Ref
from billhook.testing.fakes import FakeSource
from billhook_web.actors import Wake
from billhook_web.app import create_app
from billhook_web.runtime import Runtime
from billhook_web.services.breaker import TOLERATED
from billhook_web.stores import conditions, inbox, outbox, reconcile
from billhook_web.stores.conditions import Condition
from billhook_web.stores.outbox import EffectStatus
from billhook_web.stores.reconcile import Gap
from billhook_web.worker import answering

from .conftest import START, make_runtime

CUSTOMER = "customer-nobody-may-see"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def client(app) -> FlaskClient:
    made: FlaskClient = app.test_client()
    return made


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, as Prometheus would read it."""
    return {
        (each.name, *each.labels.values()): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def scraped(client: FlaskClient) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return samples(answer.get_data(as_text=True))


def send(client: FlaskClient, runtime: Runtime, name: str, body: bytes = b'{"events": []}') -> int:
    source = runtime.connections.source("fakepay")
    assert isinstance(source, FakeSource)
    request = source.signed(body, runtime.clock.now(), webhook_id=name)
    return client.post("/webhooks/fakepay", data=request.body, headers=dict(request.headers)).status_code


def plan(runtime: Runtime, version: int) -> int:
    with runtime.db.begin() as tx:
        effect = SyncCustomer(customer_id=CUSTOMER, connection="acme", version=version)
        added = outbox.add(tx, effect, now=runtime.clock.now())
    assert added is not None
    return added


def test_deliveries_are_counted_by_connection_and_by_what_became_of_them(client, runtime) -> None:
    assert [send(client, runtime, name) for name in ("m1", "m1", "m2")] == [200, 200, 200]
    assert client.post("/webhooks/fakepay", data=b"{}").status_code == 401
    assert client.post("/webhooks/fakepay", data=b"x" * (1024 * 1024 + 1)).status_code == 413
    assert client.post("/webhooks/made-up", data=b"{}").status_code == 404
    found = scraped(client)
    assert found["billhook_deliveries_received_total", "fakepay", "no"] == 2
    assert found["billhook_deliveries_received_total", "fakepay", "yes"] == 1
    assert found["billhook_deliveries_refused_total", "fakepay", "signature"] == 1
    assert found["billhook_deliveries_refused_total", "fakepay", "size"] == 1
    assert not [name for name in found if "made-up" in name], "strangers must not make up series"


def test_what_waits_is_counted_with_the_age_of_the_oldest(client, runtime) -> None:
    send(client, runtime, "m1")
    runtime.clock.advance(3 * MINUTE)
    send(client, runtime, "m2")
    found = scraped(client)
    assert found["billhook_inbox_deliveries", "received"] == 2
    assert found[("billhook_inbox_oldest_age_seconds",)] == 180
    with runtime.db.read() as tx:
        waiting = [row.id for row in inbox.page(tx)]
    for inbox_id in waiting:
        runtime.processing.process(inbox_id)
    found = scraped(client)
    assert found["billhook_inbox_deliveries", "received"] == 0
    assert found[("billhook_inbox_oldest_age_seconds",)] == 0
    assert found["billhook_processing_lag_seconds_count", "fakepay"] == 2
    assert found["billhook_processing_lag_seconds_sum", "fakepay"] == 180


def test_effects_are_told_by_kind_and_status_and_their_tries_by_outcome(client, runtime) -> None:
    plan(runtime, 1)
    dead = plan(runtime, 2)
    with runtime.db.begin() as tx:
        outbox.finish(tx, dead, status=EffectStatus.DEAD, now=START, error="no")
    runtime.clock.advance(2 * MINUTE)
    found = scraped(client)
    assert found["billhook_effects", "sync_customer", "pending"] == 1
    assert found["billhook_effects", "sync_customer", "dead"] == 1
    assert found["billhook_dead_letters", "effects"] == 1
    assert found["billhook_dead_letters", "inbox"] == 0
    assert found[("billhook_effects_oldest_due_age_seconds",)] == 120


def test_a_try_at_an_effect_is_a_point_in_a_histogram(client, runtime) -> None:
    effect_id = plan(runtime, 1)
    runtime.delivery.deliver(effect_id)
    tried = {name: value for name, value in scraped(client).items() if name[0].endswith("seconds_count")}
    assert sum(value for name, value in tried.items() if name[1] == "sync_customer") == 1


def test_unknown_outcomes_are_counted_with_their_age_and_the_overdue(client, runtime) -> None:
    effect_id = plan(runtime, 1)
    with runtime.db.begin() as tx:
        outbox.claim(tx, effect_id, now=START, lease=MINUTE)
        outbox.postpone(tx, effect_id, status=EffectStatus.UNKNOWN, now=START, due_at=START, error="?")
    runtime.clock.advance(timedelta(hours=25))
    found = scraped(client)
    assert found[("billhook_effects_unknown",)] == 1
    assert found[("billhook_effects_unknown_overdue",)] == 1
    assert found[("billhook_effects_unknown_oldest_age_seconds",)] == 25 * 3600


def test_what_is_out_of_order_is_zero(tmp_path: Path, empty_database: Path) -> None:
    path = shutil.copy(empty_database, tmp_path / "b.sqlite3")
    runtime = make_runtime(f"sqlite:///{path}", "acme,broken")
    found = scraped(create_app(runtime, Wake(runtime)).test_client())
    assert found["billhook_connection_up", "acme", "acme"] == 1
    assert found["billhook_connection_up", "broken", "broken"] == 0
    assert found["billhook_plugin_up", "broken"] == 0
    assert found[("billhook_database_up",)] == 1
    runtime.close()


def test_providers_that_are_left_alone_and_what_they_never_told_are_counted(client, runtime) -> None:
    found = scraped(client)
    assert (found["billhook_provider_up", "acme"], found["billhook_gaps_total", "acme"]) == (1, 0)
    with runtime.db.begin() as tx:
        conditions.put(tx, Condition(connection="acme", state="open", reason="no answer", changed_at=START))
        conditions.add_faults(tx, "acme", count=3, fault="ValueError", now=START)
        run = reconcile.begin(tx, "acme", since=None, now=START, lease=MINUTE)
        assert run is not None
        found_gaps = [
            Gap(kind="invoice", ref=Ref("acme", f"i{number}"), changed=("new",), at=None)
            for number in range(2)
        ]
        reconcile.advance(tx, run, cursor=None, seen=2, facts=2, found=found_gaps, now=START, lease=MINUTE)
    found = scraped(client)
    assert found["billhook_provider_up", "acme"] == 0
    assert found["billhook_provider_up", "fakepay"] == 1
    assert found["billhook_plugin_faults_total", "acme"] == 3
    assert found["billhook_gaps_total", "acme"] == 2


def test_the_state_of_a_breaker_is_told(client, runtime) -> None:
    for _ in range(TOLERATED):
        with pytest.raises(Temporary), runtime.breakers.enter("acme") as visit:
            visit.call(_no_answer)
    found = scraped(client)
    assert found["billhook_breaker", "acme", "open"] == 1
    assert found["billhook_breaker", "acme", "closed"] == 0


def _no_answer() -> None:
    raise Temporary("no answer")


def test_a_database_that_does_not_answer_is_told_and_the_rest_is_still_there(tmp_path: Path) -> None:
    runtime = make_runtime(f"sqlite:///{tmp_path / 'missing' / 'b.sqlite3'}", "acme")
    found = scraped(create_app(runtime, Wake(runtime)).test_client())
    assert found[("billhook_database_up",)] == 0
    assert found["billhook_connection_up", "acme", "acme"] == 1
    runtime.close()


def test_no_customer_is_in_a_label_and_every_series_says_what_it_is(client, runtime) -> None:
    plan(runtime, 1)
    send(client, runtime, "m1")
    text = client.get("/metrics").get_data(as_text=True)
    assert CUSTOMER not in text
    families = list(text_string_to_metric_families(text))
    assert len(families) > 12
    assert [each.name for each in families if not each.documentation] == []


def test_every_metric_is_documented_and_no_other(client) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
    told = set(re.findall(r"^\| `(billhook_\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE))
    families = text_string_to_metric_families(client.get("/metrics").get_data(as_text=True))
    assert {
        f"{each.name}_total" if each.type == "counter" else each.name
        for each in families
        if not each.name.endswith("_created")
    } == told


def test_asking_reads_only_what_an_index_holds(client, runtime) -> None:
    """No question may grow with what is done: each statement is explained, and none scans a table."""
    asked: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        asked.append((statement, parameters))

    event.listen(runtime.db.engine, "before_cursor_execute", note)
    client.get("/metrics")
    event.remove(runtime.db.engine, "before_cursor_execute", note)
    assert len(asked) >= 4
    with runtime.db.read() as tx:
        plans = {
            statement: [
                str(row[3]) for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]
            for statement, parameters in asked
        }
    scans = {
        statement: lines
        for statement, lines in plans.items()
        for line in lines
        if line.startswith(("SCAN inbox", "SCAN effects")) and "INDEX" not in line
    }
    assert scans == {}


@pytest.fixture
def guarded(tmp_path: Path, empty_database: Path) -> Iterator[FlaskClient]:
    path = shutil.copy(empty_database, tmp_path / "b.sqlite3")
    runtime = make_runtime(f"sqlite:///{path}", "acme", BILLHOOK_METRICS_TOKEN="the-token")
    yield create_app(runtime, Wake(runtime)).test_client()
    runtime.close()


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Basic the-token", "Bearer thé-token"]
)
def test_a_token_keeps_others_out(guarded: FlaskClient, header: str | None) -> None:
    answer = guarded.get("/metrics", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"billhook_plugin_up" not in answer.data


def test_a_token_lets_its_owner_in(guarded: FlaskClient) -> None:
    answer = guarded.get("/metrics", headers={"Authorization": "Bearer the-token"})
    assert answer.status_code == 200
    assert b"billhook_plugin_up" in answer.data


def test_a_worker_answers_operators_and_nobody_else(runtime) -> None:
    with answering(runtime, "127.0.0.1", 0) as port:
        base = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{base}/metrics", timeout=10) as answer:
            assert ("billhook_database_up",) in samples(answer.read().decode())
        with urllib.request.urlopen(f"{base}/healthz", timeout=10) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{base}/api/v1/customers", timeout=10)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{base}/healthz", timeout=10)
