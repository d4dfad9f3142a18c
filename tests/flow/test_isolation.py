"""A provider that does not answer keeps nobody waiting: over real wire formats, on both databases and both queues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from billhook_web.stores.outbox import EffectStatus
from tests.flow.flow import Backend, Flow


class Hanging:
    """A provider's API that takes a call and says nothing until it is let go; then it is not itself."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.calls = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.calls += 1
        self.free.wait(40)
        start_response("503 Service Unavailable", [("Content-Type", "application/json")])
        return [b"{}"]


def test_a_billing_engine_that_hangs_delays_neither_registration_nor_the_other_engine(
    backend: Backend,
) -> None:
    hanging = Hanging()
    settings = {
        "BILLHOOK_CONNECTIONS": "lago,slow=lago,dodo",
        "SLOW_API_URL": "http://slow.test/api/v1",
        "SLOW_API_KEY": "slow-key",
        "SLOW_WEBHOOK_SECRET": "slow-hmac-key",
        "BILLHOOK_RECONCILE_EVERY": "never",
    }
    names = [f"acct_{number}" for number in range(12)]
    with Flow(backend, settings=settings, apps={"http://slow.test": hanging}).running() as flow:
        began = time.monotonic()
        for name in names:
            flow.api("PUT", f"/customers/{name}", name="Ada")
        assert time.monotonic() - began < 15
        while _synced(flow, "lago") < len(names):
            assert time.monotonic() - began < 15, "the other engine waits for the one that hangs"
            time.sleep(0.02)
        assert (hanging.calls, _synced(flow, "slow")) == (2, 0), "half of four threads"
        began = time.monotonic()
        flow.lago.issue_invoice(names[0], 12000)
        while not any(row.status is EffectStatus.DONE for row in flow.effects("collect_invoice")):
            flow.lago.deliver_webhooks()
            assert time.monotonic() - began < 15, "the invoice waits for the engine that hangs"
            time.sleep(0.02)
        hanging.free.set()


def _synced(flow: Flow, connection: str) -> int:
    done = [row for row in flow.effects("sync_customer") if row.status is EffectStatus.DONE]
    return sum(row.effect.connection == connection for row in done)  # type: ignore[union-attr]
