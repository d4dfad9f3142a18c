"""A plugin that fails to import, raises, hangs or returns nonsense in any hook costs only itself, and that is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billhook.errors import SignatureInvalid, Temporary
from billhook.events import Event, InvoiceFinalized, Refetch
from billhook.hookspecs import hookimpl
from billhook.model import Ref, Snapshot
from billhook.plugins import Installed, PluginStatus
from billhook.provider import Delivery, WebhookRequest
from billhook_web.services.breaker import FIRST_PAUSE, TOLERATED
from billhook_web.services.processing import ERROR_PATIENCE
from billhook_web.services.verifying import SLOW_AT_MOST, Verifier
from billhook_web.stores.inbox import InboxStatus
from billhook_web.stores.outbox import EffectStatus
from tests.host.isolation import (
    HANG,
    START,
    Does,
    Host,
    Plugin,
    Source,
    hangs,
    lazily_hangs,
    number,
    raises,
    until,
)


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    HANG.clear()
    yield
    HANG.set()


def finalized(connection: str, invoice: str = "in_1") -> InvoiceFinalized:
    return InvoiceFinalized(
        at=START,
        ref=Ref(connection, invoice),
        customer_id="acct_1",
        currency="EUR",
        total=100,
        taxes=0,
        due=100,
    )


START_UP: list[tuple[str, Does, str]] = [
    ("import raises", raises, "on fire"),
    ("import hangs", hangs, "did not answer in 0.3 s"),
    ("import gives nonsense", number, "BILLHOOK_API"),
    *(
        (f"{hook} {what}", (lambda hook=hook, does=does: Plugin(**{hook: does})), reason)
        for hook in ("connection_config", "billing_engines", "webhook_sources")
        for what, does, reason in (
            ("raises", raises, "on fire"),
            ("hangs", hangs, "did not answer in 0.3 s"),
            ("gives nonsense", number, ""),
        )
    ),
    ("engines hang lazily", lambda: Plugin(billing_engines=lazily_hangs), "did not answer in 0.3 s"),
    ("engines of others", lambda: Plugin(webhook_sources=lambda: [Source("good")]), "another connection"),
    ("engines of no kind", lambda: Plugin(billing_engines=lambda: [object()]), "BillingEngine"),
]


@pytest.mark.parametrize(
    ("bad", "reason"), [each[1:] for each in START_UP], ids=[each[0] for each in START_UP]
)
def test_a_plugin_that_cannot_start_is_out_alone(tmp_path: Path, bad: Does, reason: str) -> None:
    host = Host(tmp_path, bad=bad)
    state = host.runtime.registry.state("bad")
    assert state is not None
    assert state.status in (PluginStatus.ERROR, PluginStatus.INCOMPATIBLE)
    assert reason in (state.reason or "")
    assert {"connection": "bad", "plugin": "bad"} in host.troubles()
    assert 'billhook_plugin_up{plugin="bad"} 0' in host.metrics()
    assert host.post("bad", finalized("bad")).status_code == 503
    assert host.post("good", finalized("good")).status_code == 200
    host.put("acct_1")
    host.deliver("good")
    assert "acct_1" in host.engine("good").customers
    host.runtime.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    HANG.set()
    made.runtime.close()


def gives(value: Any) -> Does:
    return lambda: value


NONSENSE = [
    pytest.param(raises, id="raises"),
    *(pytest.param(gives(value), id=repr(value)) for value in (None, 42, "fact", [42], Delivery(key="d"))),
]


@pytest.mark.parametrize(
    "given", [None, 42, Delivery(key=""), Delivery(key="x" * 256), Delivery(key=5)], ids=repr
)  # type: ignore[arg-type]
def test_nonsense_from_verify_is_try_again_and_stores_nothing(host: Host, given: Any) -> None:
    host.source("bad").does["verify"] = lambda: given
    answer = host.post("bad", finalized("bad"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert host.deliveries("bad") == []
    assert host.health("bad")["health"]["fault"].startswith("Nonsense: verify gave")
    assert {"connection": "bad", "state": "failing"} in host.troubles()
    assert 'billhook_plugin_faults_total{connection="bad"} 1.0' in host.metrics()
    assert host.post("good", finalized("good")).status_code == 200


def test_verify_that_raises_is_try_again_and_a_storm_of_it_is_one_line_in_the_database(host: Host) -> None:
    host.source("bad").does["verify"] = raises
    assert {host.post("bad", finalized("bad"), number=n).status_code for n in range(50)} == {503}
    assert host.health("bad")["health"]["fault_count"] == 1, (
        "the others are told when ten seconds have passed"
    )
    host.skip(timedelta(hours=2))
    assert host.troubles() == [], "a plugin that did not raise for an hour is in order"


def test_threads_that_hang_in_verify_are_few() -> None:
    faults: list[Exception] = []
    verifier = Verifier(fault=lambda _name, exc: faults.append(exc), slow_seconds=0.05)
    bad, good = Source("bad"), Source("good")
    bad.does["verify"] = hangs
    request = good.signed(b"{}", START)
    threads = [threading.Thread(target=lambda: _quietly(verifier, bad, request)) for _ in range(SLOW_AT_MOST)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    with pytest.raises(Temporary, match="does not answer"):
        verifier.verify(bad, request, now=START)
    assert verifier.verify(good, request, now=START).key == "msg_1"
    assert "verify did not answer" in str(faults[0])
    HANG.set()
    for thread in threads:
        thread.join()
    del bad.does["verify"]
    with pytest.raises(SignatureInvalid):
        verifier.verify(bad, WebhookRequest(headers={}, body=b"{}"), now=START)


def _quietly(verifier: Verifier, source: Source, request: WebhookRequest) -> None:
    with pytest.raises(Temporary):
        verifier.verify(source, request, now=START)  # it answers None in the end


@pytest.mark.parametrize("hook", ["parse", "refetch"])
@pytest.mark.parametrize("does", NONSENSE)
def test_a_poison_delivery_ends_in_the_dead_letters_and_later_ones_go_on(
    host: Host, hook: str, does: Does
) -> None:
    source = host.source("bad")
    source.does[hook] = does
    assert host.post("bad", Refetch(kind="thing", id="t_1"), number=1).status_code == 200
    (poison,) = host.deliveries("bad")
    for _ in range(ERROR_PATIENCE):
        host.runtime.processing.process(poison.id)
        host.skip(timedelta(hours=1, minutes=15))
    source.does.clear()
    host.post("bad", finalized("bad"), number=2)
    host.post("good", finalized("good"))
    for row in (*host.deliveries("bad"), *host.deliveries("good")):
        host.runtime.processing.process(row.id)
    dead, later = host.deliveries("bad")
    assert (dead.status, dead.attempts) == (InboxStatus.DEAD, ERROR_PATIENCE)
    assert "Traceback" in (dead.error or "")
    assert (later.status, later.facts) == (InboxStatus.PROCESSED, 1), "the same customer's next fact"
    assert host.deliveries("good")[0].facts == 1
    assert host.health("bad")["health"]["fault_count"] >= 1


@pytest.mark.parametrize("does", [*NONSENSE, pytest.param(gives(Ref("good", "x")), id="the ref of another")])
def test_an_operation_that_raises_or_gives_nonsense_is_unknown_and_dead_after_its_attempts(
    host: Host, does: Does
) -> None:
    host.put("acct_1")
    host.engine("bad").does = does
    for _ in range(ERROR_PATIENCE):
        host.deliver("bad")
        host.skip(timedelta(hours=1, minutes=15))
    (effect,) = host.effects("bad")
    assert (effect.status, effect.attempts) == (EffectStatus.DEAD, ERROR_PATIENCE)
    host.deliver("good")
    assert host.effects("good")[0].status is EffectStatus.DONE
    assert host.health("bad")["health"]["state"] == "closed", "the provider is not to blame"
    assert host.health("bad")["health"]["fault_count"] == 1


def down() -> Any:
    raise Temporary("connection refused")


def test_a_provider_that_is_down_is_left_alone_and_costs_no_attempt(host: Host) -> None:
    names = [f"acct_{number}" for number in range(20)]
    host.put(*names)
    bad = host.engine("bad")
    bad.does = down
    host.deliver("bad")
    assert bad.calls == TOLERATED
    assert [row.attempts for row in host.effects("bad")] == [1] * TOLERATED + [0] * (20 - TOLERATED)
    assert all(row.due_at > host.clock.now() for row in host.effects("bad"))
    health = host.health("bad")["health"]
    assert (health["state"], health["failure_count"], health["reason"]) == (
        "open", TOLERATED, "Temporary: connection refused",
    )  # fmt: skip
    assert host.troubles() == [{"connection": "bad", "state": "down"}]
    assert host.runtime.breakers.states() == {"bad": "open"}
    host.deliver("good")
    assert set(host.engine("good").customers) == set(names)
    host.skip(FIRST_PAUSE * 1.3)
    host.deliver("bad")
    assert bad.calls == TOLERATED + 1, "one probe"
    bad.does = None
    host.skip(timedelta(minutes=1))
    host.deliver("bad")
    assert set(bad.customers) == set(names)
    assert (host.health("bad")["health"]["state"], host.troubles()) == ("closed", [])


def test_while_a_provider_is_down_only_deliveries_that_must_ask_it_wait(host: Host) -> None:
    host.put(*(f"acct_{number}" for number in range(TOLERATED)))
    host.engine("bad").does = down
    host.deliver("bad")
    host.post("bad", Refetch(kind="thing", id="t_1"), number=1)
    host.post("bad", finalized("bad"), number=2)
    for row in host.deliveries("bad"):
        host.runtime.processing.process(row.id)
    thin, whole = host.deliveries("bad")
    assert (whole.status, whole.facts) == (InboxStatus.PROCESSED, 1)
    assert (thin.status, thin.attempts, thin.error) == (InboxStatus.RECEIVED, 0, None)
    assert thin.due_at is not None
    assert thin.due_at > host.clock.now()
    host.source("bad").things["thing", "t_1"] = [finalized("bad", "in_2")]
    host.skip(FIRST_PAUSE * 1.3)
    host.runtime.processing.process(thin.id)
    assert host.deliveries("bad")[0].facts == 1
    assert host.health("bad")["health"]["state"] == "closed", "it was the probe, and was answered"


def test_a_provider_that_hangs_does_not_keep_others_waiting(host: Host) -> None:
    bad, names = host.engine("bad"), [f"acct_{number}" for number in range(20)]
    gate = threading.Event()

    def waits() -> Ref:
        gate.wait(100)
        return Ref("bad", "cus_1")

    bad.does = waits
    with host.working():
        began = time.monotonic()
        host.put(*names)
        assert time.monotonic() - began < 50
        until(lambda: len(host.engine("good").customers) == 20)
        assert (bad.calls, host.runtime.breakers.running()["bad"]) == (4, 4), "half of eight threads"
        gate.set()
        until(lambda: {row.status for row in host.effects("bad")} == {EffectStatus.DONE})
    assert bad.calls == 20
    assert {row.attempts for row in host.effects("bad")} == {1}


def test_an_operation_that_loops_is_interrupted_and_tried_again(tmp_path: Path) -> None:
    host = Host(tmp_path, time_limit=timedelta(seconds=0.7))
    bad, stop = host.engine("bad"), time.monotonic() + 50

    def loops() -> None:
        while time.monotonic() < stop:
            pass

    bad.does = loops
    with host.working():
        host.put("acct_1")
        until(lambda: host.effects("bad")[0].status is EffectStatus.UNKNOWN)
        (effect,) = host.effects("bad")
        assert "TimeLimitExceeded" in (effect.error or "")
        bad.does = None
        host.skip(timedelta(minutes=1))
        until(lambda: host.effects("bad")[0].status is EffectStatus.DONE)


def test_a_row_whose_thread_never_comes_back_is_free_when_its_lease_ends(tmp_path: Path) -> None:
    limit = timedelta(seconds=0.3)
    host = Host(tmp_path, settings={"BILLHOOK_LEASE": "PT5S"}, time_limit=limit)
    bad = host.engine("bad")
    host.put("acct_1")
    (effect,) = host.effects("bad")
    bad.does = hangs
    lost = threading.Thread(target=host.runtime.delivery.deliver, args=[effect.id])
    lost.start()
    until(lambda: bad.calls == 1)
    bad.does = None
    host.deliver("bad")
    assert bad.calls == 1
    host.skip(timedelta(seconds=5.1))
    time.sleep(5.1)
    host.deliver("bad")
    assert (bad.calls, host.effects("bad")[0].status) == (2, EffectStatus.DONE)
    HANG.set()
    lost.join()
    assert host.effects("bad")[0].status is EffectStatus.DONE, "who lost the lease has no say any more"
    host.runtime.close()


class Rules:
    """A plugin that plans effects, after its fashion."""

    BILLHOOK_API = ">=1.0,<2"

    def __init__(self, does: Does) -> None:
        self.does = does

    @hookimpl
    def effects_for(self, event: Event, snapshot: Snapshot) -> Any:
        return self.does()


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (raises, "on fire"),
        (hangs, "did not answer in 0.3 s"),
        (number, "TypeError"),
        (lambda: [42], "no effect"),
    ],
)
def test_rules_that_fail_are_put_out_and_the_fact_is_applied(tmp_path: Path, does: Does, reason: str) -> None:
    host = Host(tmp_path, more=[Installed(name="rules", load=lambda: Rules(does))])
    host.post("good", finalized("good"))
    (row,) = host.deliveries("good")
    host.runtime.processing.process(row.id)
    assert host.deliveries("good")[0].facts == 1
    state = host.runtime.registry.state("rules")
    assert state is not None
    assert (state.status, reason in (state.reason or "")) == (PluginStatus.ERROR, True), state.reason
    assert {"plugin": "rules"} in host.troubles()
    host.runtime.close()
