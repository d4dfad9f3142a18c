"""``billhook reconcile``: ask providers what was missed. ``billhook gaps``: what no webhook told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from billhook_web.cli.edge import (
    database_errors,
    json_option,
    note_action,
    open_database,
    open_runtime,
    print_list,
    read_configuration,
    require_current,
)

if TYPE_CHECKING:
    from billhook_web.services.reconcile import Difference, Progress, Reconciler
    from billhook_web.stores.reconcile import GapRow, Run

RUN_COLUMNS = ("connection", "status", "since", "until", "seen", "facts", "gaps", "error")
DIFFERENCE_COLUMNS = ("connection", "kind", "ref", "changed", "facts", "at")
GAP_COLUMNS = ("id", "found_at", "connection", "kind", "ref", "changed", "at", "run_id")
EVER: Final = "all"

_AGO = re.compile(r"([0-9]{1,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.ParamType):  # type: ignore[type-arg]
    """A moment: a span back from now (``2d``), a date or time in ISO 8601, or ``all``."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a span, an instant in UTC, or ``all``."""
        if not isinstance(value, str) or value == EVER:
            return value
        ago = _AGO.fullmatch(value)
        if ago is not None:
            return timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no moment; write 2d, 12h, 2026-09-01 or all.", param, ctx)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@click.command()
@click.option("--connection", "names", multiple=True, help="Only this connection; may be given again.")
@click.option(
    "--since",
    type=Since(),
    help="How far to look back: 2d, 12h, a date or time in ISO 8601 (UTC), or all. [default: where the last run ended]",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be new; nothing is kept.")
@json_option
def reconcile(
    names: tuple[str, ...], since: datetime | timedelta | str | None, dry_run: bool, as_json: bool
) -> None:
    """Ask providers what happened and was not delivered, and record it as if it had been.

    Goes on where a run stopped. With --since all it reads in everything a provider holds; invoices that turn out to be
    open are collected like any other, so look at --dry-run first. Exits 1 when a provider could not be asked.
    """
    with open_runtime(read_configuration()) as runtime, database_errors():
        require_current(runtime.db)
        reconciler = runtime.reconciler
        wanted = _wanted(reconciler, names)
        starts = {name: _start(reconciler, name, since, runtime.clock.now()) for name in wanted}
        if dry_run:
            _print_differences(reconciler, starts, as_json=as_json)
            return
        for name, start in starts.items():
            note_action(runtime.db, "connection.reconcile", name, since=start)
        runs = [run for name, start in starts.items() if (run := _run(reconciler, name, start))]
    print_list(
        [_run_fields(run) for run in runs],
        columns=RUN_COLUMNS,
        as_json=as_json,
        empty="Another process is at it.",
    )
    if any(run.status != "done" for run in runs):
        raise SystemExit(1)


@click.group()
def gaps() -> None:
    """See what providers had and never told."""


@gaps.command("list")
@click.option("--connection", help="Only of this connection.")
@click.option("--kind", help="Only of this kind: invoice, payment, subscription…")
@click.option("--run", "run_id", type=int, help="Only those that this run found.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_gaps(
    connection: str | None, kind: str | None, run_id: int | None, limit: int, as_json: bool
) -> None:
    """List gaps, newest first: what a reconciliation found and no webhook had told."""
    from billhook_web.stores import reconcile as store

    with open_database() as db, db.read() as tx:
        rows = store.page_gaps(tx, connection=connection, kind=kind, run_id=run_id, limit=limit)
    print_list([_gap_fields(row) for row in rows], columns=GAP_COLUMNS, as_json=as_json, empty="No gaps.")


def _wanted(reconciler: Reconciler, names: Sequence[str]) -> Sequence[str]:
    able = reconciler.names()
    unable = [name for name in names if name not in able]
    if unable:
        raise click.ClickException(
            f"{', '.join(unable)} cannot be reconciled: no such connection, or its plugin lists nothing; see "
            "'billhook connections list'."
        )
    if not able:
        raise click.ClickException(
            "Nothing is connected that can be reconciled; see 'billhook connections list'."
        )
    return names or able


def _start(
    reconciler: Reconciler, name: str, since: datetime | timedelta | str | None, now: datetime
) -> datetime | None:
    match since:
        case None:
            return reconciler.since_last(name)
        case timedelta():
            return now - since
        case datetime():
            return since
        case _:
            return None


def _run(reconciler: Reconciler, name: str, since: datetime | None) -> Run | None:
    """Run to the end; after going on with a run that had stopped, also what was asked for now."""
    with _progress(name) as progress:
        run = reconciler.run(name, since=since, woken=lambda _effects: None, progress=progress)
        if run is not None and run.takes > 1 and run.status == "done":
            run = reconciler.run(name, since=since, woken=lambda _effects: None, progress=progress)
    return run


def _print_differences(reconciler: Reconciler, starts: dict[str, datetime | None], *, as_json: bool) -> None:
    from billhook.errors import BillhookError

    rows = []
    for name, since in starts.items():
        with _progress(name) as progress:
            try:
                rows += [
                    _difference_fields(each)
                    for each in reconciler.preview(name, since=since, progress=progress)
                ]
            except BillhookError as exc:
                raise click.ClickException(f"{name} could not be asked: {exc}") from exc
    print_list(rows, columns=DIFFERENCE_COLUMNS, as_json=as_json, empty="Nothing is missing.")


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """Show on stderr how far a connection is. How much there will be is not known: lists do not say."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"Reconciling {name}", total=None, told="")
        yield lambda tally: bar.update(
            task, told=f"{tally.seen} seen, {tally.facts} new facts, {tally.gaps} gaps"
        )
        bar.update(task, total=1, completed=1)


def _run_fields(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "connection": run.connection,
        "status": run.status,
        "since": run.since,
        "until": run.until,
        "seen": run.seen,
        "facts": run.facts,
        "gaps": run.gaps,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "error": run.error,
    }


def _difference_fields(difference: Difference) -> dict[str, Any]:
    gap = difference.gap
    return {
        "connection": difference.connection,
        "kind": gap.kind,
        "ref": str(gap.ref),
        "changed": gap.changed,
        "facts": difference.facts,
        "at": gap.at,
    }


def _gap_fields(row: GapRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "found_at": row.found_at,
        "connection": row.ref.connection,
        "kind": row.kind,
        "ref": str(row.ref),
        "changed": row.changed,
        "at": row.at,
        "run_id": row.run_id,
    }
