"""``billhook rebuild``: the ledger made anew from what was received."""

from __future__ import annotations

import click

from billhook_web.cli.edge import note_action, open_runtime, read_configuration


@click.command()
@click.option(
    "--check", is_flag=True, help="Only compare; change nothing. Exits 1 when there is a difference."
)
def rebuild(check: bool) -> None:
    """Make ledger and projections anew from the inbox, compare, and put the new ones in place."""
    from rich.console import Console
    from rich.progress import Progress

    from billhook_web.services.rebuild import rebuild as make_anew
    from billhook_web.stores import inbox

    with open_runtime(read_configuration()) as runtime, Progress(console=Console(stderr=True)) as bar:
        if not check:
            note_action(runtime.db, "ledger.rebuild", "ledger")
        with runtime.db.read() as tx:
            total = inbox.counts(tx).get("processed", 0)
        task = bar.add_task("Hearing everything again", total=total)
        result = make_anew(
            runtime.db,
            runtime.connections,
            runtime.recorder,
            runtime.judge,
            check=check,
            progress=lambda count: bar.advance(task, count),
        )
    click.echo(f"{result.deliveries} deliveries, {result.facts} facts.")
    if result.unheard:
        click.echo(
            f"{result.unheard} deliveries can no longer be read: is their connection still configured?"
        )
    for each in result.differences:
        click.echo(
            f"  {each.table}: {each.row} is {'not made again' if each.missing else 'new or different'}"
        )
    if not result.differences:
        click.echo("The ledger is what the inbox says.")
    elif check:
        click.echo("The ledger differs; run 'billhook rebuild' to put the new one in place.")
        raise SystemExit(1)
    else:
        click.echo("The new ledger is in place.")
