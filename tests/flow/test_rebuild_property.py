"""Whatever providers say, in whatever order and however often: the ledger made anew equals the one that grew.

Also when what was received is pruned or a customer erased in the middle of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect

from billhook.clock import VirtualClock
from billhook.events import (
    CreditNoteIssued,
    CustomerObserved,
    DisputeChanged,
    Event,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceVoided,
    MandateChanged,
    PaymentCanceled,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    RefundChanged,
    SubscriptionEnded,
    SubscriptionStarted,
    SubscriptionUpdated,
)
from billhook.hookspecs import ConnectionContext, hookimpl
from billhook.model import Ref
from billhook.plugins import Installed
from billhook.provider import Delivery
from billhook.testing.fakes import FakeEngine, FakeProvider, FakeSource
from billhook.testing.strategies import events
from billhook_web.runtime import Runtime, build_runtime
from billhook_web.services.connections import CUSTOMER_KEY, INVOICE_KEY
from billhook_web.services.rebuild import rebuild
from billhook_web.settings import read_configuration
from billhook_web.stores import inbox, schema
from billhook_web.stores.tables import metadata
from tests.flow.flow import START

NAME = "acme"
CUSTOMERS = ("acct_1", "acct_2")

Step = Callable[["World"], None]


class Plugin:
    """Bills, collects and sends webhooks that hold facts as they are."""

    BILLHOOK_API = ">=1.0,<2"

    @hookimpl
    def billing_engines(self, context: ConnectionContext) -> Iterable[FakeEngine]:
        return [FakeEngine(context.name, clock=context.clock)]

    @hookimpl
    def payment_providers(self, context: ConnectionContext) -> Iterable[FakeProvider]:
        return [FakeProvider(context.name, clock=context.clock)]

    @hookimpl
    def webhook_sources(self, context: ConnectionContext) -> Iterable[FakeSource]:
        return [FakeSource(context.name)]


class World:
    """A host that hears things, and remembers in what order it got them."""

    def __init__(self, runtime: Runtime, clock: VirtualClock) -> None:
        self.runtime = runtime
        self.clock = clock
        self.late: list[int] = []
        self._source: Any = runtime.connections.source(NAME)  # a FakeSource

    def forget_everything(self) -> None:
        """Begin anew."""
        self.late = []
        there = set(inspect(self.runtime.db.engine).get_table_names())
        with self.runtime.db.begin() as tx:
            for table in reversed(metadata.sorted_tables):
                if table.name in there - {"access_policies"}:  # documents never change, and are remembered
                    tx.execute(table.delete())

    def deliver(self, facts: list[Event], *, late: bool) -> None:
        """Receive a delivery; it is processed now, or after everything else."""
        with self.runtime.db.begin() as tx:
            body = self._source.body(*facts)
            key = Delivery(key=f"d{self.clock.now().timestamp()}")
            inbox_id = inbox.add(tx, connection=NAME, delivery=key, body=body, now=self.clock.now())
        assert inbox_id is not None
        if late:
            self.late.insert(0, inbox_id)
        else:
            self.runtime.processing.process(inbox_id)

    def hear(self, facts: list[Event]) -> None:
        """Be told in answer to a question."""
        with self.runtime.db.begin() as tx:
            self.runtime.recorder.hear(tx, facts, now=self.clock.now())

    def replay(self, which: int) -> None:
        """Process something again."""
        ids = [row.id for row in self.rows() if row.id not in self.late]
        if ids:
            with self.runtime.db.begin() as tx:
                inbox.replay(tx, ids[which % len(ids)], now=self.clock.now())
            self.runtime.processing.process(ids[which % len(ids)])

    def prune(self) -> None:
        """Keep no body of what is processed by now."""
        self.runtime.retention.prune_some(before=self.clock.now())

    def register(self, customer_id: str, name: str) -> None:
        """Hear of a customer from the integrator."""
        self.runtime.customers.upsert(customer_id, {"name": name})

    def erase(self, customer_id: str) -> None:
        """Forget who a customer is."""
        self.register(customer_id, "Ada")
        self.runtime.erasure.erase(customer_id, note=lambda _tx: None)

    def rows(self) -> list[inbox.InboxRow]:
        """List what was received."""
        with self.runtime.db.read() as tx:
            return list(inbox.page(tx, limit=1000))


@contextmanager
def made_world(folder: Path) -> Iterator[World]:
    """Put up a host that hears of things from one connection that says facts as they are."""
    clock = VirtualClock(START)
    env = {"BILLHOOK_DATABASE_URL": f"sqlite:///{folder / 'billhook.sqlite3'}", "BILLHOOK_CONNECTIONS": NAME}
    installed = [Installed(name=NAME, load=Plugin)]
    runtime = build_runtime(read_configuration(env), clock=clock, installed=installed)
    schema.upgrade(runtime.db)
    yield World(runtime, clock)
    runtime.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made_world(Path(tmp_path_factory.mktemp("property"))) as made:
        yield made


def _refs(kind: str, number: int = 2) -> st.SearchStrategy[Ref]:
    return st.sampled_from([Ref(NAME, f"{kind}_{each}") for each in range(number)])


def _metadata(key: str, *values: str) -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from([{}, {"note": "for Ada"}, *({key: value} for value in values)])


FEW_INSTANTS = st.sampled_from([None, *(datetime(2026, 9, day, tzinfo=UTC) for day in (1, 2, 3))])
CUSTOMER = st.sampled_from(CUSTOMERS)


def _payments(number: int) -> st.SearchStrategy[Event]:
    """Facts about one payment, some of which name an invoice, and not always the same."""
    return events(
        PaymentProcessing, PaymentSucceeded, PaymentFailed, PaymentCanceled,
        ref=st.just(Ref(NAME, f"pay_{number}")), at=FEW_INSTANTS,
        metadata=_metadata(INVOICE_KEY, f"{NAME}:in_0", f"{NAME}:in_1"),
        provider_customer=st.sampled_from([None, f"cus_{number}"]),
    )  # fmt: skip


FACTS = st.one_of(
    events(CustomerObserved, ref=_refs("cus"), customer_id=CUSTOMER, at=FEW_INSTANTS, provider_ids=st.just({})),
    events(
        InvoiceFinalized, InvoiceObserved, InvoiceVoided,
        ref=_refs("in"), customer_id=CUSTOMER, at=FEW_INSTANTS, currency=st.just("EUR"),
    ),
    _payments(0),
    _payments(1),
    events(RefundChanged, ref=_refs("re"), payment=_refs("pay"), at=FEW_INSTANTS, metadata=_metadata("x", "y")),
    events(DisputeChanged, ref=_refs("dp"), payment=_refs("pay"), at=FEW_INSTANTS),
    events(CreditNoteIssued, ref=_refs("cn"), invoice=_refs("in"), at=FEW_INSTANTS),
    events(
        SubscriptionStarted, SubscriptionUpdated, SubscriptionEnded,
        ref=_refs("sub"), customer_id=CUSTOMER, at=FEW_INSTANTS,
    ),
    events(MandateChanged, ref=_refs("pm"), at=FEW_INSTANTS, metadata=_metadata(CUSTOMER_KEY, *CUSTOMERS)),
)  # fmt: skip
HEARD = st.lists(FACTS, min_size=1, max_size=3)


def _deliver(facts: list[Event], late: bool, again: bool) -> Step:
    def step(world: World) -> None:
        world.deliver(facts, late=late)
        if again:  # another delivery that says the same
            world.clock.advance(timedelta(hours=1))
            world.deliver(facts, late=False)

    return step


def an_invoice() -> InvoiceFinalized:
    """An invoice of the first customer."""
    return InvoiceFinalized(
        ref=Ref(NAME, "in_0"), customer_id=CUSTOMERS[0], currency="EUR", total=100, taxes=0, due=100
    )


STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(_deliver, HEARD, st.booleans(), st.booleans()),
    st.builds(_deliver, HEARD, st.booleans(), st.booleans()),
    HEARD.map(lambda facts: lambda world: world.hear(facts)),
    st.integers(0, 20).map(lambda which: lambda world: world.replay(which)),
    st.just(lambda world: world.prune()),
    CUSTOMER.map(lambda customer: lambda world: world.erase(customer)),
    CUSTOMER.map(lambda customer: lambda world: world.register(customer, "Grace")),
)


VOIDED_BEFORE_IT_WAS_KNOWN = [
    _deliver([an_invoice()], late=True, again=False),
    _deliver([InvoiceVoided(ref=Ref(NAME, "in_0"))], late=False, again=False),
]


@example(steps=VOIDED_BEFORE_IT_WAS_KNOWN)
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
@settings(
    max_examples=25, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
def test_a_rebuild_equals_what_grew_whatever_was_heard(world: World, steps: list[Step]) -> None:
    world.forget_everything()
    for step in steps:
        world.clock.advance(timedelta(hours=1))
        step(world)
    for inbox_id in world.late:
        world.clock.advance(timedelta(minutes=1))  # no two things become known at the same instant
        world.runtime.processing.process(inbox_id)
    assert [row.error for row in world.rows() if row.status != "processed"] == []
    runtime = world.runtime
    for check in (True, False, True):
        made = rebuild(runtime.db, runtime.connections, runtime.recorder, runtime.judge, check=check)
        assert (made.differences, made.unheard) == ((), 0)
