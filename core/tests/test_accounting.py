"""What the ledger says, as facts of access: the same sums as the projections, whatever order things came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from billhook.access import facts as access
from billhook.accounting import Entry, access_facts
from billhook.events import (
    CustomerDelegated,
    CustomerTagged,
    CustomerUntagged,
    DisputeChanged,
    EngineCollectionFailed,
    Event,
    InvoiceFinalized,
    InvoiceObserved,
    InvoiceReinstated,
    InvoiceVoided,
    InvoiceWrittenOff,
    PaymentEvent,
    PaymentFailed,
    PaymentProcessing,
    PaymentSucceeded,
    RefundChanged,
    SubscriptionCanceled,
    SubscriptionEnded,
    SubscriptionIncomplete,
    SubscriptionStarted,
    SubscriptionSuperseded,
    SubscriptionUpdated,
)
from billhook.model import (
    Decline,
    DeclineClass,
    DisputeStatus,
    Invoice,
    InvoiceStatus,
    Payment,
    PaymentStatus,
    Ref,
    RefundStatus,
)
from billhook.money import Money
from billhook.projections import (
    project_dispute,
    project_invoice,
    project_payment,
    project_refund,
)

T0 = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
INVOICE = Ref("engine", "inv_1")
PAYMENT = Ref("psp", "pay_1")
ROW, NEXT_ROW = Ref("engine", "row_1"), Ref("engine", "row_2")
AGREEMENT = {"external_id": "sub_1", "customer_id": "c"}


def day(number: float) -> datetime:
    return T0 + number * DAY


def finalized(**changes: object) -> InvoiceFinalized:
    fact = InvoiceFinalized(
        at=T0,
        ref=INVOICE,
        customer_id="c",
        currency="EUR",
        total=10000,
        taxes=0,
        due=10000,
        issued_on=date(2026, 9, 1),
        due_on=date(2026, 9, 8),
        subscriptions=("sub_1",),
    )
    return replace(fact, **changes)  # type: ignore[arg-type]  # the fields of the fact


def seen(at: datetime, *, due: int, paid: int = 0, **changes: object) -> InvoiceObserved:
    fact = InvoiceObserved(
        at=at,
        ref=INVOICE,
        status=InvoiceStatus.FINALIZED,
        payment_status=PaymentStatus.PENDING,
        currency="EUR",
        total=10000,
        due=due,
        paid=paid,
    )
    return replace(fact, **changes)  # type: ignore[arg-type]  # the fields of the fact


def paid(at: datetime, minor: int = 10000, ref: Ref = PAYMENT) -> PaymentSucceeded:
    amount = Money(minor, "EUR")
    return PaymentSucceeded(at=at, ref=ref, amount=amount, applied=amount)


def failed(at: datetime, code: str = "insufficient_funds") -> PaymentFailed:
    amount = Money(10000, "EUR")
    decline = Decline(code=code, kind=DeclineClass.SOFT)
    return PaymentFailed(at=at, ref=PAYMENT, amount=amount, applied=amount, decline=decline)


def on_its_way(at: datetime, *, requires_action: bool = False) -> PaymentProcessing:
    amount = Money(10000, "EUR")
    return PaymentProcessing(
        at=at, ref=PAYMENT, amount=amount, applied=amount, requires_action=requires_action
    )


def projected(events: Sequence[Event]) -> tuple[Invoice | None, dict[Ref, Payment]]:
    """What the host would hold: the payments of the invoice, and the invoice."""
    documents = [event for event in events if event.type.startswith("invoice.")]
    moves = [event for event in events if isinstance(event, PaymentEvent)]
    bare = project_invoice(documents)  # type: ignore[arg-type]  # they are invoice events
    payments: dict[Ref, Payment] = {}
    for ref in {event.ref for event in moves}:
        refunds = [event for event in events if isinstance(event, RefundChanged) and event.payment == ref]
        disputes = [event for event in events if isinstance(event, DisputeChanged) and event.payment == ref]
        payments[ref] = project_payment(
            [event for event in moves if event.ref == ref],
            invoice=INVOICE,
            customer_id="c",
            key=None,
            refunds=[
                project_refund([event for event in refunds if event.ref == each])
                for each in {event.ref for event in refunds}
            ],
            disputes=[
                project_dispute([event for event in disputes if event.ref == each])
                for each in {event.ref for event in disputes}
            ],
        )
    return (project_invoice(documents, list(payments.values())) if bare else None), payments  # type: ignore[arg-type]


def translate(*events: Event) -> tuple[access.AccessFact, ...]:
    entries = [
        Entry(event=event, invoice=INVOICE if isinstance(event, PaymentEvent) else None) for event in events
    ]
    return access_facts(entries, projected(events)[1])


def balance(facts: Sequence[access.AccessFact]) -> int:
    """What is open on the one invoice, by the contract's own sum."""
    due = kept = 0
    lost: dict[str, int] = {}
    for fact in facts:
        match fact:
            case access.Finalized():
                due += fact.amount
            case access.Amended():
                due += fact.amount
            case access.Marked(type="invoice.voided"):
                return 0
            case access.PaymentChanged(type="payment.succeeded"):
                kept += fact.amount
            case access.Reversed():
                kept -= fact.amount
            case access.Disputed(type="dispute.lost"):
                lost[fact.payment] = fact.amount
            case access.Disputed():
                lost.pop(fact.payment, None)
            case _:
                pass
    return max(0, due - kept + sum(lost.values()))


