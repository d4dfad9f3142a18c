"""What the host keeps of access is what the pure function says, at every transition, whenever its timers ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billhook.access import Decision, Policy, decide, parse_policy, policy_to_json, transitions
from billhook.events import (
    CustomerDelegated,
    CustomerTagged,
    CustomerUntagged,
    DisputeChanged,
    Event,
    InvoiceFinalized,
    InvoiceReinstated,
    InvoiceVoided,
    InvoiceWrittenOff,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    RefundChanged,
    SubscriptionEnded,
    SubscriptionStarted,
    SubscriptionUpdated,
)
from billhook.model import Ref
from billhook.money import Money
from billhook.testing.strategies import events
from billhook_web.services.cases import Case
from billhook_web.services.connections import INVOICE_KEY
from billhook_web.services.looking import essence
from billhook_web.services.rebuild import rebuild
from billhook_web.stores import access, policies
from billhook_web.stores.access import Cause
from tests.flow.flow import START
from tests.flow.test_rebuild_property import CUSTOMERS, NAME, World, made_world

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLICIES = (
    {"rules": [{"state": "late", "when": {"overdue_days": 1}}]},
    {
        "rules": [
            {"state": "suspended", "when": {"overdue_days": 9}, "access": "none", "block_changes": True},
            {"state": "exempt", "when": {"has_tag": "vip"}},
            {"state": "restricted", "when": {"unpaid_balance": {"EUR": 1500}}, "access": "limited"},
        ],
        "debit_in_flight": {"counts_as_paid_for": "P3D"},
        "rollup": "per_subscription",
    },
    {
        "rules": [{"state": "blocked", "when": {"unpaid_invoices": 2}, "access": "none"}],
        "activate_on": "payment_confirmed",
        "activation_timeout": "P2D",
        "prepaid_survives": True,
    },
)

Step = Callable[["Story"], None]
Entry = tuple[Cause, Any]


@dataclass
class Expected:
    """What one customer's history must be, told by the pure function alone."""

    entries: list[Entry] = field(default_factory=list)
    case: Case | None = None
    last: Any = None

    def passed(self, policy: Policy, since: Any, until: Any) -> None:
        """Time went by and nothing was heard."""
        if self.case is None or not self.case.heard:
            return
        payers = {**self.case.payers, self.case.account.id: self.case.account}
        for decision in transitions(self.case.account, policy, since, until, payers=payers):
            self.note(decision, Cause.TIME)

    def note(self, decision: Decision, cause: Cause) -> None:
        """Enter a decision, if it is another one."""
        body = decision.to_json()
        if self.last != essence(body):
            self.last = essence(body)
            self.entries.append((cause, body))


