"""``billhook leases``: the keys that sign access leases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from billhook_web.cli.edge import (
    actor,
    database_errors,
    json_option,
    print_list,
    read_configuration,
    require_current,
)

if TYPE_CHECKING:
    from billhook_web.services.leasing import Leasing

COLUMNS = ("kid", "state", "created_at", "signs_at")


@click.group()
def leases() -> None:
    """Look at and change the keys that sign access leases."""


@leases.command("keys")
@json_option
def list_keys(as_json: bool) -> None:
    """List the keys in the order in which they sign."""
    from billhook.clock import SystemClock

    with _leasing() as leasing:
        rows = [
            {"kid": key.kid, "state": str(state), "created_at": key.created_at, "signs_at": key.signs_at}
            for key, state in leasing.states(now=SystemClock().now())
        ]
    print_list(rows, columns=COLUMNS, as_json=as_json, empty="There are no keys: the first lease makes one.")


@leases.command("rotate-key")
@click.option("--at-once", is_flag=True, help="Forget the old keys now: they are no longer to be believed.")
def rotate_key(at_once: bool) -> None:
    """Make a new key. It is published at once and signs a few minutes later; the old one leaves after it."""
    from billhook.clock import SystemClock
    from billhook.errors import BillhookError

    with _leasing() as leasing:
        try:
            made = leasing.rotate(now=SystemClock().now(), actor=actor(), at_once=at_once)
        except BillhookError as exc:
            raise click.ClickException(str(exc)) from exc
    click.echo(f"Key {made.kid} is published and signs from {made.signs_at:%Y-%m-%d %H:%M:%SZ}.")


@contextmanager
def _leasing() -> Iterator[Leasing]:
    from billhook_web.db import Database
    from billhook_web.services.leasing import Leasing

    host = read_configuration().host
    db = Database(host.sqlalchemy_url())
    try:
        with database_errors():
            require_current(db)
            yield Leasing(db=db, sealer=host.sealer(), issuer=host.public_url)
    finally:
        db.close()