def test_an_invoice_says_what_is_due_when_and_for_what() -> None:
    (fact,) = translate(finalized())
    assert fact == access.Finalized(
        at=T0,
        invoice="engine:inv_1",
        amount=10000,
        currency="EUR",
        issue_date=date(2026, 9, 1),
        due_date=date(2026, 9, 8),
        subscriptions=("sub_1",),
    )


def test_an_invoice_without_dates_is_due_when_it_was_issued() -> None:
    (fact,) = translate(finalized(issued_on=None, due_on=None))
    assert isinstance(fact, access.Finalized)
    assert (fact.issue_date, fact.due_date) == (date(2026, 9, 1), date(2026, 9, 1))


def test_a_draft_is_nothing() -> None:
    assert translate(seen(T0, due=10000, status=InvoiceStatus.DRAFT)) == ()


def test_an_invoice_only_ever_seen_counts_from_then() -> None:
    (fact,) = translate(seen(day(2), due=4000, paid=0))
    assert isinstance(fact, access.Finalized)
    assert (fact.at, fact.amount, fact.due_date) == (day(2), 4000, date(2026, 9, 3))


def test_what_the_engine_takes_off_is_an_adjustment() -> None:
    facts = translate(finalized(), seen(day(1), due=7500))
    assert facts[1] == access.Amended(
        type="invoice.adjusted", at=day(1), invoice="engine:inv_1", amount=-2500
    )


def test_a_payment_recorded_by_hand_in_the_engine_counts_once() -> None:
    facts = translate(finalized(), seen(day(3), due=6000, paid=4000), seen(day(4), due=6000, paid=4000))
    assert [fact for fact in facts if isinstance(fact, access.PaymentChanged)] == [
        access.PaymentChanged(
            type="payment.succeeded",
            at=day(3),
            payment="engine:inv_1/engine/1",
            invoice="engine:inv_1",
            amount=4000,
            currency="EUR",
        )
    ]


def test_what_the_engine_counts_of_ours_is_not_another_payment() -> None:
    facts = translate(finalized(), paid(day(1)), seen(day(1.1), due=0, paid=10000))
    assert [fact.payment for fact in facts if isinstance(fact, access.PaymentChanged)] == ["psp:pay_1"]
    assert balance(facts) == 0


def test_what_the_engine_knew_before_us_is_taken_back_when_we_know_it_too() -> None:
    facts = translate(finalized(), seen(day(1), due=0, paid=10000), paid(day(2)))
    assert [type(fact).__name__ for fact in facts[1:]] == ["PaymentChanged", "PaymentChanged", "Reversed"]
    assert balance(facts) == 0


def test_a_debit_on_its_way_that_fails_late_is_told_step_by_step() -> None:
    facts = translate(finalized(), on_its_way(day(1)), failed(day(6)))
    steps = [fact for fact in facts if isinstance(fact, access.PaymentChanged)]
    assert [(step.type, step.at, step.decline, step.decline_class) for step in steps] == [
        ("payment.pending", day(1), None, None),
        ("payment.failed", day(6), "insufficient_funds", DeclineClass.SOFT),
    ]


def test_a_failure_told_after_success_says_nothing() -> None:
    facts = translate(finalized(), paid(day(1)), failed(day(2)))
    assert [fact.type for fact in facts if isinstance(fact, access.PaymentChanged)] == ["payment.succeeded"]


