"""``billhook access preview``: what another policy would change for the real customers, before anybody lives by it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from billhook_web.cli.edge import (
    database_errors,
    json_option,
    open_runtime,
    print_list,
    read_configuration,
    require_current,
)
from billhook_web.cli.policy_files import read_document

if TYPE_CHECKING:
    from billhook.access import Policy
    from billhook_web.runtime import Runtime
    from billhook_web.services.previewing import Moved, Preview

COLUMNS: Final = ("customer", "from", "to", "at", "unpaid", "because")
MOST_SHOWN: Final = 50
"""Customers listed in a terminal; a file or --json has all."""


@click.command()
@click.argument("policy", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write everybody who changes to this file.",
)
@json_option
def preview(policy: Path, csv_file: Path | None, as_json: bool) -> None:
    """Compare POLICY (TOML or JSON) with what counts now, for every customer: who changes, from what to what, when.

    Nothing is stored or sent.
    """
    document = _policy(policy)
    shown: list[dict[str, Any]] = []
    with ExitStack() as stack:
        runtime = stack.enter_context(open_runtime(read_configuration()))
        stack.enter_context(database_errors())
        require_current(runtime.db)
        keep = stack.enter_context(_writing(csv_file)) if csv_file else None
        going = stack.enter_context(_begun(runtime, document))
        for moved in _with_progress(going):
            row = _fields(moved)
            if keep is not None:
                keep(row)
            if as_json or len(shown) < MOST_SHOWN:
                shown.append(row)
    print_list(shown, columns=COLUMNS, as_json=as_json, empty="Nobody changes.")
    if not as_json:
        _sum_up(going, shown=len(shown))


def _policy(file: Path) -> Policy:
    from billhook.access import PolicyInvalid, parse_policy

    try:
        policy = parse_policy(read_document(file))
    except PolicyInvalid as exc:
        raise click.ClickException(f"{file} is no policy:\n{exc}") from exc
    for problem in policy.warnings:
        click.echo(f"Warning: {problem}", err=True)
    return policy


@contextmanager
def _begun(runtime: Runtime, policy: Policy) -> Iterator[Preview]:
    going = runtime.previewing.begin(policy)
    try:
        yield going
    finally:
        going.close()


def _with_progress(going: Preview) -> Iterator[Moved]:
    """Yield who changes while a bar on stderr shows how far it is."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    from billhook_web.services.previewing import Progress

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("Deciding anew", total=None)
        for row in going.rows():
            if isinstance(row, Progress):
                bar.update(task, completed=row.done, total=row.total)
            else:
                yield row


@contextmanager
def _writing(file: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    try:
        stream = file.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        raise click.ClickException(f"{file} cannot be written: {exc.strerror}") from exc
    with stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        yield lambda row: writer.writerow(_cells(row))


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for a spreadsheet; a text that begins like a formula is kept from being one."""
    texts = {
        name: value.isoformat() if name == "at" else str(value)
        for name, value in row.items()
        if name in COLUMNS
    }
    return {
        name: f"'{text}" if text.startswith(("=", "+", "-", "@")) else text for name, text in texts.items()
    }


def _fields(moved: Moved) -> dict[str, Any]:
    from billhook_web.cli.access_timeline import amounts

    return {
        "customer": moved.customer,
        "from": f"{moved.before.state}, {moved.before.access}",
        "to": f"{moved.after.state}, {moved.after.access}",
        "at": moved.at,
        "now": moved.now,
        "loses": moved.loses,
        "unpaid": amounts(moved.unpaid),
        "because": " ".join(moved.why),
    }


def _sum_up(going: Preview, *, shown: int) -> None:
    from billhook_web.cli.access_timeline import amounts

    tally = going.tally
    total = tally.now + tally.later
    if total > shown:
        click.echo(f"… and {total - shown} more; --csv or --json has all.")
    click.echo(f"{tally.looked_at} customers: {tally.now} change at once, {tally.later} later.")
    for (before, after), count in tally.changes.most_common():
        click.echo(f"  {count} from {before} to {after}")
    if tally.at_stake:
        click.echo(f"Unpaid by those who lose access: {amounts(tally.at_stake)}.")
