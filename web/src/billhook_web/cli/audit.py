"""``billhook audit``: what operators did."""

from __future__ import annotations

from dataclasses import asdict

import click

from billhook_web.cli.edge import json_option, open_database, print_list

COLUMNS = ("id", "at", "actor", "action", "subject", "detail")


@click.group()
def audit() -> None:
    """See what operators did."""


@audit.command("list")
@click.option("--actor", help="Only by this actor: 'key:<id> <name>', 'cli:<user>' or 'host'.")
@click.option("--action", help="Only this action, as in effect.retry.")
@click.option("--subject", help="Only to this thing.")
@click.option("--before", type=int, help="Only older than the entry with this id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_audit(
    actor: str | None, action: str | None, subject: str | None, before: int | None, limit: int, as_json: bool
) -> None:
    """List what operators did, through the API or here, newest first."""
    from billhook_web.stores import audit as store

    with open_database() as db, db.read() as tx:
        rows = store.page(tx, actor=actor, action=action, subject=subject, before_id=before, limit=limit)
    print_list(
        [asdict(row) for row in rows], columns=COLUMNS, as_json=as_json, empty="Nobody did anything yet."
    )