def test_a_payment_that_does_not_add_up_settles_nothing() -> None:
    event = paid(day(1), minor=9000)
    flagged = replace(projected([finalized(), event])[1][PAYMENT], flags=("amount_mismatch",))
    facts = access_facts([Entry(event=finalized()), Entry(event=event, invoice=INVOICE)], {PAYMENT: flagged})
    assert [type(fact) for fact in facts] == [access.Finalized]


def test_a_refund_lowers_what_is_due_with_it() -> None:
    refund = RefundChanged(
        at=day(4),
        ref=Ref("psp", "ref_1"),
        payment=PAYMENT,
        status=RefundStatus.SUCCEEDED,
        amount=Money(2500, "EUR"),
    )
    facts = translate(finalized(), paid(day(1)), refund)
    assert facts[-1] == access.Refunded(at=day(4), payment="psp:pay_1", amount=2500, credited=True)


def test_two_equal_refunds_of_one_instant_are_both_counted() -> None:
    refunds = [
        RefundChanged(
            at=day(4),
            ref=Ref("psp", f"ref_{number}"),
            payment=PAYMENT,
            status=RefundStatus.SUCCEEDED,
            amount=Money(2500, "EUR"),
        )
        for number in (1, 2)
    ]
    facts = translate(finalized(), paid(day(1)), *refunds)
    assert sum(fact.amount for fact in facts if isinstance(fact, access.Refunded)) == 5000


def test_equal_steps_of_one_instant_are_both_counted() -> None:
    views = [seen(T0, due=4000, paid=4000), seen(T0, due=0, paid=6000)]
    assert balance(translate(finalized(), *views)) == 0


def test_a_refund_that_failed_says_nothing() -> None:
    refund = RefundChanged(
        at=day(4), ref=Ref("psp", "ref_1"), payment=PAYMENT, status=RefundStatus.FAILED, amount=None
    )
    assert not any(isinstance(fact, access.Refunded) for fact in translate(finalized(), paid(day(1)), refund))


def test_a_dispute_is_told_step_by_step() -> None:
    steps = [
        DisputeChanged(
            at=day(10 + number),
            ref=Ref("psp", "dp_1"),
            payment=PAYMENT,
            status=status,
            amount=Money(10000, "EUR"),
        )
        for number, status in enumerate((DisputeStatus.OPEN, DisputeStatus.LOST, DisputeStatus.WON))
    ]
    facts = translate(finalized(), paid(day(1)), *steps)
    assert [fact.type for fact in facts if isinstance(fact, access.Disputed)] == [
        "dispute.opened",
        "dispute.lost",
        "dispute.won",
    ]


def test_a_dispute_settled_by_a_refund_is_money_given_back() -> None:
    rapid = DisputeChanged(
        at=day(5),
        ref=Ref("psp", "dp_1"),
        payment=PAYMENT,
        status=DisputeStatus.LOST,
        amount=Money(10000, "EUR"),
        resolved_by_refund=True,
    )
    assert isinstance(translate(finalized(), paid(day(1)), rapid)[-1], access.Refunded)


def test_the_engines_own_failed_try_is_a_failed_payment() -> None:
    facts = translate(finalized(), EngineCollectionFailed(at=day(1), ref=INVOICE, code="card_declined"))
    assert isinstance(facts[1], access.PaymentChanged)
    assert (facts[1].type, facts[1].decline) == ("payment.failed", "card_declined")


def test_write_offs_and_voids_are_marks() -> None:
    facts = translate(
        finalized(),
        InvoiceWrittenOff(at=day(1), ref=INVOICE, by="ops", reason="gone"),
        InvoiceReinstated(at=day(2), ref=INVOICE),
        InvoiceVoided(at=day(3), ref=INVOICE),
    )
    assert [fact.type for fact in facts if isinstance(fact, access.Marked)] == [
        "invoice.written_off",
        "invoice.reinstated",
        "invoice.voided",
    ]


def test_tags_and_who_pays_are_told_as_they_are() -> None:
    ref = Ref("billhook", "c")
    facts = translate(
        CustomerTagged(at=day(1), ref=ref, customer_id="c", tag="vip"),
        CustomerUntagged(at=day(2), ref=ref, customer_id="c", tag="vip"),
        CustomerDelegated(at=day(3), ref=ref, customer_id="c", pays="parent"),
    )
    assert facts == (
        access.TagChanged(type="customer.tagged", at=day(1), tag="vip"),
        access.TagChanged(type="customer.untagged", at=day(2), tag="vip"),
        access.Delegated(at=day(3), pays="parent"),
    )


