"""``billhook plugins``: what is installed, what is used, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from billhook_web.cli.edge import json_option, print_list, read_configuration

if TYPE_CHECKING:
    from billhook.plugins import PluginState

COLUMNS = ("name", "status", "version", "distribution", "reason")


@click.group()
def plugins() -> None:
    """See the installed plugins."""


@plugins.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """List every plugin that is installed or asked for, with its status and the reason for it."""
    _print(_states(()), as_json=as_json)


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


def _print(states: tuple[PluginState, ...], *, as_json: bool) -> None:
    rows = [asdict(state) for state in states]
    print_list(rows, columns=COLUMNS, as_json=as_json, empty="No plugin is installed: pip install one.")
