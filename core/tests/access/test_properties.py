"""Whatever happened, under whatever policy: the answer is a function of the dated facts, and says itself until when."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from billhook.access import (
    Account,
    Decision,
    Policy,
    decide,
    decide_many,
    facts_to_json,
    parse_facts,
    parse_policy,
    policy_to_json,
    transitions,
)
from billhook.access import facts as f
from billhook.testing.access import (
    accounts,
    finalized,
    instants,
    payments,
    policies,
)

TICK = timedelta(microseconds=1)
LATER = datetime(2035, 1, 1, tzinfo=UTC)
thorough = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def outcome(decision: Decision) -> tuple[object, ...]:
    """What makes two decisions differ."""
    each = {name: (one.state, one.access) for name, one in decision.subscriptions.items()}
    return decision.standing, decision.state, decision.access, decision.block_changes, decision.cancel, each


def up_to(account: Account, at: datetime) -> Account:
    return replace(account, facts=tuple(fact for fact in account.facts if fact.at <= at))


def shields(policy: Policy) -> bool:
    """Then a payment may bring a limited subscription back to life beside a shielded one, and speak for the customer."""
    return policy.prepaid_survives and policy.rollup == "worst"


@thorough
@given(accounts(), accounts("B"), policies(), instants(), st.floats(0, 1))
def test_nothing_changes_before_the_next_change_and_something_does_at_it(
    account: Account, payer: Account, policy: Policy, at: datetime, part: float
) -> None:
    known, payers = up_to(account, at), {"B": up_to(payer, at)}
    now = decide(known, policy, at, payers=payers)
    end = now.next_change_at or LATER
    between = at + (end - at) * part

    for time in (min(between, end - TICK), end - TICK):
        later = decide(known, policy, time, payers=payers)
        assert outcome(later) == outcome(now)
        assert later.next_change_at == now.next_change_at
    if now.next_change_at is not None:
        then = decide(known, policy, end, payers=payers)
        assert outcome(then) != outcome(now)
        assert now.next is not None
        assert (then.state, then.access) == (now.next.state, now.next.access)


@thorough
@given(accounts(), accounts("B"), policies(), instants(), st.randoms(use_true_random=False))
def test_order_and_repetition_of_facts_change_nothing(
    account: Account, payer: Account, policy: Policy, at: datetime, order: random.Random
) -> None:
    once = {fact.at: fact for fact in account.facts}  # of one instant the list's order counts
    tidy = replace(account, facts=tuple(once[at] for at in sorted(once)))
    shuffled = [*tidy.facts, *tidy.facts[::2]]
    order.shuffle(shuffled)

    mixed = replace(account, facts=tuple(shuffled))

    assert decide(mixed, policy, at, payers={"B": payer}) == decide(tidy, policy, at, payers={"B": payer})


@thorough
@given(accounts(), accounts("B"), policies(), instants())
def test_facts_of_the_future_change_nothing(
    account: Account, payer: Account, policy: Policy, at: datetime
) -> None:
    known = decide(up_to(account, at), policy, at, payers={"B": up_to(payer, at)})

    assert decide(account, policy, at, payers={"B": payer}) == known


@thorough
@given(accounts(), accounts("B"), policies(), instants())
def test_the_present_state_began_when_it_says(
    account: Account, payer: Account, policy: Policy, at: datetime
) -> None:
    payers = {"B": payer}
    now = decide(account, policy, at, payers=payers)
    assume(now.since is not None)
    assert now.since is not None
    head = outcome(now)[:4]

    first = min(fact.at for fact in account.facts)
    assert now.since <= at
    assert outcome(decide(account, policy, now.since, payers=payers))[:4] == head
    changed = [
        each.at
        for each in transitions(account, policy, now.since, at, payers=payers)
        if outcome(each)[:4] != head
    ]
    assert changed == []
    if now.since > first:
        assert outcome(decide(account, policy, now.since - TICK, payers=payers))[:4] != head


@thorough
@given(accounts(), accounts("B"), policies(), st.lists(instants(), min_size=2, max_size=6))
def test_transitions_are_all_the_changes_there_are(
    account: Account, payer: Account, policy: Policy, asked: list[datetime]
) -> None:
    payers = {"B": payer}
    start, end = min(asked), max(asked)
    changes = list(transitions(account, policy, start, end, payers=payers))

    assert [each.at for each in changes] == sorted({each.at for each in changes})
    for at, found in zip(asked, decide_many(account, policy, asked, payers=payers), strict=True):
        last = [each for each in changes if each.at <= at] or [decide(account, policy, start, payers=payers)]
        assert outcome(found) == outcome(last[-1])
        assert found == decide(account, policy, at, payers=payers)


@thorough
@given(
    accounts(),
    policies(),
    instants(),
    payments(type=st.just("payment.succeeded"), payment=st.sampled_from(("PX", "PY"))),
)
def test_a_payment_never_lowers_access(
    account: Account, policy: Policy, at: datetime, payment: f.PaymentChanged
) -> None:
    before = decide(account, policy, at)
    after = decide(replace(account, facts=(*account.facts, payment)), policy, at)

    assert after.access.rank >= before.access.rank or shields(policy)
    for name, each in before.subscriptions.items():
        assert after.subscriptions[name].access.rank >= each.access.rank


@thorough
@given(accounts(), policies(), instants(), finalized(invoice=st.just("IX")))
def test_an_unpaid_invoice_never_raises_access(
    account: Account, policy: Policy, at: datetime, invoice: f.Finalized
) -> None:
    assume(invoice.amount > 0)
    before = decide(account, policy, at)
    after = decide(replace(account, facts=(*account.facts, invoice)), policy, at)

    assert after.access.rank <= before.access.rank or shields(policy)
    for name, each in before.subscriptions.items():
        assert after.subscriptions[name].access.rank <= each.access.rank


@given(accounts())
def test_facts_survive_json(account: Account) -> None:
    assert parse_facts(facts_to_json(account.facts)) == account.facts


@given(policies())
def test_a_policy_survives_its_canonical_json(policy: Policy) -> None:
    assert parse_policy(policy_to_json(policy)) == policy
