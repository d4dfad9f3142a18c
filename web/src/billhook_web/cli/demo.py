"""``billhook demo``: the whole story, without an account anywhere."""

from __future__ import annotations

import signal

import click


@click.command()
@click.option(
    "--once", is_flag=True, help="End after the story; exits 0 only when every step came out as told."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
def demo(once: bool, port: int) -> None:
    """Play invoice, checkout, decline, refund, outage and a late bank debit between sandboxes, then stay up to be explored."""
    from billhook_web.demo import run

    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # like Ctrl-C: everything is taken down and removed
    raise SystemExit(run(once=once, port=port))
