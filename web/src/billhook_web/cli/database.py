"""``billhook db``: the tables."""

from __future__ import annotations

import click

from billhook_web.cli.edge import open_database


@click.group()
def db() -> None:
    """Set up and upgrade the database."""


@db.command()
def upgrade() -> None:
    """Bring the tables to this version; safe to repeat, also from several processes at once."""
    from billhook_web.stores import schema

    with open_database(current=False) as database:
        before = schema.revision(database)
        schema.upgrade(database)
        after = schema.revision(database)
    if before == after:
        click.echo(f"The database is at revision {after} already.")
    else:
        click.echo(f"Upgraded the database from {before or 'nothing'} to revision {after}.")


@db.command()
def current() -> None:
    """Show the revision of the tables; exits 1 when they need an upgrade."""
    from billhook_web.stores import schema

    with open_database(current=False) as database:
        found = schema.revision(database)
    if found == schema.newest():
        click.echo(f"{found} (current)")
        return
    click.echo(f"{found or 'none'} (this version needs {schema.newest()}: run 'billhook db upgrade')")
    raise SystemExit(1)
