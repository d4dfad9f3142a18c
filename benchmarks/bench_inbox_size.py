"""Whether ingest slows down as the inbox grows: with a million stored deliveries over none, on PostgreSQL."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from benchmarks import machines, report
from benchmarks.bench_ingest import SECONDS, measure
from billhook_web.db import Database

FILL = """
INSERT INTO inbox (connection, delivery_key, content_key, type, body, received_at, status, due_at, processed_at)
SELECT 'lago', 'old-' || md5(n::text), md5('content' || n), 'fee.created', decode(repeat(md5(n::text), 16), 'hex'),
       now() - interval '30 days', 'processed', now() - interval '30 days', now() - interval '30 days'
FROM generate_series(1, :count) AS n
"""


def new_database(server: str, name: str, *, filled: int) -> str:
    """Make a database with the host's tables and so many deliveries that were processed a month ago."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    machines.settings(url)
    db = Database(url)
    with db.begin() as tx:
        tx.execute(text(FILL), {"count": filled})
    with db.read() as tx:
        tx.execute(text("VACUUM ANALYZE inbox"))
        tx.execute(text("CHECKPOINT"))
    db.close()
    return url


def main() -> None:
    """Fill, measure and print."""
    chosen = report.options(__doc__ or "")
    stored = 1000 if chosen.quick else 1_000_000
    seconds = 0.1 if chosen.quick else SECONDS
    with (
        tempfile.TemporaryDirectory(prefix="billhook-bench-") as name,
        machines.databases(Path(name)) as (server, redis),
    ):
        urls = {
            "nothing stored": new_database(server, "empty", filled=0),
            f"{stored:,} stored": new_database(server, "full", filled=stored),
        }
        with ExitStack() as stack:
            hosts = [
                stack.enter_context(machines.host("web", machines.settings(url, redis_url=redis), name=label))
                for label, url in urls.items()
            ]
            speeds = measure(hosts, rounds=chosen.rounds, seconds=seconds)
    empty = median(speeds["nothing stored"])
    rows = [(label, report.spread(speed), f"{median(speed) / empty:.2f}") for label, speed in speeds.items()]
    report.publish(
        "Ingest and the size of the inbox",
        report.table(("inbox", "deliveries a second", "ratio"), rows),
        quick=chosen.quick,
    )


if __name__ == "__main__":
    main()
