"""Money never moves twice for one invoice. Counted at the provider: one knows no idempotency keys, the other does.

Nothing works in the background here: each test says who does what, on which host, and by which clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from billhook.errors import ConfigInvalid
from billhook.money import Money
from billhook.testing.sandbox import Fault, FaultKind
from billhook_web.services.delivery import SETTLED
from billhook_web.services.leases import NOTICE, Leases
from billhook_web.services.sweep import sweep
from billhook_web.stores import inbox
from billhook_web.stores.outbox import EffectStatus
from tests.flow.flow import PAYERS, Backend, Flow

LEASE = timedelta(minutes=2)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
CHARGES = {"dodo": "/charge", "stripe": "/payment_intents"}
"""How the path of a charge ends, by provider."""


class Crash(BaseException):
    """The process is gone: nothing in the host may catch it."""


class Line:
    """The line to the provider. Around the next charge it does what ``before`` and ``after`` say, once."""

    def __init__(self, charge: str) -> None:
        self.app: Callable[..., Iterable[bytes]]
        self.charge = charge
        self.before: Callable[[], None] | None = None
        self.after: Callable[[], None] | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or not environ["PATH_INFO"].endswith(self.charge):
            return self.app(environ, start_response)
        before, after, self.before, self.after = self.before, self.after, None, None
        if before:
            before()
        answer = list(self.app(environ, start_response))
        if after:
            after()
        return answer


class Barrier:
    """Holds a call up until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.go.wait(15)


def crash() -> None:
    raise Crash


class Stage:
    """Two processes of one host, each with its own clock, and one provider that is seen through a line."""

    def __init__(self, backend: Backend, payer: str) -> None:
        self.line = Line(CHARGES[payer])
        apps = {f"http://{payer}.test": self.line}
        self.first = Flow(backend, payer=payer, apps=apps)
        self.line.app = self.first.payer
        self.second = Flow(backend, payer=payer, apps={**apps, "http://lago.test": self.first.lago})
        self.till, self.lago = self.first.till, self.first.lago

    def close(self) -> None:
        self.first.runtime.close()
        self.second.runtime.close()

    def plan(self) -> int:
        """A customer who agreed to be charged, an invoice, its charge planned and not begun. Returns the effect's id."""
        details = {"name": "Ada", "email": "ada@acme.example", "currency": "EUR"}
        self.first.api("PUT", "/customers/acct_1", **details)
        work(self.first)
        self.till.authorise({"lago_customer_id": "acct_1"})
        work(self.first)
        self.lago.issue_invoice("acct_1", 12000)
        hear(self.first)
        (effect,) = self.first.effects("collect_invoice")
        assert effect.status is EffectStatus.PENDING
        return effect.id

    def lose_the_answer(self) -> None:
        """Let the next charge be made and not be answered."""
        self.till.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="POST", path=self.line.charge))

    def finish(self) -> None:
        """Let what follows happen, also what waits for a lease or for another try, on both."""
        for _ in range(3):
            for flow in (self.first, self.second):
                work(flow)
                flow.clock.advance(LEASE + SECOND)

    def assert_charged_once(self) -> None:
        assert [each.amount for each in self.till.payments()] == [Money(12000, "EUR")]
        assert [payment["amount_cents"] for payment in self.lago.payments] == [12000]
        assert self.first.dead() == []
        assert self.first.waiting() == []


def hear(flow: Flow) -> int:
    """Let the webhooks that are due arrive, and process them."""
    sent = flow.lago.deliver_webhooks() + flow.payer.deliver_webhooks()
    due = sweep(flow.runtime.db, now=flow.clock.now()).inbox
    for inbox_id, _ in due:
        flow.runtime.processing.process(inbox_id)
    return sent + len(due)


def work(flow: Flow) -> None:
    """Do what is due by this process's clock, until nothing is."""
    for _ in range(30):
        heard = hear(flow)
        due = sweep(flow.runtime.db, now=flow.clock.now()).effects
        for effect_id, _ in due:
            flow.runtime.delivery.deliver(effect_id)
        if not heard and not due:
            return
    raise AssertionError(f"there is always something left to do: {flow.waiting()}")


def at_once(times: int, do: Callable[[], object]) -> None:
    """Do it from so many threads that begin together."""
    together = threading.Barrier(times)

    def one(_: int) -> None:
        together.wait(15)
        do()

    with ThreadPoolExecutor(times) as pool:
        list(pool.map(one, range(times)))


@pytest.fixture(params=PAYERS)
def payer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stage(backend: Backend, payer: str) -> Iterator[Stage]:
    with closing(Stage(backend, payer)) as made:
        yield made


def test_fifty_triggers_at_once_charge_once(stage: Stage) -> None:
    effect = stage.plan()
    processes = iter([stage.first, stage.second] * 25)
    at_once(50, lambda: next(processes).runtime.delivery.deliver(effect))
    stage.finish()
    stage.assert_charged_once()


