"""A payment provider, a billing engine, a webhook source and a notification channel in memory: for tests of a host, and as small examples.

They keep the contract (the suites in :mod:`billhook.testing.contracts` pass on them) and do nothing by chance: what
goes wrong was asked for.
"""

from billhook.testing.connection import (
    InProcessClients,
    MemoryState,
    make_collect_request,
    make_context,
    make_customer,
)
from billhook.testing.fakes.channel import FakeChannel
from billhook.testing.fakes.engine import FakeEngine
from billhook.testing.fakes.provider import FakeProvider
from billhook.testing.fakes.source import FakeSource

__all__ = [
    "FakeChannel",
    "FakeEngine",
    "FakeProvider",
    "FakeSource",
    "InProcessClients",
    "MemoryState",
    "make_collect_request",
    "make_context",
    "make_customer",
]
