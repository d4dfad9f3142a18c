"""The measurements measure something; how fast it is, is not asked here."""

from contextlib import ExitStack
from pathlib import Path

from benchmarks import bench_access, machines, report
from benchmarks.bench_access_engine import filled, pure
from benchmarks.bench_effects import carried_out
from benchmarks.bench_inbox_size import new_database
from benchmarks.bench_ingest import measure
from benchmarks.bench_latency import Stage, embedded
from benchmarks.bench_lease import measure as measure_leases
from benchmarks.bench_portal import measure as measure_portal
from benchmarks.bench_reconcile import know, read_in, settings

from billhook_web.db import Database
from billhook_web.stores import inbox
from tests.servers import _administer


def test_the_barest_and_the_host_are_loaded_in_turn_and_what_they_take_is_applied(tmp_path: Path) -> None:
    with ExitStack() as stack:
        bare = stack.enter_context(machines.barest(f"sqlite:///{tmp_path / 'barest.sqlite3'}"))
        fakes = stack.enter_context(machines.fakes())
        stage = stack.enter_context(embedded(tmp_path, fakes))
        speeds = measure([bare, stage.server], rounds=2, seconds=0.01)
        assert [len(measured) for measured in speeds.values()] == [2, 2]
        assert min(map(min, speeds.values())) > 0
        assert stage.server.memory() > 10
        outcomes = stage.one_by_one(3)
        assert len({each.effect.id for each in outcomes}) == 3
        assert all(0 < each.applied_ms < each.delivered_ms for each in outcomes)
    assert "| barest" in report.table(("receiver", "speeds"), list(speeds.items()))


def test_an_inbox_is_filled_as_told(postgres_server: str, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2].partition("?")[0] + "_filled"
    db = Database(new_database(postgres_server, name, filled=1000))
    with db.read() as tx:
        counted = inbox.counts(tx)
    db.close()
    _administer(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')
    assert counted == {"processed": 1000}


def test_every_page_of_the_portal_is_made_and_weighed() -> None:
    costs = measure_portal(invoices=3, times=2)
    assert costs[0].page == "/portal/"
    assert all(len(cost.milliseconds) == 2 and 0 < cost.own < cost.first_visit for cost in costs)


def test_leases_are_verified_in_both_ways() -> None:
    measured = measure_leases(rounds=2, count=5)
    assert [len(values) for values in measured.values()] == [2, 2]
    assert all(min(values) >= 0 for values in measured.values())


def test_the_due_customers_are_found_and_settled(postgres_server: str, postgres_url: str) -> None:
    assert len(pure(rounds=1, seconds=0.01)) == 4
    name = postgres_url.rpartition("/")[2].partition("?")[0] + "_access"
    with filled(postgres_server, name, 300, groups=2) as stage:
        stage.settle_due()
        stage.settle_due()
    _administer(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')
    assert [each.customers for each in stage.rounds] == [3, 3]
    assert all(min(each.finding, each.settling, each.statements) > 0 for each in stage.rounds)


def test_a_heap_is_carried_out(postgres_url: str, redis_url: str) -> None:
    with machines.fakes() as fakes:
        env = settings(postgres_url, redis_url, fakes)
        with machines.host("web", env) as server:
            stage = Stage(name="PostgreSQL", server=server, url=postgres_url)
            work = carried_out(stage, env, workers=1, count=5)
    assert work.speed > 0
    assert work.mebibytes > 10


def test_what_is_known_is_gone_through_and_what_was_missed_is_read_in(
    postgres_url: str, redis_url: str
) -> None:
    with machines.fakes(invoices=1) as fakes:
        assert read_in(settings(postgres_url, redis_url, fakes)).facts == 3
    know(postgres_url, 201)
    with machines.fakes(invoices=201) as fakes:
        found = read_in(settings(postgres_url, redis_url, fakes))
    assert (found.seen, found.facts) == (201, 2 * 2)  # two were missed, and two facts tell of each


def test_answers_about_access_are_asked_for_in_every_way(postgres_url: str, redis_url: str) -> None:
    env = machines.settings(postgres_url, redis_url=redis_url, BILLHOOK_API_KEY=bench_access.KEY)
    bench_access.fill(postgres_url, 60)
    with machines.host("web", env) as host, bench_access.bare() as plain:
        ways = [
            bench_access.Asked(name="bare", server=plain, how="new"),
            bench_access.Asked(name="again", server=host, how="again"),
            bench_access.Asked(name="unchanged", server=host, how="unchanged", status="304"),
        ]
        speeds = bench_access.measure(ways, rounds=1, count=20, stored=60)
        assert [len(measured) for measured in speeds.values()] == [1, 1, 1]
        assert min(map(min, speeds.values())) > 0
        assert bench_access.preview(host).customers == 60