def test_fifty_copies_of_the_delivery_charge_once(stage: Stage) -> None:
    stage.plan()
    (told,) = [each for each in stage.lago.webhooks.sent if each.type == "invoice.created"]
    body = told.body()
    headers = told.headers(body, stage.first.clock.now())

    def copy() -> None:
        assert stage.first.post("lago", body, headers) == 200
        for effect in stage.first.effects("collect_invoice"):
            stage.first.runtime.delivery.deliver(effect.id)

    at_once(50, copy)
    with stage.first.runtime.db.read() as tx:
        assert len(inbox.page(tx, type="invoice.created")) == 1
    stage.finish()
    stage.assert_charged_once()


def test_a_crash_between_charge_and_record_is_looked_up_by_who_takes_over(stage: Stage) -> None:
    effect = stage.plan()
    stage.line.after = crash
    with pytest.raises(Crash):
        stage.first.runtime.delivery.deliver(effect)
    stage.second.runtime.delivery.deliver(effect)
    (row,) = stage.first.effects("collect_invoice")
    assert row.attempts == 1  # the lease protects what nobody works on any more
    stage.second.clock.advance(LEASE + SECOND)
    stage.second.runtime.delivery.deliver(effect)
    (row,) = stage.first.effects("collect_invoice")
    assert (row.status, row.attempts) == (EffectStatus.DONE, 2)
    stage.finish()
    stage.assert_charged_once()


def test_a_crash_before_the_charge_leads_to_one(stage: Stage) -> None:
    effect = stage.plan()
    stage.line.before = crash
    with pytest.raises(Crash):
        stage.first.runtime.delivery.deliver(effect)
    stage.finish()
    stage.assert_charged_once()


def test_a_charge_that_is_made_and_not_answered_is_looked_up(stage: Stage) -> None:
    effect = stage.plan()
    stage.lose_the_answer()
    stage.first.runtime.delivery.deliver(effect)
    (row,) = stage.first.effects("collect_invoice")
    assert row.status is EffectStatus.UNKNOWN
    stage.finish()
    stage.assert_charged_once()


def test_a_provider_that_took_long_is_given_time_before_it_is_looked_at(stage: Stage) -> None:
    effect = stage.plan()
    stage.lose_the_answer()
    stage.line.after = lambda: time.sleep(1.2)
    stage.first.runtime.delivery.deliver(effect)
    (row,) = stage.first.effects("collect_invoice")
    assert row.status is EffectStatus.UNKNOWN
    assert row.due_at - stage.first.clock.now() >= timedelta(seconds=SETTLED * 1.2)
    stage.finish()
    stage.assert_charged_once()


def test_who_takes_over_from_a_slow_worker_finds_its_charge(stage: Stage) -> None:
    effect = stage.plan()
    slow = stage.line.after = Barrier()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(stage.first.runtime.delivery.deliver, effect)
        assert slow.reached.wait(15)
        stage.second.clock.advance(LEASE + SECOND)
        stage.second.runtime.delivery.deliver(effect)
        slow.go.set()
        call.result(15)
    stage.finish()
    stage.assert_charged_once()


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "backward"])
def test_a_clock_that_jumps_during_a_charge_does_not_begin_another(stage: Stage, jump: timedelta) -> None:
    effect = stage.plan()
    slow = stage.line.before = Barrier()
    with ThreadPoolExecutor(1) as pool:
        call: Future[tuple[int, ...]] = pool.submit(stage.first.runtime.delivery.deliver, effect)
        assert slow.reached.wait(15)
        stage.first.clock.advance(jump)
        assert stage.first.runtime.delivery.deliver(effect) == ()
        slow.go.set()
        call.result(15)
    stage.first.clock.advance(max(-jump, timedelta()))
    stage.finish()
    stage.assert_charged_once()


def test_a_process_whose_clock_is_behind_takes_over_late_and_charges_once(stage: Stage) -> None:
    effect = stage.plan()
    stage.line.after = crash
    with pytest.raises(Crash):
        stage.first.runtime.delivery.deliver(effect)
    stage.second.clock.advance(-HOUR)
    assert stage.second.runtime.delivery.deliver(effect) == ()
    stage.second.clock.advance(HOUR)
    stage.finish()
    stage.assert_charged_once()


@pytest.mark.parametrize("seconds", [5, 6, 30, 120, 3600])
def test_no_call_outlives_the_lease_it_is_made_under(seconds: int) -> None:
    leases = Leases.of(timedelta(seconds=seconds))
    last_wait = timedelta(seconds=leases.timeouts.connect + leases.timeouts.read)
    assert leases.time_limit + NOTICE + last_wait <= leases.length


def test_a_time_limit_that_a_lease_cannot_cover_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="BILLHOOK_LEASE"):
        Leases.of(LEASE, time_limit=LEASE - 10 * SECOND)
