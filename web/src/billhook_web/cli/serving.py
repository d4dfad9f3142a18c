"""``billhook serve``, ``web`` and ``worker``: the processes of a host."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from billhook_web.cli import server
from billhook_web.cli.connections import webhook_url
from billhook_web.cli.edge import (
    database_errors,
    open_runtime,
    read_configuration,
    require_current,
)
from billhook_web.cli.server import Serving

if TYPE_CHECKING:
    from billhook_web.db import Database
    from billhook_web.runtime import Runtime
    from billhook_web.settings import Configuration

host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
port_option = click.option(
    "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port to listen on."
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Requests answered at a time.",
)


@click.command()
@host_option
@port_option
@threads_option
def serve(host: str, port: int, threads: int) -> None:
    """Run everything in one place: upgrades the database, receives, answers, and does the background work."""
    configuration = _with_public_url(read_configuration(), port)
    with open_runtime(configuration) as runtime, database_errors():
        _upgrade(runtime.db)
        lines = _prepare(runtime, host=host, port=port)
    _run(Serving(host=host, port=port, threads=threads, background=True), lines)


@click.command()
@host_option
@port_option
@threads_option
def web(host: str, port: int, threads: int) -> None:
    """Receive and answer only; 'billhook worker' processes do the work. Needs BILLHOOK_REDIS_URL."""
    configuration = _with_public_url(read_configuration(), port)
    _require_redis(configuration.host.redis_url is not None, "web")
    with open_runtime(configuration) as runtime, database_errors():
        require_current(runtime.db)
        lines = _prepare(runtime, host=host, port=port)
    _run(Serving(host=host, port=port, threads=threads, background=False), lines)


@click.command()
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    help="Things done at a time. [default: BILLHOOK_WORKER_THREADS, 8]",
)
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address for --metrics-port.")
@click.option(
    "--metrics-port", type=click.IntRange(1, 65535), help="Answer /metrics, /healthz and /readyz here."
)
def worker(threads: int | None, metrics_host: str, metrics_port: int | None) -> None:
    """Do the background work only, beside 'billhook web' processes. Needs BILLHOOK_REDIS_URL."""
    from dataclasses import replace

    from billhook_web.worker import run

    configuration = read_configuration()
    _require_redis(configuration.host.redis_url is not None, "worker")
    if threads is not None:
        host = configuration.host.model_copy(update={"worker_threads": threads})
        configuration = replace(configuration, host=host)
    with open_runtime(configuration) as runtime:
        with database_errors():
            require_current(runtime.db)
        count = configuration.host.worker_threads
        click.echo(
            f"Billhook works with {count} thread{'' if count == 1 else 's'}; stop it with SIGTERM or Ctrl-C."
        )
        with ExitStack() as stack:
            if metrics_port is not None:
                _answer_operators(stack, runtime, metrics_host, metrics_port)
            run(runtime)
    click.echo("Stopped.")


def _answer_operators(stack: ExitStack, runtime: Runtime, host: str, port: int) -> None:
    from billhook_web.worker import answering

    try:
        stack.enter_context(answering(runtime, host, port))
    except OSError as exc:
        raise click.ClickException(f"Cannot listen on {host} port {port}: {exc.strerror or exc}.") from exc


def _with_public_url(configuration: Configuration, port: int) -> Configuration:
    """Links lead to the port that is served, on this machine, unless BILLHOOK_PUBLIC_URL says where they lead."""
    if "public_url" in configuration.host.model_fields_set:
        return configuration
    os.environ["BILLHOOK_PUBLIC_URL"] = f"http://127.0.0.1:{port}"  # the serving process reads it again
    return read_configuration()


def _require_redis(is_set: bool, command: str) -> None:
    if not is_set:
        raise click.ClickException(
            f"'billhook {command}' needs BILLHOOK_REDIS_URL: without it there is no queue that two processes share. "
            "Set it, or use 'billhook serve', which needs none."
        )


def _upgrade(db: Database) -> None:
    from billhook_web.stores import schema

    before = schema.revision(db)
    schema.upgrade(db)
    after = schema.revision(db)
    if before == after:
        click.echo(f"Database: revision {after}, up to date.")
    else:
        click.echo(f"Database: upgraded from {before or 'nothing'} to revision {after}.")


def _prepare(runtime: Runtime, *, host: str, port: int) -> list[str]:
    """Store the bootstrap key and return what to print when the port is open."""
    from billhook_web.auth import ensure_bootstrap_key

    ensure_bootstrap_key(runtime)
    name = f"[{host}]" if ":" in host else host
    lines = [f"Billhook listens on http://{name}:{port}"]
    for connection in runtime.connections.all():
        state = f"OUT OF ORDER: {connection.problem}" if connection.problem else "ready"
        url = webhook_url(connection, runtime) or "sends no webhooks"
        lines.append(f"  {connection.name} ({connection.plugin})  {url}  {state}")
    if not runtime.connections.all():
        lines.append("  Nothing is connected: set BILLHOOK_CONNECTIONS.")
    return lines


def _run(serving: Serving, lines: list[str]) -> None:
    server.run(serving, on_listening=lambda: click.echo("\n".join(lines)))
    click.echo("Stopped.")
