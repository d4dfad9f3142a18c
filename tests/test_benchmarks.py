"""The measurements measure something; how fast it is, is not asked here."""

from contextlib import ExitStack
from pathlib import Path

from benchmarks import machines, report
from benchmarks.bench_inbox_size import new_database
from benchmarks.bench_ingest import measure
from benchmarks.bench_latency import embedded, lags

from billhook_web.db import Database
from billhook_web.stores import inbox
from tests.servers import _administer


def test_the_barest_and_the_host_are_loaded_in_turn_and_what_they_take_is_applied(tmp_path: Path) -> None:
    with ExitStack() as stack:
        bare = stack.enter_context(machines.barest(f"sqlite:///{tmp_path / 'barest.sqlite3'}"))
        host, url = stack.enter_context(embedded(tmp_path))
        speeds = measure([bare, host], rounds=2, count=20)
        assert [len(measured) for measured in speeds.values()] == [2, 2]
        assert min(map(min, speeds.values())) > 0
        assert host.memory() > 10
        waits = lags(host, url, 3)
        assert len(waits) == 3
        assert min(waits) > 0
    assert "| barest" in report.table(("receiver", "speeds"), list(speeds.items()))


def test_an_inbox_is_filled_as_told(postgres_server: str, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2].partition("?")[0] + "_filled"
    db = Database(new_database(postgres_server, name, filled=1000))
    with db.read() as tx:
        counted = inbox.counts(tx)
    db.close()
    _administer(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')
    assert counted == {"processed": 1000}
