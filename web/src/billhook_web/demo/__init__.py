"""``billhook demo``: the main job and everything that can go wrong with it, played on sandboxes in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

from rich.console import Console

from billhook.clock import monotonic
from billhook.plugins import Installed
from billhook_web.demo import keeping_story, telling
from billhook_web.demo.api import Api
from billhook_web.demo.casting import NobodyToPlay
from billhook_web.demo.desk import GUEST, MOUNT, Desk
from billhook_web.demo.loopback import PortTaken
from billhook_web.demo.play import Play
from billhook_web.demo.stage import PATIENCE_SECONDS, Stage, open_stage
from billhook_web.demo.story import STEPS, Step
from billhook_web.demo.telling import Telling

__all__ = ["run", "stay"]

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
    told, started = Telling(console or telling.console()), monotonic()
    plugins = None if installed is None else tuple(installed)
    try:
        for play, is_last in _acts(told, port=port, installed=plugins, patience=patience):
            if is_last:
                told.ending(seconds=monotonic() - started)
                if not once:
                    stay(play, wait=threading.Event().wait)
    except (PortTaken, NobodyToPlay) as exc:
        told.say(str(exc), style="bold red")
        return 1
    except KeyboardInterrupt:
        told.say("\nStopped before the end of the story.")
        return _INTERRUPTED
    return 0 if told.failures == 0 else 1


def _acts(
    told: Telling, *, port: int, installed: Sequence[Installed] | None, patience: float
) -> Iterator[tuple[Play, bool]]:
    """Play one act after the other, each on a stage of its own; hand out each play, its stage still up, and whether it is the last."""
    with _on_stage(told, port=port, installed=installed, patience=patience, payer=None) as play:
        _tell(play, STEPS, first=1)
        keeper = play.stage.cast.keeper
        yield play, keeper is None
    if keeper is None:
        return
    with _on_stage(told, port=port, installed=installed, patience=patience, payer=keeper) as play:
        _tell(play, keeping_story.STEPS, first=len(STEPS) + 1)
        yield play, True


@contextmanager
def _on_stage(
    told: Telling, *, port: int, installed: Sequence[Installed] | None, patience: float, payer: str | None
) -> Iterator[Play]:
    with (
        open_stage(port=port, installed=installed, patience=patience, payer=payer) as stage,
        closing(Api(stage.url, stage.api_key)) as api,
    ):
        yield Play(stage, told, api)


def _tell(play: Play, steps: Sequence[tuple[str, Step]], *, first: int) -> None:
    """Play every step; stop at one that cannot go on."""
    engine, payment = play.stage.cast.engine.story.title, play.stage.cast.payment.story.title
    told = play.telling
    told.title(
        f"Billhook: invoices of {engine} are collected through {payment}",
        ["One process, a fresh database, a clock that can be skipped ahead. No account, no real money."],
    )
    for number, (title, step) in enumerate(steps, start=first):
        told.headline(number, title)
        try:
            step(play)
        except Exception as exc:  # noqa: BLE001 - the edge: whatever it was, the step did not come out as told
            told.broken(exc)
            break


def stay(play: Play, *, wait: Callable[[], object]) -> None:
    """Leave a subscription's invoice open, say where everything is, and ``wait`` until Ctrl-C ends it."""
    stage, engine = play.stage, play.engine.story
    stage.doors[MOUNT] = Desk(stage)
    play.register(GUEST)
    stage.settle()
    engine.subscribe(GUEST)
    stage.settle()
    pay_url = play.invoice(engine.invoices()[-1].id)["pay_url"]
    play.telling.places("It stays up; look around", _places(stage, pay_url))
    play.telling.say("Ctrl-C ends it.")
    try:
        wait()
    except KeyboardInterrupt:
        play.telling.say("\nStopped. The database is gone with it.")


def _places(stage: Stage, pay_url: str) -> list[tuple[str, str]]:
    return [
        *_portal(stage),
        ("Pay an invoice", pay_url),
        ("Desk: let days pass, bill", f"{stage.url}{MOUNT}/"),
        ("API key", stage.api_key),
        ("API", f"{stage.url}/api/v1"),
        ("API reference", f"{stage.url}/api/docs"),
        *(
            (f"{role.story.title} sandbox", f"{stage.url}{role.mount}{role.story.page}")
            for role in stage.cast.roles
        ),
        *((f"{role.story.title} webhooks", f"{stage.url}/webhooks/{role.name}") for role in stage.cast.roles),
        ("Log", str(stage.log_file)),
    ]


def _portal(stage: Stage) -> list[tuple[str, str]]:
    """Return the ways into the portal where somebody keeps payment methods."""
    if stage.runtime.methods.offered() is None:
        return []
    return [
        ("Portal (once, 5 min)", Desk(stage).way_in()),
        ("Portal (a fresh link)", f"{stage.url}{MOUNT}/portal"),
    ]
