"""Break everything while money moves, wait until it is quiet, and compare what was done with what should have been.

``python -m chaos.run_chaos [--quick] [--payer stripe] [--seed N]``: first PostgreSQL, Redis, a web and two worker processes, then one
process on SQLite. Prints a report; exits 1 when anything was lost, doubled or stuck. The seed decides what is drawn, not
when the machine does it: a run cannot be repeated exactly.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from billhook.clock import SystemClock, new_token
from billhook_lago.sandbox import LagoSandbox
from billhook_web.demo.loopback import Loopback
from chaos import machines, verdict
from chaos.load import API_KEY, Life
from chaos.machines import Killer, Machines, free_port
from chaos.network import Postman, Weather
from chaos.payers import PAYERS
from chaos.verdict import Books, Evidence

LEASE_SECONDS = 6
"""How long the work of a killed process rests. Two minutes in earnest."""

ROUNDS = 6
"""Reconciliations at most."""

Stage = Callable[[Path, int, Mapping[str, str]], AbstractContextManager[Machines]]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much happens: ``pause`` between two kills and ``quiet`` (the longest wait afterwards) in seconds."""

    invoices: int
    seconds: float
    kills: int
    restarts: int
    quiet: float
    pause: tuple[float, float] = (1.5, 4.0)


FULL = {
    "PostgreSQL + Redis": Scale(invoices=150, seconds=75, kills=22, restarts=2, quiet=70),
    "SQLite": Scale(invoices=60, seconds=35, kills=10, restarts=0, quiet=60),
}
QUICK = {
    "PostgreSQL + Redis": Scale(invoices=30, seconds=8, kills=5, restarts=1, quiet=45, pause=(0.5, 1.5)),
    "SQLite": Scale(invoices=12, seconds=4, kills=2, restarts=0, quiet=40, pause=(0.5, 2.0)),
}
STAGES: Mapping[str, Stage] = {"PostgreSQL + Redis": machines.distributed, "SQLite": machines.embedded}


