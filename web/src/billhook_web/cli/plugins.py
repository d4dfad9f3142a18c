"""``billhook plugins``: what is installed, what is used, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from billhook_web.cli.edge import json_option, print_list, read_configuration

if TYPE_CHECKING:
    from billhook.plugins import PluginState

COLUMNS = ("name", "status", "version", "distribution", "reason", "connections")


@click.group()
def plugins() -> None:
    """See the installed plugins."""


@plugins.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """List every plugin that is installed or asked for, its status with the reason, and how its connections do."""
    _print(_states(()), as_json=as_json, told=_told())


@plugins.command()
@click.argument("names", nargs=-1)
@json_option
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Load the plugins in use, and NAMES also when nothing uses them; exits 1 when one is out of order."""
    from billhook.plugins import PluginStatus

    states = _states(names)
    _print(states, as_json=as_json)
    broken = (PluginStatus.ERROR, PluginStatus.INCOMPATIBLE, PluginStatus.MISSING)
    if any(state.status in broken for state in states):
        raise SystemExit(1)


def _states(more: Collection[str]) -> tuple[PluginState, ...]:
    from billhook.plugins import load_plugins

    configuration = read_configuration()
    host = configuration.host
    wanted = {connection.plugin for connection in configuration.connections} | set(host.plugins_allow)
    return load_plugins(wanted | set(more), denied=host.plugins_deny).states()


def _told() -> Mapping[str, list[str]]:
    """Return what the running host told of each plugin's connections; nothing while it has no database to tell it to."""
    from billhook.clock import SystemClock
    from billhook_web.db import Database, DatabaseError
    from billhook_web.stores import conditions, schema

    configuration = read_configuration()
    db = Database(configuration.host.sqlalchemy_url())
    try:
        if not schema.is_current(db):
            return {}
        with db.read() as tx:
            known = conditions.of_all(tx)
    except DatabaseError:
        return {}
    finally:
        db.close()
    now, told = SystemClock().now(), dict[str, list[str]]()
    for each in configuration.connections:
        found = known.get(each.name)
        if found is not None and found.trouble(now):
            told.setdefault(each.plugin, []).append(f"{each.name} {found.trouble(now)}: {found.told(now)}")
    return told


def _print(
    states: tuple[PluginState, ...], *, as_json: bool, told: Mapping[str, list[str]] | None = None
) -> None:
    rows: list[dict[str, Any]] = [asdict(state) for state in states]
    for row in rows if told is not None else ():
        said = told.get(row["name"], []) if told else []
        row["connections"] = said if as_json else "; ".join(said)
    print_list(rows, columns=COLUMNS, as_json=as_json, empty="No plugin is installed: pip install one.")
