"""``billhook sandbox``: a provider to try things with, on this machine."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from billhook_web.cli.edge import read_configuration

if TYPE_CHECKING:
    from billhook.hookspecs import ProviderSandbox

DELIVER_SECONDS = 0.25


@click.command()
@click.argument("plugin")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on. [default: a free one]"
)
@click.option("--webhook-url", help="Where its webhooks go. [default: they stay in its queue]")
@click.option("--name", help="Name of the connection to print settings for. [default: PLUGIN]")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the sandbox; repeatable."
)
def sandbox(
    plugin: str, port: int, webhook_url: str | None, name: str | None, settings: tuple[str, ...]
) -> None:
    """Run the stand-in for a provider that PLUGIN ships: it speaks the wire format, and forgets all when stopped."""
    made = _make(plugin, webhook_url=webhook_url, settings=_pairs(settings))
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    server = _serve(made, port)
    base_url = f"http://127.0.0.1:{server.server_port}"
    _introduce(made, plugin=plugin, name=name or plugin, base_url=base_url)
    while not stop.wait(DELIVER_SECONDS):
        made.tick()
        made.deliver_webhooks()
    server.shutdown()
    server.server_close()
    click.echo("Stopped.", err=True)


def _make(plugin: str, *, webhook_url: str | None, settings: Mapping[str, str]) -> ProviderSandbox:
    from billhook.clock import SystemClock
    from billhook.plugins import PluginStatus, load_plugins

    registry = load_plugins({plugin}, denied=read_configuration().host.plugins_deny)
    state = registry.state(plugin)
    if state is None or state.status is not PluginStatus.ENABLED:
        reason = state.reason if state and state.reason else "It is not installed."
        raise click.ClickException(f"The plugin {plugin!r} cannot be used: {reason}")
    try:
        made: ProviderSandbox | None = registry.sandbox_factory(plugin)(
            clock=SystemClock(), webhook_url=webhook_url, settings=settings
        )
    except ImportError as exc:
        reason = f"The sandbox of {plugin!r} needs more: pip install '{state.distribution}[sandbox]' ({exc})."
        raise click.ClickException(reason) from exc
    except ValueError as exc:
        raise click.ClickException(f"The sandbox of {plugin!r} refuses: {exc}") from exc
    if made is None:
        raise click.ClickException(f"The plugin {plugin!r} ships no sandbox.")
    return made


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = [setting.partition("=") for setting in settings]
    if any(not (key and equals) for key, equals, _ in pairs):
        raise click.UsageError("Write --set KEY=VALUE.")
    return {key: value for key, _, value in pairs}


def _serve(made: ProviderSandbox, port: int) -> Any:
    """Serve in threads of this process: the sandbox keeps its state in memory."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing: its address may carry ids."""

    try:
        server = make_server("127.0.0.1", port, made.wsgi, threaded=True, request_handler=Silent)  # type: ignore[arg-type]  # the hook types it as object
    except (OSError, SystemExit) as exc:
        raise click.ClickException(f"Port {port} cannot be opened; choose another with --port.") from exc
    threading.Thread(target=server.serve_forever, name="billhook-sandbox", daemon=True).start()
    return server


def _introduce(made: ProviderSandbox, *, plugin: str, name: str, base_url: str) -> None:
    """Print on stdout what to set, ready for a shell, and everything else on stderr."""
    from billhook.config import prefix_of

    connection = name if name == plugin else f"{name}={plugin}"
    click.echo(
        f"The {plugin} sandbox listens on {base_url}; Ctrl-C ends it. To connect a host to it:", err=True
    )
    click.echo(f"export BILLHOOK_CONNECTIONS={connection}")
    for field, value in made.environment(base_url).items():
        click.echo(f"export {prefix_of(name)}_{field.upper()}={_quoted(value)}")


def _quoted(value: str) -> str:
    import shlex

    return shlex.quote(value)