class Run:
    """One host, both sandboxes, and what happens to them."""

    def __init__(self, stage: Stage, scale: Scale, *, payer: str, seed: int) -> None:
        self._stage, self._scale, self._seed, self._payer_name = stage, scale, seed, payer
        self.report: list[tuple[str, str]] = []
        self.violations: list[str] = []

    def play(self, folder: Path) -> None:
        """Play it to the end."""
        port = free_port()
        with ExitStack() as stack:
            self._set_up_sandboxes(stack, f"http://127.0.0.1:{port}")
            running = stack.enter_context(self._stage(folder, port, self._settings()))
            self._note("while everything works")
            try:
                self._break_everything(running)
                self._heal(running)
                self._judge(running)
            except BaseException:
                for log in sorted(folder.glob("*.log")):
                    print(
                        f"--- the end of {log.name}\n" + log.read_text(errors="replace")[-1500:],
                        file=sys.stderr,
                    )
                raise

    def _set_up_sandboxes(self, stack: ExitStack, host: str) -> None:
        clock = SystemClock()
        self._postman = Postman(host, seed=self._seed, drop=0.2)
        self._lago = LagoSandbox(clock=clock, post=self._postman.box("lago"))
        name = self._payer_name
        self._payer = PAYERS[name](clock=clock, post=self._postman.box(name))
        servers = [stack.enter_context(Loopback(0).serving()) for _ in range(2)]
        self._urls = [server.url for server in servers]
        self._weather = [
            Weather(app, seed=self._seed + 1, rate=0.04, hang_seconds=LEASE_SECONDS / 4)
            for app in (self._lago, self._payer.app)
        ]
        for server, app in zip(servers, self._weather, strict=True):
            server.app = app
        self._stop = threading.Event()
        self._life = Life(host=host, lago=self._lago, payer=self._payer, seed=self._seed + 2, stop=self._stop)
        self._postman.start()
        stack.callback(self._postman.stop)
        stack.callback(self._stop.set)

    def _settings(self) -> dict[str, str]:
        prefix = self._payer.name.upper()
        return {
            "BILLHOOK_CONNECTIONS": f"lago,{self._payer.name}",
            "BILLHOOK_API_KEY": API_KEY,
            "BILLHOOK_RETRY_SCHEDULE": "PT3S,PT3S,PT3S",
            "BILLHOOK_LEASE": f"PT{LEASE_SECONDS}S",
            "BILLHOOK_RECONCILE_EVERY": "never",
            "LAGO_API_URL": f"{self._urls[0]}/api/v1",
            "LAGO_API_KEY": "lago-sandbox-key",
            "LAGO_WEBHOOK_SECRET": "lago-sandbox-hmac-key",
            **{f"{prefix}_{name}": value for name, value in self._payer.environment(self._urls[1]).items()},
        }

    def _break_everything(self, running: Machines) -> None:
        killer = Killer(running, seed=self._seed + 3, pause=self._scale.pause, restarts=self._scale.restarts)
        killing = self._start(lambda: killer.kill(self._scale.kills, stop=self._stop))
        self._start(self._carry_forever)
        self._start(lambda: self._supervise(running))
        self._start(self._life.pay_forever)
        self._life.register(max(6, self._scale.invoices // 5))
        self._life.bill(self._scale.invoices, seconds=self._scale.seconds)
        killing.join(self._scale.kills * self._scale.pause[1] + 120)
        self._note("killed or restarted", killer.counts)

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        """Do something in a thread; that it fails is a violation, or nobody would hear of it."""

        def do() -> None:
            try:
                work()
            except Exception as exc:  # noqa: BLE001 - whatever it was, it must be told
                self.violations.append(f"chaos itself failed: {exc!r}")

        thread = threading.Thread(target=do, daemon=True)
        thread.start()
        return thread

    def _carry_forever(self) -> None:
        while not self._stop.wait(0.02):
            self._lago.deliver_webhooks()
            self._payer.go_on()

    def _supervise(self, running: Machines) -> None:
        while not self._stop.wait(0.5):
            for process in running.processes:
                process.revive()

    def _heal(self, running: Machines) -> None:
        """The weather clears; what was dropped is asked for; then everything comes to its end.

        What a round brings (a payment, say) causes more, so there is another until one brings nothing.
        """
        self._stop.wait(self._scale.seconds / 4)  # money goes back after it came, in bad weather still
        self._await_returns()
        self._life.retire()
        for weather in self._weather:
            weather.calm()
        self._postman.calm()
        facts = []
        for _ in range(ROUNDS):
            visits = self._life.pay_once()
            self._await_quiet(running)
            facts.append(self._reconcile(running))
            self._await_quiet(running)
            if not visits and not facts[-1]:
                break
        self._note("facts that reconciliation brought", {"": facts})

    def _await_returns(self) -> None:
        """Wait until somebody was given money back, so that even a short run has it. By luck nobody is."""
        deadline = time.monotonic() + self._scale.quiet
        while not self._life.returns() and time.monotonic() < deadline:
            self._stop.wait(0.3)

    def _reconcile(self, running: Machines) -> int:
        done = running.command("reconcile", "--since", "1h", "--json")
        if done.returncode:
            self.violations.append(f"reconcile: {done.stdout[-500:]} {done.stderr[-500:]}")
            return 0
        runs = json.loads(done.stdout)
        return sum(run["facts"] for run in (runs["data"] if isinstance(runs, dict) else runs))

    def _await_quiet(self, running: Machines) -> None:
        """Wait until nobody has anything to do. What is left then, the verdict names."""
        deadline, quiet = time.monotonic() + self._scale.quiet, 0
        while quiet < 2 and time.monotonic() < deadline:
            books = Books.read(self._database(running))
            busy = books.unfinished() or self._postman.waiting()
            quiet = 0 if busy else quiet + 1
            time.sleep(0.3)

    def _database(self, running: Machines) -> str:
        return running.env["BILLHOOK_DATABASE_URL"]

    def _judge(self, running: Machines) -> None:
        books = Books.read(self._database(running))
        seen = Evidence(books=books, lago=self._lago, payer=self._payer, accepted=set(self._postman.accepted))
        self._note("people", self._life.world.counts | {"invoices": len(self._life.world.invoices)})
        self._note("webhooks", self._postman.counts | {"accepted": len(seen.accepted)})
        for name, weather in zip(("engine's API", "provider's API"), self._weather, strict=True):
            self._note(name, weather.counts)
        self._note("effects", verdict.effects_by_kind(books))
        for check in verdict.CHECKS:
            found = list(check(seen))
            self.violations += found
            self._note(check.__name__.replace("_", " "), {"violated" if found else "holds": len(found) or ""})
        rebuilt = running.command("rebuild", "--check")
        self._note(
            "the ledger is what the inbox says", {"holds" if rebuilt.returncode == 0 else "violated": ""}
        )
        if rebuilt.returncode:
            self.violations.append(f"rebuild --check: {rebuilt.stdout[-800:]}{rebuilt.stderr[-300:]}")

    def _note(self, what: str, counts: Mapping[str, object] | None = None) -> None:
        if counts is not None:
            self.report.append((what, ", ".join(f"{name} {count}".strip() for name, count in counts.items())))


def main() -> None:
    """Run what was asked for, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run, about a minute for both")
    parser.add_argument("--seed", type=int, help="what to draw by; default: any")
    parser.add_argument(
        "--payer", choices=list(PAYERS), default="dodo", help="the payment provider; default: dodo"
    )
    parser.add_argument("--only", choices=list(STAGES), help="only this one")
    chosen = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("ended before its time")
    )  # what was started is ended all the same
    seed = chosen.seed if chosen.seed is not None else int.from_bytes(new_token(size=4).encode()[:3])
    print(f"Chaos with --seed {seed}", flush=True)
    violations = 0
    for name, scale in (QUICK if chosen.quick else FULL).items():
        if chosen.only in (None, name):
            violations += _run(name, scale, payer=chosen.payer, seed=seed)
    raise SystemExit(1 if violations else 0)


def _run(name: str, scale: Scale, *, payer: str, seed: int) -> int:
    started = time.monotonic()
    run = Run(STAGES[name], scale, payer=payer, seed=seed)
    with tempfile.TemporaryDirectory(prefix="billhook-chaos-") as folder:
        try:
            run.play(Path(folder))
        finally:
            _tell(run, f"{payer} on {name}, {time.monotonic() - started:.0f} s")
    return len(run.violations)


def _tell(run: Run, title: str) -> None:
    """Print what is known, also of a run that did not come to its end."""
    print(f"\n{title}")
    for what, said in run.report:
        print(f"  {what:<58} {said}")
    for violation in run.violations[:40]:
        print(f"  VIOLATED: {violation}")
    print(f"  {len(run.violations)} violations", flush=True)


if __name__ == "__main__":
    main()