class Story:
    """A world, and beside it what must come out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.policy = Policy()
        self.told_until = START
        self.expected = {name: Expected() for name in CUSTOMERS}

    def hear(self, facts: list[Event]) -> None:
        """Something becomes known."""
        for connection in sorted(
            {fact.ref.connection for fact in facts}
        ):  # one delivery is of one connection
            now = self._go_on()
            self.world.hear([fact for fact in facts if fact.ref.connection == connection])
            self._judge(now, Cause.FACT)

    def activate(self, document: dict[str, Any]) -> None:
        """Another policy counts for everybody."""
        now = self._go_on()
        self.policy = parse_policy(document)
        with self.world.runtime.db.begin() as tx:
            row = policies.add(tx, name="p", document=policy_to_json(self.policy), now=now, by="test")
            policies.assign(
                tx,
                scope=policies.DEFAULT,
                customer_id=None,
                policy_id=row.id,
                plugin=None,
                now=now,
                by="test",
            )
        self._judge(now, Cause.POLICY)

    def wait(self, span: timedelta) -> None:
        """Time goes by, and no timer runs."""
        self.world.clock.advance(span)

    def run_timers(self) -> None:
        """The timers catch up with the clock."""
        deciding, now = self.world.runtime.deciding, self.world.clock.now()
        while due := deciding.due(now=now):
            deciding.settle([customer_id for customer_id, _ in due], woken=lambda _effects: None)

    def ask(self) -> None:
        """Somebody asks; that must not leave a trace."""
        for name in CUSTOMERS:
            self.world.runtime.deciding.answer(name)

    def end(self) -> None:
        """Let everything happen that is due."""
        self._go_on()
        self.run_timers()

    def kept(self, customer_id: str) -> list[Entry]:
        """Return the history as the host has it."""
        with self.world.runtime.db.read() as tx:
            entries = list(reversed(access.history(tx, customer_id, limit=1000)))
        assert [each.version for each in entries] == list(range(1, len(entries) + 1))
        assert all(
            each.body["at"] == each.at.isoformat().replace("+00:00", "Z")
            for each in entries
            if each.cause is Cause.TIME
        )
        return [(each.cause, dict(each.body)) for each in entries]

    def _go_on(self) -> Any:
        """Move the clock a little, so that no two things become known at once."""
        self.world.clock.advance(timedelta(minutes=1))
        now = self.world.clock.now()
        for each in self.expected.values():
            each.passed(self.policy, self.told_until, now)
        self.told_until = now
        return now

    def _judge(self, now: Any, cause: Cause) -> None:
        for name, each in self.expected.items():
            with self.world.runtime.db.read() as tx:
                each.case = self.world.runtime.judge.case(tx, name)
            if each.case.heard:
                each.note(decide(each.case.account, self.policy, now, payers=each.case.payers), cause)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made_world(Path(tmp_path_factory.mktemp("access"))) as made:
        yield made


AT = st.sampled_from([None, None, None, START - 3 * DAY, START + 2 * DAY])
CUSTOMER = st.sampled_from(CUSTOMERS)
AMOUNT = st.sampled_from((0, 1000, 2000))
INVOICE = st.sampled_from([Ref(NAME, f"in_{each}") for each in range(3)])
PAYMENT = st.sampled_from([Ref(NAME, f"pay_{each}") for each in range(3)])
EUROS = AMOUNT.map(lambda minor: Money(minor, "EUR"))
DATES = st.sampled_from([None, date(2026, 8, 30), date(2026, 9, 3), date(2026, 9, 12)])

FACTS = st.one_of(
    events(
        InvoiceFinalized, at=AT, ref=INVOICE, customer_id=CUSTOMER, currency=st.just("EUR"), total=AMOUNT, due=AMOUNT,
        issued_on=DATES, due_on=DATES, subscriptions=st.sampled_from([(), ("main",)]), period=st.none(),
    ),
    events(
        PaymentSucceeded, PaymentProcessing, PaymentFailed, at=AT, ref=PAYMENT, amount=EUROS, applied=EUROS,
        settled=st.none(), metadata=INVOICE.map(lambda ref: {INVOICE_KEY: str(ref)}), saves_method=st.just(False),
    ),
    events(RefundChanged, DisputeChanged, at=AT, payment=PAYMENT, amount=EUROS),
    events(InvoiceVoided, InvoiceWrittenOff, InvoiceReinstated, at=AT, ref=INVOICE, customer_id=CUSTOMER),
    events(
        SubscriptionStarted, SubscriptionUpdated, SubscriptionEnded, at=AT, ref=st.just(Ref(NAME, "sub_1")),
        external_id=st.just("main"), customer_id=CUSTOMER, trial_ends_at=st.sampled_from([None, START + 4 * DAY]),
        ends_at=st.sampled_from([None, START + 6 * DAY]), current_period=st.none(), next_plan_on=st.none(),
    ),
    events(
        CustomerTagged, CustomerUntagged, at=AT, ref=st.just(Ref("billhook", "tags")), customer_id=CUSTOMER,
        tag=st.just("vip"),
    ),
    events(
        CustomerDelegated, at=AT, ref=st.just(Ref("billhook", "payer")), customer_id=CUSTOMER,
        pays=st.sampled_from([None, *CUSTOMERS]),
    ),
)  # fmt: skip
WAITS = st.sampled_from([HOUR, 30 * HOUR, 5 * DAY, 20 * DAY])
HEARD = st.lists(FACTS, min_size=1, max_size=2)
STEPS: st.SearchStrategy[Step] = st.one_of(
    HEARD.map(lambda facts: lambda story: story.hear(facts)),
    HEARD.map(lambda facts: lambda story: story.hear(facts)),
    WAITS.map(lambda span: lambda story: story.wait(span)),
    st.sampled_from(POLICIES).map(lambda document: lambda story: story.activate(document)),
    st.just(lambda story: story.run_timers()),
    st.just(lambda story: story.ask()),
)


@given(steps=st.lists(STEPS, min_size=6, max_size=14))
@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_what_is_kept_is_what_the_pure_function_says_and_a_rebuild_keeps_the_same(
    world: World, steps: list[Step]
) -> None:
    world.forget_everything()
    world.clock.advance(START - world.clock.now())
    story = Story(world)
    story.activate(POLICIES[0])
    for step in steps:
        step(story)
    story.end()
    for name in CUSTOMERS:
        assert story.kept(name) == story.expected[name].entries
    runtime = world.runtime
    for check in (True, False, True):
        made = rebuild(runtime.db, runtime.connections, runtime.recorder, runtime.judge, check=check)
        assert (made.differences, made.unheard) == ((), 0)
