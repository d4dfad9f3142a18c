"""``billhook keys``: who may call the API."""

from __future__ import annotations

import click

from billhook_web.cli.edge import actor, json_option, open_database, print_list

COLUMNS = ("id", "name", "last4", "scopes", "created_at", "revoked_at")


@click.group()
def keys() -> None:
    """Make and end API keys."""


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="What it may do; repeatable. Default: everything (*).")
def create(name: str, scopes: tuple[str, ...]) -> None:
    """Make a key called NAME and print it; it is not shown again."""
    from billhook.clock import SystemClock
    from billhook_web.auth import ALL, create_key

    with open_database() as db:
        try:
            key = create_key(db, name=name, scopes=scopes or (ALL,), now=SystemClock().now(), actor=actor())
        except ValueError as exc:
            raise click.ClickException(str(exc)) from exc
    click.echo("Keep it now: only its digest is stored.", err=True)
    click.echo(key)


@keys.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List all keys, oldest first."""
    from dataclasses import asdict

    from billhook_web.stores import accounts

    with open_database() as db, db.read() as tx:
        rows = [asdict(key) for key in accounts.list_api_keys(tx)]
    print_list(
        rows,
        columns=COLUMNS,
        as_json=as_json,
        empty="There are no keys: make one with 'billhook keys create'.",
    )


@keys.command()
@click.argument("key_id", metavar="ID", type=int)
def revoke(key_id: int) -> None:
    """End a key at once."""
    from billhook.clock import SystemClock
    from billhook_web.auth import revoke_key

    with open_database() as db:
        if not revoke_key(db, key_id, now=SystemClock().now(), actor=actor()):
            raise click.ClickException(f"There is no key {key_id} in force; see 'billhook keys list'.")
    click.echo(f"Key {key_id} is revoked.")
