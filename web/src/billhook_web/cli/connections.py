"""``billhook connections``: what is connected, where its webhooks go, and whether its set-up is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from billhook_web.cli.edge import json_option, open_runtime, print_list, read_configuration

if TYPE_CHECKING:
    from billhook.provider import Finding, SupportsCheck
    from billhook_web.runtime import Runtime
    from billhook_web.services.connections import Connection

LIST_COLUMNS = ("name", "plugin", "offers", "webhook_url", "problem")
CHECK_COLUMNS = ("connection", "severity", "what", "fix")


@click.group()
def connections() -> None:
    """See and check what is connected."""


@connections.command("list")
@json_option
def list_connections(as_json: bool) -> None:
    """List the connections; with --json also their settings, secrets masked."""
    with open_runtime(read_configuration()) as runtime:
        rows = [_fields(each, runtime) for each in runtime.connections.all()]
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

    with open_runtime(read_configuration()) as runtime:
        known = {each.name: each for each in runtime.connections.all()}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise click.ClickException(
                f"There is no connection {', '.join(unknown)}; see 'billhook connections list'."
            )
        rows = [
            {"connection": name, "severity": found.severity, "what": found.what, "fix": found.fix}
            for name in (names or known)
            for found in _findings(known[name])
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


def _fields(connection: Connection, runtime: Runtime) -> dict[str, Any]:
    from billhook.config import masked

    parts = {
        "billing engine": connection.engine,
        "payment provider": connection.provider,
        "webhooks": connection.source,
    }
    return {
        "name": connection.name,
        "plugin": connection.plugin,
        "offers": [name for name, part in parts.items() if part is not None],
        "webhook_url": webhook_url(connection, runtime),
        "problem": connection.problem,
        "settings": masked(connection.settings) if connection.settings else None,
    }


def _findings(connection: Connection) -> Iterator[Finding]:
    from billhook.provider import Finding, Severity, SupportsCheck

    if connection.problem is not None:
        fix = f"See 'billhook plugins check {connection.plugin}'."
        yield Finding(
            severity=Severity.ERROR, what=f"The plugin is out of order: {connection.problem}", fix=fix
        )
        return
    parts: list[object] = [connection.engine, connection.provider, connection.source]
    able = {id(part): part for part in parts if isinstance(part, SupportsCheck)}  # one object may be several
    if not able:
        yield Finding(
            severity=Severity.OK, what="The settings are complete; this plugin has no further check."
        )
    for part in able.values():
        yield from _checked(part)


def _checked(part: SupportsCheck) -> Iterator[Finding]:
    from billhook.errors import BillhookError
    from billhook.provider import Finding, Severity

    try:
        yield from part.check()
    except BillhookError as exc:
        fix = "Check its address and credentials, and whether it is reachable from here."
        yield Finding(severity=Severity.ERROR, what=f"The provider could not be asked: {exc}", fix=fix)
    except Exception as exc:  # noqa: BLE001 - foreign code: the other connections are still checked
        fix = "Report it to the plugin's author."
        yield Finding(severity=Severity.ERROR, what=f"The check failed: {type(exc).__name__}: {exc}", fix=fix)
