"""``billhook prune``: taking away now what a running host takes away by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from billhook_web.cli.edge import (
    database_errors,
    json_option,
    note_action,
    open_runtime,
    print_one,
    read_configuration,
    require_current,
)
from billhook_web.cli.reconcile import EVER, Since

if TYPE_CHECKING:
    from billhook_web.services.retention import Pruned, Retention


@click.command()
@click.option(
    "--before",
    type=Since(),
    help="What is older: 30d, a date or time in ISO 8601 (UTC). [default: BILLHOOK_KEEP_BODIES]",
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@json_option
def prune(before: datetime | timedelta | str | None, dry_run: bool, as_json: bool) -> None:
    """Reduce old deliveries to their facts, and remove the detail of work that was finished long ago.

    A repetition of a pruned delivery is still recognised, and 'billhook rebuild' still comes out equal. What is not
    processed is never pruned.
    """
    with open_runtime(read_configuration()) as runtime, database_errors():
        require_current(runtime.db)
        limit = _instant(before, now=runtime.clock.now()) or runtime.retention.limit()
        if limit is None:
            raise click.UsageError("BILLHOOK_KEEP_BODIES is 'never'; say what is old with --before.")
        if dry_run:
            pruned = runtime.retention.waiting(before=limit)
        else:
            note_action(runtime.db, "host.prune", "inbox", before=limit)
            pruned = _prune(runtime.retention, limit)
    print_one({"before": limit, "dry_run": dry_run, **pruned.by_kind()}, as_json=as_json)


def _instant(before: Any, *, now: datetime) -> datetime | None:
    match before:
        case None:
            return None
        case timedelta():
            return now - before
        case datetime():
            return before
        case _:
            raise click.UsageError(f"--before {EVER} says nothing; write 30d or a date.")


def _prune(retention: Retention, before: datetime) -> Pruned:
    from rich.console import Console
    from rich.progress import Progress

    from billhook_web.services.retention import Pruned

    done = Pruned()
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Pruning", total=retention.waiting(before=before).total)
        while (some := retention.prune_some(before=before)).total:
            done = done.plus(some)
            bar.advance(task, some.total)
    return done
