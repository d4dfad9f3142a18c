"""``billhook demo``: the main job and everything that can go wrong with it, played on sandboxes in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import closing

from rich.console import Console

from billhook.clock import monotonic
from billhook.money import Money
from billhook.plugins import Installed
from billhook_web.demo import telling
from billhook_web.demo.api import Api
from billhook_web.demo.casting import NobodyToPlay
from billhook_web.demo.loopback import PortTaken
from billhook_web.demo.play import Play
from billhook_web.demo.stage import PATIENCE_SECONDS, Stage, open_stage
from billhook_web.demo.story import STEPS
from billhook_web.demo.telling import Telling

__all__ = ["run", "stay"]

_LAST_BILL = Money(4_200, "EUR")
_INTERRUPTED = 130  # as shells say it


def run(
    once: bool,
    port: int,
    *,
    console: Console | None = None,
    installed: Iterable[Installed] | None = None,
    patience: float = PATIENCE_SECONDS,
) -> int:
    """Tell the story; return 0 when every step came out as told, else 1.

    :param once: stop after the story; else stay up, for people to look around, until Ctrl-C.
    :param port: 0: any that is free.
    :param console: where to print; None: the terminal.
    :param installed: the plugins to choose from; None: those of this environment.
    :param patience: seconds to wait for what must happen at once.
    """
    told = Telling(console or telling.console())
    plugins = None if installed is None else tuple(installed)
    try:
        with open_stage(port=port, installed=plugins, patience=patience) as stage:
            with closing(Api(stage.url, stage.api_key)) as api:
                play = Play(stage, told, api)
                all_well = _tell(play)
                if not once:
                    stay(play, wait=threading.Event().wait)
            return 0 if all_well else 1
    except (PortTaken, NobodyToPlay) as exc:
        told.say(str(exc), style="bold red")
        return 1
    except KeyboardInterrupt:
        told.say("\nStopped before the end of the story.")
        return _INTERRUPTED


def _tell(play: Play) -> bool:
    """Play every step; stop at one that cannot go on. Return whether all came out as told."""
    engine, payment = play.stage.cast.engine.story.title, play.stage.cast.payment.story.title
    told, started = play.telling, monotonic()
    told.title(
        f"Billhook: invoices of {engine} are collected through {payment}",
        ["One process, a fresh database, a clock that can be skipped ahead. No account, no real money."],
    )
    for number, (title, step) in enumerate(STEPS, start=1):
        told.headline(number, title)
        try:
            step(play)
        except Exception as exc:  # noqa: BLE001 - the edge: whatever it was, the step did not come out as told
            told.broken(exc)
            break
    told.ending(seconds=monotonic() - started)
    return told.failures == 0


def stay(play: Play, *, wait: Callable[[], object]) -> None:
    """Leave an invoice open, say where everything is, and ``wait`` until Ctrl-C ends it."""
    stage = play.stage
    play.register("acct_ada")
    stage.settle()
    invoice_id = play.engine.story.invoice("acct_ada", _LAST_BILL)
    stage.settle()
    play.telling.places("It stays up; look around", _places(stage, play.invoice(invoice_id)["pay_url"]))
    play.telling.say("Ctrl-C ends it.")
    try:
        wait()
    except KeyboardInterrupt:
        play.telling.say("\nStopped. The database is gone with it.")


def _places(stage: Stage, pay_url: str) -> list[tuple[str, str]]:
    return [
        ("API key", stage.api_key),
        ("API", f"{stage.url}/api/v1"),
        ("API reference", f"{stage.url}/api/docs"),
        (f"Pay {_LAST_BILL}", pay_url),
        *_portal(stage),
        *(
            (f"{role.story.title} sandbox", f"{stage.url}{role.mount}{role.story.page}")
            for role in stage.cast.roles
        ),
        *((f"{role.story.title} webhooks", f"{stage.url}/webhooks/{role.name}") for role in stage.cast.roles),
        ("Log", str(stage.log_file)),
    ]


def _portal(stage: Stage) -> list[tuple[str, str]]:
    """Return a link into the portal where somebody keeps payment methods; it works once, for five minutes."""
    if stage.runtime.methods.offered() is None:
        return []
    token = stage.runtime.portal.issue("acct_ada", page="payment-methods", return_url=None).token
    return [("Portal (5 min)", f"{stage.url}/portal/enter/{token}")]
