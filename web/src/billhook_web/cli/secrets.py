"""``billhook secrets``: secrets of connections kept sealed in the database, and the key that seals them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from billhook_web.cli.edge import (
    ConfigurationProblems,
    actor,
    database_errors,
    json_option,
    note_action,
    print_list,
    read_configuration,
    require_current,
)

if TYPE_CHECKING:
    from billhook_web.services.keeping import Keeping, Secret

COLUMNS = ("connection", "field", "variable", "source", "value", "set_at", "older_until")
KEY_COLUMNS = ("column", "total", "older", "resealed", "broken")


@click.group()
def secrets() -> None:
    """Keep secrets of connections in the database, sealed with BILLHOOK_SECRET_KEY, and rotate them.

    The environment wins: a stored secret counts when neither it, nor a mounted file, nor billhook.toml gives the field.
    Running processes take up a change within a few seconds.
    """


@secrets.command("new-key")
def new_key() -> None:
    """Print a new key for BILLHOOK_SECRET_KEY."""
    from billhook_web import sealing

    click.echo(sealing.new_key())


@secrets.command("list")
@json_option
def list_secrets(as_json: bool) -> None:
    """List every secret of every connection, masked, with where it comes from."""
    with _keeping() as keeping:
        rows = [asdict(each) for each in keeping.listed()]
    print_list(rows, columns=COLUMNS, as_json=as_json, empty="No connection has a secret.")


@secrets.command("set")
@click.argument("connection")
@click.argument("field")
def set_secret(connection: str, field: str) -> None:
    """Store the secret FIELD of CONNECTION; what was stored of it before ends.

    The value is asked for, or read from the standard input.
    """
    with _keeping() as keeping:
        secret = keeping.store(connection, field, _value(connection, field))
    click.echo(f"{connection} {secret.field} is stored, sealed.")
    _warn_when_outranked(secret)


@secrets.command()
@click.argument("connection")
@click.argument("field")
@click.option(
    "--overlap", default="P1D", show_default=True, help="How long the one before stays valid, as ISO 8601."
)
def rotate(connection: str, field: str, overlap: str) -> None:
    """Store a new value of a stored secret and keep the one before for a while.

    Webhooks are accepted with either secret, where the field takes several. Of API keys the new one is used at once,
    and the one before where the provider does not accept the new one yet.
    """
    span = _duration(overlap)
    with _keeping() as keeping:
        secret = keeping.rotate(connection, field, _value(connection, field), overlap=span)
    click.echo(_rotated(secret))
    _warn_when_outranked(secret)


def _rotated(secret: Secret) -> str:
    """Say what became of the value before: a field that takes only one has no place for it."""
    until = f"{secret.older_until:%Y-%m-%d %H:%MZ}" if secret.older_until else "now"
    done = f"{secret.connection} {secret.field} is rotated"
    if secret.several:
        return f"{done}; the one before is valid until {until}."
    return (
        f"{done}. This field takes one value, so there is no overlap: the new one counts from now on.\n"
        "If it signs webhooks, have the provider sign with it now: those signed with the one before are refused, and "
        "count on the provider to send them again.\n"
        f"If it is an API key, calls that are refused with it (401) are made with the one before until {until}."
    )


@secrets.command()
@click.argument("connection")
@click.argument("field")
def remove(connection: str, field: str) -> None:
    """Forget what is stored of a secret."""
    with _keeping() as keeping:
        removed = keeping.remove(connection, field)
    if not removed:
        raise click.ClickException(f"No {field} of {connection} is stored; see 'billhook secrets list'.")
    click.echo(f"{connection} {field} is no longer stored.")


@secrets.command("rotate-key")
@json_option
def rotate_key(as_json: bool) -> None:
    """Seal everything again with the first key of BILLHOOK_SECRET_KEY; exits 1 when something cannot be opened.

    Stopped halfway, the next run goes on with the rest.
    """
    with _keeping() as keeping:
        rows = _reseal(keeping)
    print_list(rows, columns=KEY_COLUMNS, as_json=as_json, empty="Nothing is sealed.")
    if any(row["broken"] for row in rows):
        raise click.ClickException(
            "Some secrets cannot be opened with these keys: add the key that sealed them, or set them again."
        )
    click.echo("Everything is sealed with the first key: the other keys may go.", err=True)


def _reseal(keeping: Keeping) -> list[dict[str, object]]:
    from rich.console import Console
    from rich.progress import Progress

    from billhook_web.sealing import VARIABLE
    from billhook_web.services.resealing import reseal, survey

    if not keeping.sealer.ready:
        raise click.ClickException(f"{VARIABLE} is not set: there is no key to seal with.")
    older = sum(each.older for each in survey(keeping.db, keeping.sealer))
    note_action(keeping.db, "secret.rotate_key", "all", older=older)
    with Progress(console=Console(stderr=True), disable=not older) as progress:
        task = progress.add_task("Sealing", total=older)
        found = reseal(keeping.db, keeping.sealer, did=lambda: progress.advance(task))
    return [asdict(each) for each in found]


@contextmanager
def _keeping() -> Iterator[Keeping]:
    """Give what acts on stored secrets; connections need not be complete yet. Refusals end the command in one line."""
    from billhook.clock import SystemClock
    from billhook.errors import BillhookError, ConfigInvalid
    from billhook.plugins import load_plugins
    from billhook_web.db import Database
    from billhook_web.services.keeping import Keeping

    configuration = read_configuration()
    host = configuration.host
    registry = load_plugins({each.plugin for each in configuration.connections}, denied=host.plugins_deny)
    db = Database(host.sqlalchemy_url())
    try:
        with database_errors():
            require_current(db)
            yield Keeping(
                configuration=configuration, registry=registry, db=db, clock=SystemClock(), sealer=host.sealer(),
                actor=actor(),
            )  # fmt: skip
    except ConfigInvalid as exc:
        raise ConfigurationProblems(exc) from exc
    except BillhookError as exc:
        raise click.ClickException(f"{exc}.") from exc
    finally:
        db.close()


def _value(connection: str, field: str) -> str:
    """Ask for a secret without showing it, or read it from the standard input; never from an argument."""
    if not sys.stdin.isatty():
        return sys.stdin.read().strip()
    asked: str = click.prompt(f"{connection} {field}", hide_input=True, confirmation_prompt=True)
    return asked.strip()


def _duration(text: str) -> timedelta:
    from billhook.dunning import parse_duration

    try:
        return parse_duration(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--overlap") from exc


def _warn_when_outranked(secret: Secret) -> None:
    from billhook_web.services.keeping import STORED

    if secret.source != STORED:
        click.echo(
            f"It does not count yet: {secret.variable} comes from the {secret.source}, which wins. Remove it there "
            "and restart.",
            err=True,
        )
