"""Where commands meet the world: configuration in, tables and JSON out, every expected failure as a plain message.

Exit codes: 0 done · 1 it could not be done · 2 the command or the configuration is wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from billhook.errors import ConfigInvalid
    from billhook.hookspecs import HttpClients
    from billhook_web.db import Database
    from billhook_web.runtime import Runtime
    from billhook_web.settings import Configuration

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

NOT_A_TERMINAL_WIDTH = 200


def actor() -> str:
    """Return who runs this command, for the audit."""
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user need not have a name
        return f"cli:{os.getuid()}"


def note_action(db: Database, action: str, subject: object, **detail: object) -> None:
    """Write into the audit what is done next, when that takes more than one transaction."""
    from billhook.clock import SystemClock
    from billhook_web.stores import audit

    with db.begin() as tx:
        now = SystemClock().now()
        audit.add(tx, at=now, actor=actor(), action=action, subject=subject, detail=detail)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")


class ConfigurationProblems(click.ClickException):
    """The configuration cannot be used: prints every problem with its fix, without a traceback."""

    exit_code = 2

    def __init__(self, exc: ConfigInvalid) -> None:
        super().__init__(str(exc))
        self.problems = exc.problems

    def show(self, file: IO[Any] | None = None) -> None:
        """Print to stderr."""
        count = len(self.problems)
        click.echo(f"The configuration has {count} problem{'s' if count > 1 else ''}:", file=file, err=True)
        for problem in self.problems:
            click.echo(f"  {problem.where}: {problem.what}", file=file, err=True)
            if problem.fix:
                click.echo(f"      {problem.fix}", file=file, err=True)


def read_configuration() -> Configuration:
    """Read the configuration from the environment and set up logging; every problem ends the command."""
    from billhook.errors import ConfigInvalid
    from billhook_web import logs
    from billhook_web.runtime import read_and_check

    try:
        configuration = read_and_check(os.environ)
        _check_servers(configuration)
    except ConfigInvalid as exc:
        raise ConfigurationProblems(exc) from exc
    logs.configure(configuration.host.log_level)
    return configuration


def _check_servers(configuration: Configuration) -> None:
    """What the libraries would only say with a traceback: URLs they cannot read, drivers that are not installed."""
    from importlib.util import find_spec

    from billhook.errors import ConfigInvalid, Problem

    host = configuration.host
    kinds = (
        (
            "BILLHOOK_DATABASE_URL",
            host.database_url,
            ("sqlite", "postgresql", "postgres"),
            "postgres",
            "psycopg",
        ),
        ("BILLHOOK_REDIS_URL", host.redis_url, ("redis", "rediss", "unix"), "redis", "redis"),
    )
    problems: list[Problem] = []
    for variable, url, schemes, extra, driver in kinds:
        scheme = url.get_secret_value().partition("://")[0].partition("+")[0] if url else schemes[0]
        if scheme not in schemes or (url and "://" not in url.get_secret_value()):
            fix = f"Write it as {' or '.join(f'{known}://…' for known in schemes[:2])}."
            problems.append(Problem(variable, "is no URL of a server this host can use.", fix))
        elif url and scheme != "sqlite" and find_spec(driver) is None:
            fix = f"pip install 'billhook-web[{extra}]'."
            problems.append(Problem(variable, f"needs the driver {driver}, which is not installed.", fix))
    if problems:
        raise ConfigInvalid(problems)


@contextmanager
def open_runtime(configuration: Configuration, *, http: HttpClients | None = None) -> Iterator[Runtime]:
    """Put the host together; every problem of every connection ends the command.

    :param http: makes the clients of its plugins; None: ordinary ones.
    """
    from billhook.errors import ConfigInvalid
    from billhook_web.runtime import build_runtime, http_clients

    try:
        runtime = build_runtime(configuration, http=http or http_clients)
    except ConfigInvalid as exc:
        raise ConfigurationProblems(exc) from exc
    try:
        yield runtime
    finally:
        runtime.close()


@contextmanager
def open_database(*, current: bool = True) -> Iterator[Database]:
    """Open the database of the configuration.

    :param current: refuse a database that was not set up or upgraded.
    """
    from billhook_web.db import Database

    host = read_configuration().host
    db = Database(host.sqlalchemy_url())
    try:
        with database_errors():
            if current:
                require_current(db)
            yield db
    finally:
        db.close()


@contextmanager
def database_errors() -> Iterator[None]:
    """Say in one line that the database failed; the driver's message may hold what was to be stored."""
    from billhook_web.db import DatabaseError

    try:
        yield
    except DatabaseError as exc:
        cause = getattr(exc, "orig", None) or exc
        reason = str(cause).strip().splitlines() or [""]
        raise click.ClickException(
            f"The database does not work: {type(cause).__name__}: {reason[0]} (see BILLHOOK_DATABASE_URL)"
        ) from exc


def require_current(db: Database) -> None:
    """End the command unless the tables are those of this version."""
    from billhook_web.stores import schema

    if not schema.is_current(db):
        raise click.ClickException("The database is not set up for this version: run 'billhook db upgrade'.")


def print_list(
    rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str], as_json: bool, empty: str
) -> None:
    """Print rows to stdout: all of each as JSON, or ``columns`` of each as a table."""
    if as_json:
        click.echo(json.dumps([_plain(row) for row in rows], ensure_ascii=False, indent=2))
        return
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console().print(table)


def print_one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing to stdout: as JSON, or a line for each of its fields."""
    if as_json:
        click.echo(json.dumps(_plain(row), ensure_ascii=False, indent=2))
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        lines = _text(value).splitlines() or [""]
        click.echo(f"{name.replace('_', ' ').ljust(width)}  {lines[0]}")
        for line in lines[1:]:
            click.echo(f"{' ' * width}  {line}")


def with_progress(items: Sequence[T], *, label: str, do: Callable[[T], bool]) -> int:
    """Do something with each item while a bar on stderr shows how far it is; return how often it said yes."""
    from rich.console import Console
    from rich.progress import track

    done = 0
    for item in track(items, description=label, console=Console(stderr=True), disable=not items):
        done += do(item)
    return done


def console() -> Any:
    """Return a console on stdout: as wide as the terminal, wide enough for tables when it is none."""
    from rich.console import Console

    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=NOT_A_TERMINAL_WIDTH)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Mapping():
            return _plain(value)
        case tuple() | list():
            return [_json_value(each) for each in value]
        case _:
            return value


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%SZ")
        case tuple() | list():
            return "\n".join(_text(each) for each in value) or "-"
        case Mapping():
            return "  ".join(f"{name}={_text(each)}" for name, each in value.items())
        case _:
            return str(value)


def _cell(value: Any) -> Any:
    from rich.text import Text

    return Text(_text(value))  # not markup: what providers say may hold square brackets
