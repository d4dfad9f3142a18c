"""``billhook customers``: erasing what names a person."""

from __future__ import annotations

from dataclasses import asdict

import click

from billhook_web.cli.edge import (
    actor,
    database_errors,
    json_option,
    open_runtime,
    print_one,
    read_configuration,
    require_current,
)


@click.group()
def customers() -> None:
    """See to what is kept about customers."""


@customers.command()
@click.argument("customer_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do it: what is erased cannot be brought back.")
@json_option
def erase(customer_id: str, yes: bool, as_json: bool) -> None:
    """Erase a customer's personal data: name, e-mail, address, tax id, and everything received that holds them.

    Ids, amounts, dates and refs stay, and the books do not change. Providers are not told: erase it there as well. What
    they send later is kept without personal data until the customer is registered again.
    """
    from billhook.errors import NotFound
    from billhook_web.db import Tx
    from billhook_web.stores import audit

    if not yes:
        raise click.UsageError(f"This erases who {customer_id!r} is for good; say --yes.")
    with open_runtime(read_configuration()) as runtime, database_errors():
        require_current(runtime.db)

        def note(tx: Tx) -> None:
            audit.add(tx, at=runtime.clock.now(), actor=actor(), action="customer.erase", subject=customer_id)

        try:
            erased = runtime.erasure.erase(customer_id, note=note)
        except NotFound as exc:
            raise click.ClickException(f"There is no customer {customer_id!r}.") from exc
    print_one(asdict(erased), as_json=as_json)
