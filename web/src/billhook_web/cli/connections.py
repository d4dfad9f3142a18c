"""``billhook connections``: what is connected, where its webhooks go, and whether its set-up is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from billhook_web.cli.edge import json_option, open_runtime, print_list, read_configuration

if TYPE_CHECKING:
    from billhook_web.runtime import Runtime
    from billhook_web.services.connections import Connection

LIST_COLUMNS = ("name", "plugin", "offers", "webhook_url", "state", "problem")
CHECK_COLUMNS = ("connection", "severity", "what", "fix")


@click.group()
def connections() -> None:
    """See and check what is connected."""


@connections.command("list")
@json_option
def list_connections(as_json: bool) -> None:
    """List the connections; with --json also their settings, secrets masked."""
    with open_runtime(read_configuration()) as runtime:
        rows = [{**_fields(each, runtime), **_health(each, runtime)} for each in runtime.connections.all()]
    print_list(
        rows, columns=LIST_COLUMNS, as_json=as_json, empty="Nothing is connected: set BILLHOOK_CONNECTIONS."
    )


@connections.command()
@click.argument("names", nargs=-1)
@json_option
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Ask providers whether credentials, products, webhooks and licences are as they must be.

    Checks all connections, or those called NAMES; only harmless calls are made. Exits 1 when something is wrong.
    """
    from billhook.provider import Severity
    from billhook_web.doctor.providers import findings_of

    with open_runtime(read_configuration()) as runtime:
        known = {each.name: each for each in runtime.connections.all()}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise click.ClickException(
                f"There is no connection {', '.join(unknown)}; see 'billhook connections list'."
            )
        rows = [
            {
                "connection": name,
                "severity": found.severity,
                "what": runtime.hide(found.what),
                "fix": runtime.hide(found.fix),
            }
            for name in (names or known)
            for found in findings_of(known[name])
        ]
    print_list(
        rows, columns=CHECK_COLUMNS, as_json=as_json, empty="Nothing is connected: set BILLHOOK_CONNECTIONS."
    )
    if any(row["severity"] is Severity.ERROR for row in rows):
        raise SystemExit(1)


def webhook_url(connection: Connection, runtime: Runtime) -> str | None:
    """Return where the provider must send its webhooks; None when it sends none."""
    if connection.source is None:
        return None
    return f"{runtime.configuration.host.public_url}/webhooks/{connection.name}"


def _health(connection: Connection, runtime: Runtime) -> dict[str, Any]:
    """Say how the connection does: ``ok``, ``out``, ``down`` (no answer from its provider), ``failing`` (its plugin), ``stale`` (settings)."""
    from billhook_web.db import DatabaseError
    from billhook_web.stores import conditions

    if connection.problem is not None:
        return {"state": "out"}
    try:
        with runtime.db.read() as tx:
            found = conditions.of_all(tx).get(connection.name)
    except DatabaseError:
        return {"state": "unknown"}
    now = runtime.clock.now()
    trouble = found.trouble(now) if found else None
    if found is None or trouble is None:
        return {"state": "ok"}
    return {"state": trouble, "problem": found.told(now)}


def _fields(connection: Connection, runtime: Runtime) -> dict[str, Any]:
    from billhook.config import masked

    parts = {
        "billing engine": connection.engine,
        "payment provider": connection.provider,
        "webhooks": connection.source,
        "notifications": connection.channel,
    }
    return {
        "name": connection.name,
        "plugin": connection.plugin,
        "offers": [name for name, part in parts.items() if part is not None],
        "webhook_url": webhook_url(connection, runtime),
        "problem": connection.problem,
        "settings": masked(connection.settings) if connection.settings else None,
    }