def started(at: datetime = T0, ref: Ref = ROW, plan: str = "pro", **more: object) -> SubscriptionStarted:
    return SubscriptionStarted(at=at, ref=ref, plan=plan, **AGREEMENT, **more)  # type: ignore[arg-type]


def test_a_subscription_begins_with_its_trial() -> None:
    assert translate(started(trial_ends_at=day(14))) == (
        access.Started(at=T0, subscription="sub_1", plan="pro", trial_ends_at=day(14)),
    )


def test_a_plan_change_is_no_end() -> None:
    facts = translate(
        started(),
        SubscriptionSuperseded(at=day(5), ref=ROW, plan="pro", **AGREEMENT),
        started(day(5), NEXT_ROW, "team", previous_plan="pro"),
    )
    assert [type(fact) for fact in facts] == [access.Started]


def test_an_end_that_comes_unannounced_is_a_cancellation() -> None:
    facts = translate(started(), SubscriptionEnded(at=day(5), ref=ROW, plan="pro", **AGREEMENT))
    assert facts[-1] == access.Canceled(at=day(5), subscription="sub_1")


def test_an_end_that_was_scheduled_is_an_end() -> None:
    scheduled = SubscriptionUpdated(at=day(1), ref=ROW, plan="pro", ends_at=day(9), **AGREEMENT)
    facts = translate(started(), scheduled, SubscriptionEnded(at=day(9), ref=ROW, plan="pro", **AGREEMENT))
    assert facts[1:] == (
        access.Canceled(at=day(1), subscription="sub_1", mode="at", ends_at=day(9)),
        access.LifecycleChanged(type="subscription.ended", at=day(9), subscription="sub_1"),
    )


def test_taking_back_a_scheduled_end_reactivates() -> None:
    updates = [
        SubscriptionUpdated(at=day(number), ref=ROW, plan="pro", ends_at=ends, **AGREEMENT)
        for number, ends in ((1, day(9)), (2, None), (3, None))
    ]
    assert translate(started(), *updates)[2:] == (
        access.LifecycleChanged(type="subscription.reactivated", at=day(2), subscription="sub_1"),
    )


def test_a_row_that_never_became_active_is_nothing() -> None:
    assert (
        translate(
            SubscriptionIncomplete(at=T0, ref=ROW, plan="pro", **AGREEMENT),
            SubscriptionCanceled(at=day(1), ref=ROW, plan="pro", **AGREEMENT),
        )
        == ()
    )


def _moments() -> st.SearchStrategy[datetime]:
    return st.integers(0, 40).map(lambda hours: T0 + timedelta(hours=hours))


def _stories() -> st.SearchStrategy[list[Event]]:
    """One invoice: seen by its engine now and then, paid, given back, contested."""
    refs = st.sampled_from([Ref("psp", "pay_1"), Ref("psp", "pay_2")])
    views = st.builds(
        lambda at, due, paid, done: seen(
            at,
            due=due,
            paid=paid,
            payment_status=PaymentStatus.SUCCEEDED if done else PaymentStatus.PENDING,
        ),
        _moments(),
        st.sampled_from([0, 4000, 6000, 10000]),
        st.sampled_from([0, 4000, 6000, 10000]),
        st.booleans(),
    )
    payments = st.builds(paid, _moments(), st.sampled_from([4000, 6000, 10000]), refs)
    disputes = st.builds(
        lambda at, ref, status: DisputeChanged(
            at=at,
            ref=Ref("psp", f"dp_{ref.id}"),
            payment=ref,
            status=status,
            amount=Money(10000, "EUR"),
        ),
        _moments(),
        refs,
        st.sampled_from(DisputeStatus),
    )
    return st.lists(st.one_of(views, payments, disputes, st.builds(failed, _moments())), max_size=6).map(
        lambda more: [finalized(), *more]
    )


@given(_stories(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_what_is_open_equals_the_projection_in_any_order(story: list[Event], shuffled: object) -> None:
    invoice, _ = projected(story)
    facts = translate(*story)
    assert invoice is not None
    assert balance(facts) == invoice.balance
    mixed = list(story)
    shuffled.shuffle(mixed)  # type: ignore[attr-defined]  # Hypothesis' own Random
    assert translate(*mixed, *mixed[:2]) == facts
